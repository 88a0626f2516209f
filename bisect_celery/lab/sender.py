"""The sender of a trial: the guest that loads the app and sends as the project sends, and what it is told to do."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from bisect_celery.core.ledger import Ledger
from bisect_celery.errors import InfraError
from bisect_celery.lab.loop import Loop
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.signs import Signs
from bisect_celery.model import Environment, Place, Running
from bisect_celery.probe.send import publish

DEFAULT_QUEUE = "celery"


class Sender:
    """Its words go to `Signs`, what it is told to send into the `Ledger`."""

    def __init__(
        self, place: Place, plan: Plan, environment: Environment, ledger: Ledger, signs: Signs, loop: Loop
    ) -> None:
        self._place, self._plan, self._environment = place, plan, environment
        self._ledger, self._signs, self._loop = ledger, signs, loop
        self._running: Running | None = None
        self._waves = 0

    def start(self) -> None:
        """Start it, and let it load the app."""
        self._signs.loaded = False
        self._running = self._place.start(self._plan.sender_program(self._place, self._environment))
        self._loop.read(self._running.out, self._signs.sender_line)
        probe, broker = self._plan.probe, urlsplit(self._place.broker_url)
        self._order(
            do="load",
            app=self._plan.app,
            task=probe.task,
            check=probe.check,
            script=asdict(probe.script) if probe.script else None,
            periodic=probe.periodic,
            broker={
                "host": broker.hostname,
                "port": broker.port,
                "vhost": unquote(broker.path.lstrip("/")),
                "user": unquote(broker.username or ""),
            },
        )

    def gone(self) -> bool:
        return self._running is not None and not self._running.alive()

    def exit_code(self) -> int | None:
        return self._running.exit_code() if self._running is not None else None

    def last_lines(self) -> list[str]:
        return written_by(self._running) if self._running is not None else []

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def died(self) -> str:
        """Why the trial ends with it. Raises InfraError where it ended without a word."""
        if self._signs.failure is None:
            raise InfraError("The sender ended without a word.", "Its output is among the trial's artifacts.")
        return "failure"

    # --- orders ----------------------------------------------------------------------------------------

    def ask(self, within: float | None = None) -> None:
        """Ask the workers what they hold, and what they consume where the broker does not know; `Signs.asked` has what
        all of them answered once they did. `within`: the seconds that each may take (None: the sender's own)."""
        self._signs.question += 1
        self._signs.asked = self._signs.consumed = None
        queues = not self._place.broker.tells_consumers
        number, workers = self._signs.question, self._plan.workers
        self._order(do="ask", number=number, workers=workers, within=within, queues=queues)

    def script(self, count: int) -> int:
        """One more wave as the user's own file sends, or beat: what it sends becomes known as it is sent. Returns its
        number, which is `Signs.whole` once all of it was sent."""
        self._waves += 1
        self._order(do="script", count=count, wave=self._waves)
        return self._waves

    def send(self, count: int) -> None:
        """One more wave of so many probes."""
        self._waves += 1
        probe = self._plan.probe
        ids = [str(uuid.uuid4()) for _ in range(count)]
        for identity in ids:
            self._ledger.sent(self._loop.now(), identity, self._waves)
        if probe.sender == "harness":
            self._send_ourselves(ids)
            return
        self._order(
            do="send",
            task=probe.task,
            args=json.loads(probe.args),
            kwargs=json.loads(probe.kwargs),
            queue=probe.queue,
            ids=ids,
            wave=self._waves,
        )

    def _send_ourselves(self, ids: list[str]) -> None:
        """Results go to whoever sends by the project's own means, so here events and the log are the witnesses."""
        probe, facts = self._plan.probe, self._signs.facts
        self._signs.facts = replace(facts, ignore_result=True)
        publish(
            self._place.harness_url,
            probe.queue or DEFAULT_QUEUE,
            probe.task or self._signs.everywhere,
            ids,
            args=probe.args,
            kwargs=probe.kwargs,
            celery=facts.celery,
            transport=self._signs.transport,
        )

    def _order(self, **order: Any) -> None:
        assert self._running is not None
        self._running.write(json.dumps(order))


def written_by(running: Running) -> list[str]:
    """All lines of a program's two outputs."""
    lines: list[str] = []
    for path in (running.out, running.err):
        with contextlib.suppress(OSError):
            lines += path.read_text("utf-8", "replace").splitlines()
    return lines
