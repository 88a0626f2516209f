"""The worker of a trial: started as the plan says, looked at from outside, ended, and perhaps started again."""

from __future__ import annotations

from collections.abc import Mapping

from bisect_celery.lab.loop import Loop
from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.signs import Signs
from bisect_celery.model import Dump, Environment, Failure, Place, Running, Stage
from bisect_celery.probe import logs

SHOWN_LINES = 12


class Worker:
    """What it writes goes to `Signs`. `broker_url` is a way to the broker of its own (None: the place's)."""

    def __init__(self, place: Place, plan: Plan, environment: Environment, signs: Signs, loop: Loop) -> None:
        self.broker_url: str | None = None
        self._place, self._plan, self._environment = place, plan, environment
        self._signs, self._loop = signs, loop
        self._running: Running | None = None

    def start(self) -> None:
        self._signs.ready = False
        self._signs.log.clear()
        running = self._place.start(self._plan.worker_program(self._place, self._environment, self.broker_url))
        for path in (running.out, running.err):
            self._loop.read(path, self._signs.worker_line)
        self._running = running

    def started(self) -> bool:
        """Whether it was, and was not ended by us since."""
        return self._running is not None

    def gone(self) -> bool:
        """Whether it ended by itself."""
        return self._running is not None and not self._running.alive()

    def exit_code(self) -> int | None:
        """Of one that ended by itself."""
        return self._running.exit_code() if self._running is not None else None

    def last_words(self) -> str | None:
        """Why one that had been ready ended, as its log says."""
        return logs.last_words(list(self._signs.log))

    def boot_failure(self, deadline: float) -> Failure:
        """Why it did not come up within `deadline` seconds."""
        code, log = self.exit_code(), list(self._signs.log)
        lines = tuple(log[-SHOWN_LINES:])
        if code is None:
            late = f"no consumer stood on a queue within {deadline:g} s"
            return Failure(Stage.BOOT, late, lines=lines, timed_out=True)
        found = logs.last_exception(log)
        if found is None:
            return Failure(Stage.BOOT, f"the worker ended with status {code} before it was ready", lines=lines)
        reason = ": ".join(filter(None, found))
        return Failure(Stage.BOOT, reason, found[0], missing_in(*found), lines)

    def ask_to_end(self) -> None:
        if self._running is not None:
            self._running.ask_to_end()

    def stop(self) -> None:
        """End it at once. What ended by our hand is no end of its own."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    # --- looks from outside: nothing where it was not started ------------------------------------------

    def memory(self, *, at_end: bool) -> Mapping[int, int]:
        return self._place.memory(self._running, at_end=at_end) if self._running is not None else {}

    def worked(self) -> float | None:
        return self._place.worked(self._running) if self._running is not None else None

    def dump(self) -> tuple[Dump, ...]:
        return self._place.dump(self._running) if self._running is not None else ()
