"""What the programs of a trial say, and what it means: events, the worker's log, the sender's words.

Signs go into the ledger; what is not about a single message (facts of the worker, the app's address, failures,
answers) is kept here for the watch to look at.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bisect_celery.core.ledger import Ledger
from bisect_celery.core.texts import retried_for, told_exception
from bisect_celery.errors import InfraError
from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import OURS
from bisect_celery.model import Failure, Probe, Stage, WorkerFacts
from bisect_celery.probe import logs
from bisect_celery.probe.events import EXCHANGE

AMQP_PORT = 5672
DEFAULT_PORTS = {"redis": 6379}


class Tail:
    """New whole lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self) -> Iterator[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")


class Signs:
    """Listens for one trial. `failure`, `foreign`, `loaded`, `asked` and `ready` are None or False until told.

    `whole` is the last wave that a probe file has sent wholly, `everywhere` a task that every app has, as the sender
    says. `consumed`: on how many workers' word each queue is consumed, when last asked (None: nobody said);
    `transport` those of the project's transport options that say what things are called, `event_exchange` where its
    workers' events go. `services` are addresses of
    the trial's own services. While `judging`, set by the watch once the worker is ready, lines of the worker's log that
    the user named are counted.
    """

    def __init__(
        self,
        ledger: Ledger,
        now: Callable[[], float],
        broker_url: str,
        probe: Probe,
        learn_secrets: Callable[[list[str]], None],
    ) -> None:
        """`now` is seconds since the trial began."""
        self.facts = WorkerFacts()
        self.failure: Failure | None = None
        self.foreign: str | None = None
        self.loaded = False
        self.workers = 1
        self.said_ready = 0
        self.asked: dict[str, Any] | None = None
        self.consumed: dict[str, int] | None = None
        self.transport: dict[str, Any] = {}
        self.event_exchange = EXCHANGE
        self.question = 0
        self.whole = 0
        self.everywhere = ""
        self.services: frozenset[str] = frozenset()
        self.judging = self.web_told = False
        self.log_required = self.log_forbidden = self.children_replaced = 0
        self._ledger, self._now, self._learn_secrets = ledger, now, learn_secrets
        self._ours = [urlsplit(broker_url)]
        self._done_log, self._must, self._must_not = (
            re.compile(pattern) if pattern else None for pattern in (probe.done_log, probe.log_must, probe.log_must_not)
        )

    def also_ours(self, url: str) -> None:
        """Another way to the same broker."""
        self._ours.append(urlsplit(url))

    def fails(self, failure: Failure) -> str:
        """Why the trial ends: "failure". What the sender itself told of one is the reason: it says why, where the
        worker often only ends."""
        self.failure = self.failure or failure
        return "failure"

    @property
    def ready(self) -> bool:
        """Whether so many logs say so as there are `workers`."""
        return self.said_ready >= self.workers

    # --- events --------------------------------------------------------------------------------------

    def event(self, event: dict[str, Any]) -> None:
        identity, at, kind = event.get("uuid"), self._now(), str(event.get("type"))
        if kind != "task-sent":  # that one the sender tells, all others the worker
            self._ledger.heard.add("event")
        if not isinstance(identity, str):
            return
        if kind == "task-received":
            self._ledger.received(at, identity)
        elif kind == "task-started":
            self._ledger.started(at, identity)
        elif kind == "task-retried":
            self._ledger.retried(at, identity, *_reason_in(event))
        elif kind == "task-failed":
            exception, detail = _exception_in(event)
            self._ledger.finished(at, identity, "FAILURE", "event", exception=exception, detail=detail)
        elif kind in ("task-succeeded", "task-revoked") or (kind == "task-rejected" and not event.get("requeue")):
            state = {"task-succeeded": "SUCCESS"}.get(kind, kind[5:].upper())
            self._ledger.finished(at, identity, state, "event")

    # --- the worker's log ----------------------------------------------------------------------------

    def worker_line(self, line: str) -> None:
        line = logs.plain(line)
        at = self._now()
        self._done_in(line, at)
        self._named_in(line)
        refused = logs.not_emulated(line)
        if refused is not None:
            raise InfraError(
                f"This project needs what the embedded broker does not emulate: {refused}.",
                "RabbitMQ has it: `--broker rabbitmq`, or `--stack container`.",
            )
        address = logs.broker_in(line)
        if address is not None and not self._is_ours(address):
            self.foreign = address
        if logs.connected(line):
            self._ledger.heard.add("boot")
        for part in logs.said(line):
            self._said(at, part)

    def _said(self, at: float, line: str) -> None:
        self._refusal_in(line)
        sign = logs.read_line(line)
        if sign is None:
            return
        if sign.id is not None:
            self._task_line(at, sign.id, sign)
        else:
            self._worker_sign(at, sign, line)

    def _worker_sign(self, at: float, sign: logs.LogSign, line: str) -> None:
        """What the worker says of itself, not of one task."""
        if sign.what == "unregistered":
            self._ledger.unregistered = True
        elif sign.what == "lost":
            self._ledger.children_lost += 1
        elif sign.what == "outgrown":
            self.children_replaced += 1
        elif sign.what == "ready":
            self.said_ready += 1
            self._ledger.heard.add("log")
        elif sign.what == "refused":
            self._ledger.refuse(at, _told(sign.raised or ""))
        elif sign.what == "error":
            self._ledger.errors.append(line)

    def _task_line(self, at: float, id: str, sign: logs.LogSign) -> None:
        self._ledger.heard.add("log")
        if sign.what == "received":
            self._ledger.received(at, id)
        elif sign.what == "retry":
            reason = logs.retry_reason(sign.raised or "")
            self._ledger.retried(at, id, *(told_exception(reason) if reason else (None, None)), source="log")
        elif sign.what == "failed":
            exception, detail = told_exception(sign.raised or "")
            self._ledger.finished(
                at, id, "FAILURE", "log", exception=exception, detail=detail, process=sign.process
            )  # fmt: skip
        elif sign.what in _LOG_STATES:
            self._ledger.finished(at, id, _LOG_STATES[sign.what], "log", process=sign.process)

    def _done_in(self, line: str, at: float) -> None:
        if self._done_log is not None and self._done_log.search(line):
            named = re.search(logs.UUID, line)
            self._ledger.done(at, named.group("id") if named else None)

    def _named_in(self, line: str) -> None:
        """Count lines that the user named. Those from before the worker was ready tell how it boots, not how it is."""
        if self.judging:
            self.log_required += bool(self._must and self._must.search(line))
            self.log_forbidden += bool(self._must_not and self._must_not.search(line))

    def _refusal_in(self, line: str) -> None:
        """A reason without its exception is followed by a traceback, which ends with both."""
        words = self._ledger.refusal
        if words is not None and (exception := logs.exception_of(line, words)):
            self._ledger.refusal = f"{exception}: {words}"

    def _is_ours(self, address: str) -> bool:
        theirs = urlsplit(address)
        with contextlib.suppress(ValueError):
            port = theirs.port or DEFAULT_PORTS.get(theirs.scheme, AMQP_PORT)
            return any((ours.hostname, ours.port or AMQP_PORT) == (theirs.hostname, port) for ours in self._ours)
        return False

    # --- the sender's words --------------------------------------------------------------------------

    def sender_line(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        handler = _SENDER.get(said.get("event")) if isinstance(said, dict) else None
        if handler is not None:
            handler(self, said)

    def _loaded(self, said: dict[str, Any]) -> None:
        facts, task = said["facts"], said.get("task") or {}
        self._learn_secrets(said.get("secrets") or [])
        self.loaded, self.everywhere = True, facts["everywhere"]
        self.transport = facts.get("transport") or {}
        self.event_exchange = facts.get("event_exchange") or EXCHANGE
        self.facts = WorkerFacts(
            celery=facts.get("celery"),
            python=facts.get("python"),
            concurrency=facts.get("concurrency"),
            acks_late=task.get("acks_late"),
            ignore_result=task.get("ignore_result"),
            registered=tuple(facts.get("registered") or ()),
            result_backend=facts.get("result_backend"),
            result_at=OURS if facts.get("result_at") in self.services else facts.get("result_at"),
            broker_kind=facts.get("broker_kind"),
        )

    def _web(self, said: dict[str, Any]) -> None:
        self.web_told = True
        self.facts = replace(self.facts, web_app=said.get("app"), web_broker=said.get("broker"))

    def _sending(self, said: dict[str, Any]) -> None:
        acks_late = said.get("acks_late", self.facts.acks_late)
        self.facts = replace(self.facts, acks_late=acks_late, ignore_result=not said["readable"])

    def _sent(self, said: dict[str, Any]) -> None:
        """Of what is sent by a probe file the ids are told; a result that is not kept is none to wait for."""
        if "canvas" in said:
            self._ledger.sent(self._now(), said["id"], said["wave"], said["canvas"])
            if not said["readable"]:
                self.facts = replace(self.facts, ignore_result=True)
        self._ledger.published(self._now(), said["id"])

    def _whole(self, said: dict[str, Any]) -> None:
        self.whole = said["wave"]

    def _foreign(self, said: dict[str, Any]) -> None:
        self.foreign = said["address"]

    def _result(self, said: dict[str, Any]) -> None:
        exception, detail = said.get("exception"), None
        if said.get("raised"):
            named, detail = told_exception(said["raised"])
            exception = exception or named
        self._ledger.finished(
            self._now(), said["id"], said["state"], "result",
            value=said.get("value"), exception=exception, detail=detail,
        )  # fmt: skip
        if said.get("checked"):
            self._ledger.checked(said["id"], said["checked"], said.get("said"))

    def _asked(self, said: dict[str, Any]) -> None:
        """A request that it runs was begun; is it not acknowledged, its task acknowledges late."""
        if said["number"] != self.question:  # an answer that came too late is one to something else
            return
        self.asked, self.consumed = said, said.get("queues")
        for identity in said.get("held") or ():
            self._ledger.runs(self._now(), identity)
        if self.facts.acks_late is None and (known := self._acknowledged(said)):
            self.facts = replace(self.facts, acks_late=not all(known))

    def _acknowledged(self, said: dict[str, Any]) -> list[bool]:
        """Of each message of ours that it runs whether it is acknowledged, where it says so."""
        told = zip(said.get("held") or (), said.get("acknowledged") or (), strict=False)
        return [bool(one) for identity, one in told if one is not None and self._ledger.is_ours(identity)]

    def _failed(self, said: dict[str, Any]) -> None:
        self._complaint(Stage.PROBE if self.loaded else Stage.BOOT, said)

    def _unreadable(self, said: dict[str, Any]) -> None:
        self._complaint(Stage.RESULT, said)

    def _complaint(self, stage: Stage, said: dict[str, Any]) -> None:
        exception, detail = said["exception"], said.get("detail") or ""
        missing = missing_in(exception, detail)
        reason = f"{exception}: {detail}" if detail else exception
        self.failure = Failure(stage, reason, exception, missing, tuple(said.get("lines") or ()))


_LOG_STATES = {"succeeded": "SUCCESS", "ignored": "IGNORED", "rejected": "REJECTED", "revoked": "REVOKED"}
_SENDER: dict[Any, Callable[[Signs, dict[str, Any]], None]] = {
    "loaded": Signs._loaded,
    "web": Signs._web,
    "sending": Signs._sending,
    "sent": Signs._sent,
    "whole": Signs._whole,
    "foreign": Signs._foreign,
    "result": Signs._result,
    "asked": Signs._asked,
    "failed": Signs._failed,
    "unreadable": Signs._unreadable,
}


def _told(raised: str) -> str:
    """A reason as `Type: words` where it is the `repr` of an exception, else as it is."""
    exception, detail = told_exception(raised)
    return f"{exception}: {detail}" if raised.startswith(f"{exception}(") else raised


def _reason_in(event: dict[str, Any]) -> tuple[str | None, str | None]:
    """A retry need not have an exception; its event has the word `None` then."""
    event = {**event, "exception": retried_for(str(event.get("exception") or ""))}
    return (None, None) if event["exception"] in ("", "None") else _exception_in(event)


def _exception_in(event: dict[str, Any]) -> tuple[str | None, str | None]:
    return told_exception(str(event.get("exception") or ""), str(event.get("traceback") or ""))
