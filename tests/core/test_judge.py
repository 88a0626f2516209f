"""The judge by table and by property: what may never be good, and what may never be bad."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from from_types import TEXT, values
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core import judge
from bisect_celery.core.judge import Seen, Signature
from bisect_celery.model import (
    Dump,
    Failure,
    Kind,
    Match,
    Message,
    Observation,
    QueueCount,
    Stage,
    Symptom,
    Verdict,
    WorkerFacts,
)

ALL = ("event", "log", "result")
LATE, EARLY = WorkerFacts(acks_late=True), WorkerFacts(acks_late=False)


def message(number: int = 0, wave: int = 1, **changes: Any) -> Message:
    return Message(f"id-{number}", wave, 1.0, **changes)


def succeeded(number: int = 0, wave: int = 1, **changes: Any) -> Message:
    known = {"starts": 1, "started": 1.1, "finished": 1.2, "state": "SUCCESS", "stored": "SUCCESS", "sources": ALL}
    return message(number, wave, **{**known, **changes})


def failed(number: int = 0, exception: str | None = "ValueError", detail: str | None = "no", **changes: Any) -> Message:
    return succeeded(number, **{"state": "FAILURE", "exception": exception, "detail": detail, **changes})


def begun(number: int = 0, wave: int = 1, **changes: Any) -> Message:
    return message(number, wave, **{"received": 1.0, "started": 1.1, "starts": 1, **changes})


def queue(ready: int = 0, unacked: int = 0, name: str = "celery", consumers: int | None = None) -> QueueCount:
    return QueueCount(name, ready, unacked, consumers=consumers)


def complete(**changes: Any) -> Observation:
    known = {
        "until": 3.0,
        "messages": (succeeded(1), succeeded(2), succeeded(3, wave=2)),
        "queues": (queue(),),
        "held": 0,
        "ended": "complete",
    }
    return Observation(**{**known, **changes})


def quiet(*messages: Message, **changes: Any) -> Observation:
    return Observation(**{"until": 30.0, "messages": messages, "ended": "quiet", **changes})


def broken(stage: Stage, reason: str = "KeyError: 'TOKEN'", exception: str | None = "KeyError") -> Observation:
    return Observation(1.0, Failure(stage, reason, exception), ended="failure")


NO_POOL = "Could not start worker processes"


def ended_early(**changes: Any) -> Observation:
    """A worker whose consumer stood for a moment, so that probes were sent, and which ended."""
    known = {
        "ready_at": 0.9, "messages": (message(1), message(2)), "queues": (queue(2),), "worker_exit": 1,
        "answered": False, "exit_words": "OSError('no port 5672')", "ended": "exit",
    }  # fmt: skip
    return Observation(**{"until": 1.2, **known, **changes})


STUCK, UNKNOWN = Symptom(Kind.STUCK_IN_TASK), Symptom(Kind.UNKNOWN)
SLOT, NOT_ACKED = Symptom(Kind.SLOT_LOST), Symptom(Kind.EXECUTED_NOT_ACKED)
LOST = Symptom(Kind.RESULT_LOST)
# All that makes it a fact that nobody got what was sent.
VANISHED = (message(1, published=1.1), message(2, published=1.3))
WATCHED: dict[str, Any] = {"queues": (queue(),), "counted_at": 9.0, "held": 0, "heard": ("event", "log")}
REFUSAL = "ContentDisallowed: no content of type pickle"
# A worker that cannot be asked, whose main process was never told that one of its pool processes had ended.
NOT_TOLD: dict[str, Any] = {"sources": ("log", "result"), "process": "ForkPoolWorker-1"}
UNASKED: dict[str, Any] = {
    "held": None,
    "ended": "quiet",
    "messages": (succeeded(1, finished=1.2, **NOT_TOLD), succeeded(2, finished=1.4), succeeded(3, 2, finished=1.9)),
}
# A worker whose tasks send no events: their ends are in the log and in the results, and its slots in nobody's words.
NO_EVENTS: dict[str, Any] = {"sources": ("log", "result"), "starts": 0, "process": "ForkPoolWorker-1"}
WITHOUT_EVENTS = (succeeded(1, **NO_EVENTS), succeeded(2, **NO_EVENTS), succeeded(3, 2, **NO_EVENTS))
LAST_NOT_TOLD = (succeeded(1, finished=1.4), succeeded(2, 2, finished=1.9, **NOT_TOLD))
OF_A_THREAD = (succeeded(1, finished=1.2, sources=("log", "result")), succeeded(2, 2, finished=1.9))
# A worker that runs its tasks in its main process, answered once, and answers no more.
SOLO = WorkerFacts(pool="celery.concurrency.solo:TaskPool", acks_late=False)
SOLO_LATE = dataclasses.replace(SOLO, acks_late=True)
DUMB: dict[str, Any] = {"worker": SOLO, "answered": True, "held": None, "queues": (queue(2, 2),), "heard": ("event",)}
BY_ITSELF: dict[str, Any] = {"sources": ("log", "result"), "process": "MainProcess"}
DELIVERED = Symptom(Kind.NEVER_RECEIVED, None, "delivered")

TABLE: dict[str, tuple[Observation, Symptom]] = {
    # a main process that runs the tasks itself
    "solo, one taken": (quiet(message(1, received=1.1), message(2), **DUMB), STUCK),
    "solo, one done and one taken": (quiet(succeeded(1), message(2, received=1.1), message(3), **DUMB), STUCK),
    "solo, taken, and never answered": (quiet(message(1, received=1.1), **DUMB | {"answered": False}), UNKNOWN),
    "solo, taken, and it answers": (
        quiet(message(1, received=1.1), **DUMB | {"held": 0}),
        Symptom(Kind.NEVER_RECEIVED, None, "received"),
    ),
    "solo, hangs after one": (quiet(succeeded(1, **BY_ITSELF), message(2), **DUMB), SLOT),
    "solo, hangs after one, late": (
        quiet(succeeded(1, **BY_ITSELF), message(2), **DUMB | {"worker": SOLO_LATE}),
        NOT_ACKED,
    ),
    "solo, hangs after the last": (
        quiet(succeeded(1), succeeded(2, 2, **BY_ITSELF), **DUMB | {"queues": (queue(),)}),
        SLOT,
    ),
    "solo, whose events wait for a task": (quiet(message(1), message(2), **DUMB), UNKNOWN),
    "solo, whose log tells of none": (quiet(message(1), message(2), **DUMB | {"heard": ("event", "log")}), DELIVERED),
    "solo and prefork beside it": (
        quiet(message(1, received=1.1), **DUMB | {"heard": (), "worker": WorkerFacts(pool=f"{SOLO.pool} x.prefork:P")}),
        UNKNOWN,
    ),
    # completed, and what comes near it
    "all is well": (complete(), Symptom(Kind.COMPLETED)),
    "no queue left to count": (complete(queues=()), Symptom(Kind.COMPLETED)),
    "cannot be asked, but every end was told": (complete(held=None), Symptom(Kind.COMPLETED)),
    "cannot be asked, and one end was not told": (
        complete(held=None, messages=(succeeded(1), succeeded(2, wave=2, sources=("log", "result")))),
        UNKNOWN,
    ),
    "only one wave": (complete(messages=(succeeded(1), succeeded(2))), UNKNOWN),
    "a slot held": (complete(held=1), SLOT),
    "a slot held, late": (complete(held=1, worker=LATE), SLOT),
    "unacknowledged and held, late": (complete(held=1, worker=LATE, queues=(queue(0, 1),)), NOT_ACKED),
    "unacknowledged, cannot be asked, ends told": (complete(held=None, worker=LATE, queues=(queue(0, 1),)), UNKNOWN),
    "unacknowledged, cannot be asked, an end not told": (
        complete(
            held=None,
            worker=LATE,
            queues=(queue(0, 1),),
            messages=(succeeded(1, sources=("result",)), succeeded(2, wave=2)),
        ),
        NOT_ACKED,
    ),
    "held by ours, unacknowledged by another": (
        complete(held=1, others=1, worker=LATE, queues=(queue(0, 1),)),
        SLOT,
    ),
    "another waits for its time, and no event was ever heard": (
        complete(worker=LATE, queues=(queue(0, 1),), scheduled=1, messages=WITHOUT_EVENTS),
        Symptom(Kind.COMPLETED),
    ),
    "unacknowledged, cannot be asked, and no event was ever heard": (
        complete(held=None, worker=LATE, queues=(queue(0, 1),), messages=WITHOUT_EVENTS),
        UNKNOWN,
    ),
    "unacknowledged, the worker runs nothing, an end not told": (
        complete(
            worker=LATE, queues=(queue(0, 1),), messages=(succeeded(1, sources=("result",)), succeeded(2, wave=2))
        ),
        NOT_ACKED,
    ),
    "unacknowledged early is not ours": (complete(worker=EARLY, queues=(queue(0, 1),)), UNKNOWN),
    "waiting in some queue": (complete(queues=(queue(), queue(1, 0, "other"))), UNKNOWN),
    "another task runs on": (
        complete(held=1, held_others=1, others=1, queues=(queue(0, 1),), worker=LATE),
        Symptom(Kind.STUCK_IN_TASK, None, "another task"),
    ),
    "another task waits, nobody knows for what": (complete(others=1, queues=(queue(0, 1),), worker=LATE), UNKNOWN),
    "another task waits for its time": (
        complete(others=1, queues=(queue(0, 1),), worker=LATE, scheduled=1),
        Symptom(Kind.COMPLETED),
    ),
    "one waits for its time, one for nobody knows what": (
        complete(others=2, queues=(queue(0, 2),), worker=LATE, scheduled=1),
        UNKNOWN,
    ),
    "others wait where nobody consumes": (complete(queues=(queue(), queue(3, 0, "audit", consumers=0))), UNKNOWN),
    "others wait where somebody consumes": (complete(queues=(queue(), queue(3, 0, "audit", consumers=1))), UNKNOWN),
    "an end was not told, of later ones it was": (complete(**UNASKED), SLOT),
    "an end was not told yet": (complete(**{**UNASKED, "ended": "complete"}), UNKNOWN),
    "an end was not told, nor of any later one": (complete(**UNASKED | {"messages": LAST_NOT_TOLD}), UNKNOWN),
    "an end was not told, of a task that sends no events": (
        complete(**UNASKED | {"messages": (*UNASKED["messages"][1:], succeeded(1, finished=1.2, **NO_EVENTS))}),
        UNKNOWN,
    ),
    "an end was not told, but threads drop some": (complete(**UNASKED | {"messages": OF_A_THREAD}), UNKNOWN),
    "pool processes died": (complete(children_lost=2), Symptom(Kind.WORKER_DIED, None, "pool processes")),
    "a result never came": (
        complete(
            worker=WorkerFacts(ignore_result=False),
            messages=(succeeded(1, stored=None), succeeded(2, wave=2)),
        ),
        LOST,
    ),
    "ignored results need not come": (
        complete(
            worker=WorkerFacts(ignore_result=True), messages=(succeeded(1, stored=None), succeeded(2, 2, stored=None))
        ),
        Symptom(Kind.COMPLETED),
    ),
    # failures
    "one failed": (
        complete(messages=(succeeded(1), failed(2, "ValueError", "no order 17"), succeeded(3, 2))),
        Symptom(Kind.TASK_FAILED, "ValueError", "no order <n>"),
    ),
    "most failed otherwise": (
        complete(messages=(failed(1, "KeyError"), failed(2, "OSError"), failed(3, "OSError"))),
        Symptom(Kind.TASK_FAILED, "OSError", "no"),
    ),
    "revoked": (
        complete(messages=(failed(1, None, None, state="REVOKED"),)),
        Symptom(Kind.TASK_FAILED, None, "REVOKED"),
    ),
    "revoked, as the result tells it": (
        complete(messages=(failed(1, "TaskRevokedError", "expired", state="REVOKED"),)),
        Symptom(Kind.TASK_FAILED, None, "REVOKED"),
    ),
    "rejected": (
        complete(messages=(failed(1, None, None, state="REJECTED"),)),
        Symptom(Kind.TASK_FAILED, None, "REJECTED"),
    ),
    "rejected, as the events of 5.7 and its results tell it": (
        complete(messages=(failed(1, "Reject", "reject requeue=False: no"),)),
        Symptom(Kind.TASK_FAILED, None, "REJECTED"),
    ),
    "ignored": (
        complete(messages=(failed(1, None, None, state="IGNORED"),)),
        Symptom(Kind.TASK_FAILED, None, "IGNORED"),
    ),
    "failed and another stuck": (
        quiet(failed(1), begun(2), queues=(queue(3, 1),)),
        Symptom(Kind.TASK_FAILED, "ValueError", "no"),
    ),
    "publishing": (
        broken(Stage.PROBE, "TypeError: no", "TypeError"),
        Symptom(Kind.TASK_FAILED, "TypeError", "publishing: TypeError: no"),
    ),
    "reading results": (broken(Stage.RESULT), Symptom(Kind.RESULT_LOST, "KeyError", "KeyError: 'TOKEN'")),
    "unregistered by the log": (
        quiet(message(1), message(2), queues=(queue(),), unregistered=True),
        Symptom(Kind.UNREGISTERED),
    ),
    "unregistered by the log, and kept as dead letters": (
        quiet(message(1), message(2), queues=(queue(2, 0, "dead", consumers=0),), unregistered=True),
        Symptom(Kind.UNREGISTERED),
    ),
    "another is not registered": (complete(unregistered=True), Symptom(Kind.UNREGISTERED, None, "another task")),
    "another is not registered, and ours fails": (
        complete(unregistered=True, messages=(failed(1), succeeded(2, 2))),
        Symptom(Kind.TASK_FAILED, "ValueError", "no"),
    ),
    "another is not registered, and ours waits for it": (
        quiet(begun(1), message(2), queues=(queue(1, 1),), unregistered=True, held=1),
        STUCK,
    ),
    "a body asks for a task that is not registered": (
        complete(messages=(failed(1, "NotRegistered", "'shop.gone'", received=1.1), succeeded(2, 2))),
        Symptom(Kind.TASK_FAILED, "NotRegistered", "'shop.gone'"),
    ),
    "unregistered by an event": (
        complete(messages=(failed(1, "NotRegistered", "'shop.gone'", starts=0, started=None),)),
        Symptom(Kind.UNREGISTERED),
    ),
    "ran twice": (complete(messages=(succeeded(1, starts=2), succeeded(2, 2))), Symptom(Kind.REDELIVERED)),
    "ran twice since its process died": (
        complete(messages=(succeeded(1, starts=2), succeeded(2, 2)), children_lost=1),
        Symptom(Kind.REDELIVERED, None, "pool processes died"),
    ),
    "ran twice as it asked": (
        complete(messages=(succeeded(1, retries=1), succeeded(2, 2))),
        Symptom(Kind.COMPLETED),
    ),
    # silence
    "begun": (quiet(begun(1), message(2), queues=(queue(0, 2),), held=1), STUCK),
    "begun, cannot be asked": (quiet(begun(1), message(2), queues=(queue(0, 2),)), STUCK),
    "begun, as only the worker says when it is asked": (
        quiet(message(1, received=1.1, started=9.0), message(2), queues=(queue(0, 2),), held=1),
        STUCK,
    ),
    "begun, and the worker runs nothing": (quiet(begun(1), message(2), held=0), UNKNOWN),
    "begun, and the worker runs only others'": (quiet(begun(1), message(2), held=1, held_others=1), UNKNOWN),
    "begun and retrying": (
        quiet(begun(1, retries=1, exception="OSError", detail="port 80"), message(2)),
        Symptom(Kind.STUCK_IN_TASK, "OSError", "retry: port <n>"),
    ),
    "bodies done, late": (quiet(begun(1, done=2.0), message(2), queues=(queue(1, 1),), worker=LATE), NOT_ACKED),
    "bodies done, unknown when acknowledged": (quiet(begun(1, done=2.0), queues=(queue(0, 1),)), NOT_ACKED),
    "bodies done, early": (quiet(begun(1, done=2.0), message(2), queues=(queue(0, 1),), worker=EARLY), SLOT),
    "one body done, one not": (
        quiet(begun(1, done=2.0), begun(2), queues=(queue(0, 2),), worker=LATE, held=2),
        STUCK,
    ),
    "succeeded and held, late": (
        quiet(succeeded(1), message(2), queues=(queue(0, 2),), held=1, worker=LATE),
        NOT_ACKED,
    ),
    "succeeded and held, early": (quiet(succeeded(1), message(2), queues=(queue(0, 1),), held=1, worker=EARLY), SLOT),
    "succeeded, end not told, cannot be asked": (
        quiet(succeeded(1, sources=("log",)), message(2), queues=(queue(0, 1),), worker=EARLY),
        SLOT,
    ),
    "succeeded, no event was ever heard, cannot be asked": (
        quiet(WITHOUT_EVENTS[0], message(2), queues=(queue(0, 1),), worker=LATE),
        UNKNOWN,
    ),
    "succeeded and held, unknown when acknowledged": (
        quiet(succeeded(1), message(2), queues=(queue(0, 2),), held=1),
        NOT_ACKED,
    ),
    "succeeded, end told, cannot be asked": (quiet(succeeded(1), message(2), queues=(queue(0, 1),)), UNKNOWN),
    "succeeded, held none, others reserved": (quiet(succeeded(1), message(2), queues=(queue(0, 1),), held=0), UNKNOWN),
    "succeeded, and then taken no more": (
        quiet(succeeded(1), message(2), queues=(queue(1, 0),), held=0),
        Symptom(Kind.NEVER_RECEIVED, None, "any more"),
    ),
    "succeeded, held none, others reserved and waiting": (
        quiet(succeeded(1), message(2), message(3), queues=(queue(1, 1),), held=0),
        UNKNOWN,
    ),
    "nobody takes them": (quiet(message(1), message(2), queues=(queue(2, 0),)), Symptom(Kind.NEVER_RECEIVED)),
    "no consumer stands where they wait": (
        quiet(message(1), message(2), queues=(queue(0, 0, consumers=1), queue(2, 0, "mail", consumers=0))),
        Symptom(Kind.NEVER_RECEIVED, None, "no consumer"),
    ),
    "a consumer stands where they wait": (
        quiet(message(1), message(2), queues=(queue(2, 0, consumers=1),)),
        Symptom(Kind.NEVER_RECEIVED, None, "not taken"),
    ),
    "delivered to a worker that never says so": (
        quiet(message(1), message(2), queues=(queue(1, 1, consumers=1),), heard=("log",)),
        Symptom(Kind.NEVER_RECEIVED, None, "delivered"),
    ),
    "delivered to a worker that was never heard": (
        quiet(message(1), message(2), queues=(queue(1, 1, consumers=1),)),
        UNKNOWN,
    ),
    "taken and passed on to nobody": (
        quiet(message(1, received=1.1), message(2), queues=(queue(1, 1),), held=0),
        Symptom(Kind.NEVER_RECEIVED, None, "received"),
    ),
    "taken, and nobody would know whether it was passed on": (
        quiet(message(1, received=1.1), message(2), queues=(queue(1, 1),), heard=("event", "log")),
        UNKNOWN,
    ),
    "some done, and the others held back": (
        quiet(succeeded(1), message(2, received=1.1), queues=(queue(0, 1),), held=0),
        Symptom(Kind.NEVER_RECEIVED, None, "held back"),
    ),
    "received, and the worker may still run them": (
        quiet(succeeded(1), message(2, received=1.1), queues=(queue(0, 1),)),
        UNKNOWN,
    ),
    "gone without a trace": (quiet(message(1), message(2), queues=(queue(),)), UNKNOWN),
    "vanished": (quiet(*VANISHED, **WATCHED), Symptom(Kind.NEVER_RECEIVED, None, "vanished")),
    "vanished, but one may not be published yet": (quiet(*VANISHED, message(3), **WATCHED), UNKNOWN),
    "vanished, but counted before the last": (quiet(*VANISHED, **{**WATCHED, "counted_at": 1.2}), UNKNOWN),
    "vanished, and nobody counted": (quiet(*VANISHED, **{**WATCHED, "counted_at": None}), UNKNOWN),
    "vanished, but the log was never heard": (quiet(*VANISHED, **{**WATCHED, "heard": ("event",)}), UNKNOWN),
    "vanished, but no event was ever heard": (quiet(*VANISHED, **{**WATCHED, "heard": ("log",)}), UNKNOWN),
    "vanished, but the worker could not be asked": (quiet(*VANISHED, **{**WATCHED, "held": None}), UNKNOWN),
    "vanished, but others came": (quiet(*VANISHED, **{**WATCHED, "others": 1}), UNKNOWN),
    "vanished, but a body's effect was seen": (
        quiet(*VANISHED, message(3, published=1.2, done=1.4), **WATCHED),
        UNKNOWN,
    ),
    "refused": (
        quiet(message(1), message(2), queues=(queue(),), refused=2, refusal=REFUSAL),
        Symptom(Kind.TASK_FAILED, "ContentDisallowed", "refused by the worker: no content of type pickle"),
    ),
    "refused, and kept as dead letters": (
        quiet(message(1), message(2), queues=(queue(2, 0, "dead", consumers=0),), refused=2, refusal=REFUSAL),
        Symptom(Kind.TASK_FAILED, "ContentDisallowed", "refused by the worker: no content of type pickle"),
    ),
    "refused, nobody knows why": (
        quiet(message(1), queues=(queue(),), refused=1),
        Symptom(Kind.TASK_FAILED, None, "refused by the worker: "),
    ),
    "another's was refused, ours wait": (
        quiet(message(1), message(2), queues=(queue(2, 0, consumers=0),), refused=1, refusal=REFUSAL),
        Symptom(Kind.NEVER_RECEIVED, None, "no consumer"),
    ),
    "another's was refused, ours are done": (complete(refused=1, refusal=REFUSAL), Symptom(Kind.COMPLETED)),
    "nothing was sent": (quiet(), UNKNOWN),
    "still going when time was over": (
        quiet(succeeded(1), begun(2), ended="total", queues=(queue(0, 1),), last_progress=29.0),
        Symptom(Kind.SLOW),
    ),
    "still, for most of the time that was over": (
        quiet(succeeded(1), begun(2), ended="total", queues=(queue(0, 1),), ready_at=2.0, last_progress=15.0),
        STUCK,
    ),
    "pool processes die before they begin": (
        quiet(message(1, received=1.0), queues=(queue(0, 1),), children_gone=2, held=0),
        Symptom(Kind.WORKER_DIED, None, "pool processes"),
    ),
    "pool processes are replaced while they work": (
        quiet(succeeded(1), begun(2), queues=(queue(0, 1),), children_gone=2, held=1),
        STUCK,
    ),
    "all done when time was over": (complete(ended="total", messages=(succeeded(1),)), UNKNOWN),
    # the worker itself
    "killed": (complete(worker_exit=-9, ended="exit"), Symptom(Kind.WORKER_DIED, None, "signal 9")),
    "killed, and the log ends with what a task raised": (
        complete(worker_exit=-9, ended="exit", exit_words="ValueError: no order 17"),
        Symptom(Kind.WORKER_DIED, None, "signal 9"),
    ),
    "exited": (complete(worker_exit=1, ended="exit"), Symptom(Kind.WORKER_DIED, None, "status 1")),
    "exited with words": (
        complete(worker_exit=1, ended="exit", exit_words="MemoryError: 17 MB"),
        Symptom(Kind.WORKER_DIED, None, "status 1: MemoryError: <n> MB"),
    ),
    "ended before it answered": (ended_early(), Symptom(Kind.BOOT_FAILED, "OSError", "OSError: no port <n>")),
    "ended before it answered, without a word": (
        ended_early(exit_words=None),
        Symptom(Kind.BOOT_FAILED, None, "the worker ended with status <n> before it was ready"),
    ),
    "ended after it had answered": (
        ended_early(answered=True),
        Symptom(Kind.WORKER_DIED, None, "status 1: OSError: no port <n>"),
    ),
    "ended, and nobody knows whether it had answered": (
        ended_early(answered=None),
        Symptom(Kind.WORKER_DIED, None, "status 1: OSError: no port <n>"),
    ),
    "cannot be asked, and ended with what it took": (
        ended_early(messages=(message(1), message(2, received=1.1))),
        Symptom(Kind.WORKER_DIED, None, "status 1: OSError: no port <n>"),
    ),
    "its pool did not start, seen before it was ready": (
        broken(Stage.BOOT, f"WorkerLostError: {NO_POOL}", "WorkerLostError"),
        Symptom(Kind.WORKER_DIED, None, "pool processes"),
    ),
    "its pool did not start, seen after it was ready": (
        ended_early(exit_words=f"WorkerLostError('{NO_POOL}')", answered=None),
        Symptom(Kind.WORKER_DIED, None, "pool processes"),
    ),
    "exited for want of a name": (
        complete(worker_exit=1, ended="exit", exit_words="NameError: name 'tariff' is not defined"),
        Symptom(Kind.WORKER_DIED, None, "status 1: NameError: name 'tariff' is not defined"),
    ),
    "exited for want of a key, as the main process tells it": (
        complete(worker_exit=1, ended="exit", exit_words="KeyError('TARIFF')"),
        Symptom(Kind.WORKER_DIED, None, "status 1: KeyError: 'TARIFF'"),
    ),
    "did not boot": (broken(Stage.BOOT), Symptom(Kind.BOOT_FAILED, "KeyError", "KeyError: 'TOKEN'")),
    "could not be laid out": (
        broken(Stage.LAYOUT, "no", None),
        Symptom(Kind.ENVIRONMENT_FAILED, None, "no"),
    ),
    "dependencies": (broken(Stage.ENVIRONMENT, "no", None), Symptom(Kind.ENVIRONMENT_FAILED, None, "no")),
    "prepare": (broken(Stage.PREPARE, "no", None), Symptom(Kind.ENVIRONMENT_FAILED, None, "no")),
    "went elsewhere": (complete(foreign_broker="production.example"), Symptom(Kind.BROKER_NOT_REDIRECTED)),
    "went elsewhere and died": (
        complete(foreign_broker="production.example", worker_exit=1),
        Symptom(Kind.BROKER_NOT_REDIRECTED),
    ),
}
EXPECTING: dict[str, tuple[Observation, str, Symptom]] = {
    "as expected": (
        complete(messages=(succeeded(1, value="6"), succeeded(2, 2, value="6"))),
        "6",
        Symptom(Kind.COMPLETED),
    ),
    "in another spelling": (
        complete(messages=(succeeded(1, value='{"b": 1, "a": [1, 2]}'), succeeded(2, 2, value='{"a":[1,2],"b":1}'))),
        '{"b":1,"a":[1,2]}',
        Symptom(Kind.COMPLETED),
    ),
    "one wrong": (
        complete(messages=(succeeded(1, value="6"), succeeded(2, 2, value="7"))),
        "6",
        Symptom(Kind.WRONG_RESULT),
    ),
    "one wrong while others hang": (quiet(succeeded(1, value="7"), begun(2)), "6", Symptom(Kind.WRONG_RESULT)),
    "true is not one": (
        complete(messages=(succeeded(1, value="true"), succeeded(2, 2, value="true"))),
        "1",
        Symptom(Kind.WRONG_RESULT),
    ),
    "never told": (complete(messages=(succeeded(1, value="6"), succeeded(2, 2, value=None))), "6", LOST),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_symptoms(name: str) -> None:
    observation, expected = TABLE[name]
    found = judge.symptom(observation)
    assert found.symptom == expected, found.rule
    assert found.rule


@pytest.mark.parametrize("name", EXPECTING)
def test_the_table_of_values(name: str) -> None:
    observation, expect, expected = EXPECTING[name]
    assert judge.symptom(observation, judge.Standard(expect)).symptom == expected


CHECKED = judge.Standard(check="value > 3")
FILED = judge.Standard(script="probe.py")
MUST, MUST_NOT = judge.Standard(log_must="a row"), judge.Standard(log_must_not="a lock")


def checked(identity: int, wave: int, outcome: str | None, said: str | None = None) -> Message:
    return dataclasses.replace(succeeded(identity, wave), checked=outcome, said=said)


def canvas(identity: int, over: int, **changes: Any) -> Message:
    return message(identity, canvas=2, canvas_over=over, **changes)


# What users and the good end declare: (facts, standard, symptom).
DECLARED: dict[str, tuple[Observation, judge.Standard, Symptom]] = {
    "holds": (complete(messages=(checked(1, 1, "true"), checked(2, 2, "true"))), CHECKED, Symptom(Kind.COMPLETED)),
    "does not hold": (
        complete(messages=(checked(1, 1, "true"), checked(2, 2, "false"))),
        CHECKED,
        Symptom(Kind.WRONG_RESULT, None, "value > 3"),
    ),
    "cannot be asked": (
        complete(messages=(checked(1, 1, "raised", "KeyError: 'total'"), checked(2, 2, "raised", "KeyError: 'total'"))),
        CHECKED,
        Symptom(Kind.WRONG_RESULT, "KeyError", "value > 3: 'total'"),
    ),
    "never asked": (complete(messages=(checked(1, 1, "true"), checked(2, 2, None))), CHECKED, LOST),
    "a file without a judge": (complete(), FILED, Symptom(Kind.COMPLETED)),
    "a file's words": (
        complete(messages=(checked(1, 1, "false", "off by 17"), checked(2, 2, "false", "off by 18"))),
        FILED,
        Symptom(Kind.WRONG_RESULT, None, "off by <n>"),
    ),
    "a file's judge was asked once": (complete(messages=(checked(1, 1, "true"), checked(2, 2, None))), FILED, LOST),
    "the line came": (complete(log_required=2), MUST, Symptom(Kind.COMPLETED)),
    "the line never came": (complete(log_required=0), MUST, Symptom(Kind.LOG_LINE, None, "must: a row")),
    "nobody read the log": (complete(), MUST, Symptom(Kind.UNKNOWN)),
    "a missing line says nothing of a hang": (quiet(begun(1), log_required=0), MUST, STUCK),
    "a line that must not be": (
        quiet(begun(1), log_forbidden=1, ended="line"),
        MUST_NOT,
        Symptom(Kind.LOG_LINE, None, "must not: a lock"),
    ),
    "the body of a chord was never sent": (
        quiet(canvas(1, 2)),
        FILED,
        Symptom(Kind.NEVER_RECEIVED, None, "never sent"),
    ),
    "a chord whose header is not over": (quiet(canvas(1, 1)), FILED, Symptom(Kind.UNKNOWN)),
    "a chord's body that hangs": (quiet(canvas(1, 2, received=1.0, started=1.1, starts=1)), FILED, STUCK),
}


@pytest.mark.parametrize("name", DECLARED)
def test_the_table_of_what_is_declared(name: str) -> None:
    observation, standard, expected = DECLARED[name]
    assert judge.symptom(observation, standard).symptom == expected


def test_a_send_that_does_not_return_is_told_in_words() -> None:
    found = judge.symptom(broken(Stage.PROBE, "`send` of the probe file did not return", None))
    assert found.rule == "`send` of the probe file did not return"


def test_every_kind_is_in_a_table() -> None:
    tables = (*TABLE.values(), *EXPECTING.values(), *DECLARED.values())
    known = {symptom.kind for *_, symptom in tables} | {Kind.MEMORY_GROWN}
    assert known == set(Kind)


def test_what_the_good_end_leaves_where_nobody_consumes_is_usual() -> None:
    """And more than that is not: a follow-up that is routed to nowhere looks like a queue of another program's."""
    good = complete(queues=(queue(), queue(3, 0, "audit", consumers=0)))
    usual = judge.measured(judge.ANY, good)
    assert judge.symptom(good, usual).symptom == Symptom(Kind.COMPLETED)
    twice = complete(messages=good.messages * 2, queues=(queue(), queue(6, 0, "audit", consumers=0)))
    assert judge.symptom(twice, usual).symptom == Symptom(Kind.COMPLETED)
    more = complete(queues=(queue(), queue(4, 0, "audit", consumers=0)))
    assert judge.symptom(more, usual).symptom == Symptom(Kind.NEVER_RECEIVED, None, "another task")
    none = judge.measured(judge.ANY, complete())
    assert judge.symptom(good, none).symptom == Symptom(Kind.NEVER_RECEIVED, None, "another task")


def test_as_many_as_the_good_end_leaves_are_never_more_than_usual() -> None:
    """15 of 22, as a share of 22 tasks, are 14.999… of them."""
    for every, left in ((22, 15), (23, 13), (29, 25), *((49, left) for left in range(1, 49))):
        seen = complete(
            messages=(*(succeeded(number) for number in range(every - 1)), succeeded(every, 2)),
            queues=(queue(left, 0, "audit", consumers=0),),
        )
        assert judge.symptom(seen, judge.measured(judge.ANY, seen)).symptom == Symptom(Kind.COMPLETED)


def test_by_which_app_a_web_process_sends_is_judged_only_against_the_good_end_and_for_who_looks_for_it() -> None:
    project, default, unseen = (complete(worker=WorkerFacts(web_app=app)) for app in ("project", "default", None))
    usual = judge.measured(judge.ANY, project)
    assert judge.symptom(default).symptom == Symptom(Kind.COMPLETED)
    assert judge.symptom(default, judge.measured(judge.ANY, default)).symptom == Symptom(Kind.COMPLETED)
    assert judge.symptom(unseen, usual).symptom == Symptom(Kind.COMPLETED)
    found = judge.symptom(default, usual)
    assert found.symptom == Symptom(Kind.NEVER_RECEIVED, None, "default app")
    assert judge.verdict(found, Signature(found.symptom)).verdict is Verdict.BAD
    assert judge.verdict(found, Signature(STUCK)).verdict is Verdict.GOOD, "all that was sent completed"
    assert judge.verdict(found, Signature(STUCK, Match.ANY)).verdict is Verdict.BAD
    nobody = judge.symptom(quiet(message(1), queues=(queue(1, 0, consumers=0),)))
    assert judge.verdict(found, Signature(nobody.symptom)).verdict is Verdict.GOOD


# --- where -------------------------------------------------------------------------------------------

TRACED = "trace_task (/site-packages/celery/app/trace.py:564)"
OWN = Dump(7, "child", ("enter (shop/tasks.py:9)", TRACED))
IN_GET = Dump(8, "child", ("get (/site-packages/celery/result.py:5)", "work (shop/tasks.py:3)", TRACED))
HUNG = {
    "in its body": quiet(begun(1), queues=(queue(0, 1),), held=1),
    "after its body": quiet(begun(1, done=2.0), queues=(queue(0, 1),), worker=LATE, held=1),
    "after its result": complete(held=1),
}


@pytest.mark.parametrize("name", HUNG)
def test_hangs_are_told_apart_by_where_they_wait_and_a_missing_dump_changes_nothing(name: str) -> None:
    there, elsewhere, unseen = (
        judge.symptom(dataclasses.replace(HUNG[name], dumps=dumps)) for dumps in ((OWN, OWN), (IN_GET,), ())
    )
    assert (there.symptom.where, elsewhere.symptom.where) == ("its own code", "get (celery/result.py)")
    assert unseen.symptom.where is None
    for bad in (there, elsewhere, unseen):
        assert judge.verdict(unseen, Signature(bad.symptom)).verdict is Verdict.BAD
        assert judge.verdict(bad, Signature(unseen.symptom)).verdict is Verdict.BAD
        assert judge.verdict(bad, Signature(bad.symptom)).verdict is Verdict.BAD
    assert judge.verdict(there, Signature(elsewhere.symptom)).verdict is Verdict.SKIP
    assert judge.verdict(there, Signature(elsewhere.symptom, Match.ANY)).verdict is Verdict.BAD


def test_a_main_process_that_runs_its_tasks_hangs_within_one_or_outside_of_all() -> None:
    taken = quiet(message(1, received=1.1), **DUMB)
    within, outside = (
        judge.symptom(dataclasses.replace(taken, dumps=(Dump(1, "parent", frames),))).symptom
        for frames in (("work (shop/tasks.py:3)", TRACED), ("got (shop/app.py:3)", "send (celery/utils/dispatch.py:1)"))
    )
    assert (within.where, outside.where) == ("its own code", "outside of its tasks: its own code")
    assert within.kind is outside.kind is Kind.STUCK_IN_TASK
    assert not within.same_failure(outside)


def test_what_asks_to_be_run_again_hangs_nowhere() -> None:
    """Where it was caught in between is chance."""
    asking = quiet(begun(1, retries=1), queues=(queue(0, 1),), held=1, dumps=(IN_GET,))
    assert judge.symptom(asking).symptom.where is None


def test_a_main_process_that_passes_nothing_on_is_told_by_where_it_stands() -> None:
    serving = Dump(1, "parent", ("serve_forever (socketserver.py:233)", "serve (shop/celery.py:14)"))
    seen = quiet(message(1), queues=(queue(0, 1),), dumps=(serving, OWN), heard=("log",))
    assert judge.symptom(seen).symptom.where == "serve_forever (socketserver.py)"


# --- properties --------------------------------------------------------------------------------------

STATES = (None, "SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "IGNORED", "REVOKED")
# Values that trials really give, close to the edges of the rules.
LIKELY_MESSAGES = st.builds(
    Message,
    id=st.uuids().map(str),
    wave=st.sampled_from((1, 1, 2)),
    sent=st.just(1.0),
    received=st.sampled_from((None, 1.0)),
    started=st.sampled_from((None, 1.1)),
    done=st.sampled_from((None, 1.2)),
    starts=st.sampled_from((0, 1, 1, 1, 2)),
    retries=st.sampled_from((0, 0, 0, 1)),
    state=st.sampled_from(STATES),
    stored=st.sampled_from((None, "SUCCESS")),
    value=st.sampled_from((None, "6", "7")),
    exception=st.sampled_from((None, "ValueError", "OSError")),
    detail=st.sampled_from((None, "no order 17", "no order 18", "nothing")),
    sources=st.sampled_from((ALL, ("event",), ("log", "result"), ())),
)
COUNTS = st.builds(
    queue, st.sampled_from((0, 0, 2)), st.sampled_from((0, 0, 2)), consumers=st.sampled_from((None, 0, 1))
)
LIKELY = st.builds(
    Observation,
    until=st.just(30.0),
    worker=st.builds(
        WorkerFacts, acks_late=st.sampled_from((None, True, False)), ignore_result=st.sampled_from((None, True, False))
    ),
    messages=st.lists(LIKELY_MESSAGES, max_size=4).map(tuple),
    queues=st.lists(COUNTS, max_size=2).map(tuple),
    held=st.sampled_from((None, 0, 0, 1, 2)),
    held_others=st.sampled_from((0, 0, 1)),
    others=st.sampled_from((0, 0, 1)),
    scheduled=st.sampled_from((None, 0, 1, 2)),
    refused=st.sampled_from((0, 0, 1)),
    counted_at=st.sampled_from((None, 9.0)),
    heard=st.sampled_from(((), ("event",), ("event", "log"))),
    worker_exit=st.sampled_from((None, None, None, 0, -9)),
    answered=st.sampled_from((None, False, True)),
    children_lost=st.sampled_from((0, 0, 0, 1)),
    foreign_broker=st.sampled_from((None, None, None, "production.example")),
    ended=st.sampled_from(("complete", "quiet", "total", "exit", "failure")),
)
HEALTHY = st.builds(
    lambda first, second, held: complete(
        messages=tuple(succeeded(n) for n in range(first)) + tuple(succeeded(100 + n, 2) for n in range(second)),
        held=held,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from((0, None)),
)
OBSERVATIONS = st.one_of(LIKELY, HEALTHY, values(Observation))
EXPECTATIONS = st.one_of(st.none(), st.sampled_from(("6", '{"a": 1}', "not json")), TEXT)
SIGNATURES = st.builds(Signature, values(Symptom), st.sampled_from(Match))


def judged(observation: Observation, expect: str | None, signature: Signature) -> tuple[Seen, Verdict]:
    seen = judge.symptom(observation, judge.Standard(expect))
    return seen, judge.verdict(seen, signature).verdict


@settings(max_examples=300)
@given(OBSERVATIONS, EXPECTATIONS, SIGNATURES)
def test_good_has_every_proof(observation: Observation, expect: str | None, signature: Signature) -> None:
    """DESIGN 9 and 10: two waves, every message final and good, queues 0/0, every slot proven free."""
    seen, verdict = judged(observation, expect, signature)
    assert seen.symptom.template not in judge.BY_THE_WEB, "which needs a good end's word"
    assert (verdict is Verdict.GOOD) == (seen.symptom.kind is Kind.COMPLETED)
    if verdict is not Verdict.GOOD:
        return
    assert len({message.wave for message in observation.messages}) >= 2
    assert all(message.state == "SUCCESS" for message in observation.messages)
    assert all(message.starts <= 1 for message in observation.messages)
    left = sum(each.ready for each in observation.queues), sum(each.unacked for each in observation.queues)
    assert left[0] <= 0
    assert left[1] <= (observation.scheduled or 0), "but for what the worker says it keeps for later"
    told = all("event" in message.sources for message in observation.messages)
    assert observation.held == 0 or (observation.held is None and told)
    assert observation.failure is None
    assert observation.worker_exit is None
    assert observation.foreign_broker is None
    assert not observation.unregistered
    assert not observation.children_lost
    if expect is not None:
        assert all(message.value is not None for message in observation.messages)


@settings(max_examples=200)
@given(OBSERVATIONS, EXPECTATIONS, SIGNATURES)
def test_bad_is_the_failure_of_the_bad_end(observation: Observation, expect: str | None, signature: Signature) -> None:
    seen, verdict = judged(observation, expect, signature)
    if verdict is Verdict.BAD:
        assert seen.symptom.kind not in (Kind.COMPLETED, Kind.UNKNOWN, Kind.BROKER_NOT_REDIRECTED)
        assert signature.match is Match.ANY or seen.symptom == signature.bad


@settings(max_examples=150)
@given(OBSERVATIONS, EXPECTATIONS)
def test_what_the_bad_end_showed_is_bad_when_it_is_seen_again(observation: Observation, expect: str | None) -> None:
    seen = judge.symptom(observation, judge.Standard(expect))
    at_end = judge.at_end(seen)
    again = judge.verdict(seen, Signature(seen.symptom))
    assert again.verdict is at_end.verdict
    if at_end.verdict is Verdict.BAD:
        assert judge.resembles(seen, Signature(seen.symptom))


@settings(max_examples=150)
@given(OBSERVATIONS, EXPECTATIONS, st.randoms())
def test_the_order_of_messages_changes_nothing(observation: Observation, expect: str | None, chance: Any) -> None:
    messages = list(observation.messages)
    chance.shuffle(messages)
    shuffled = dataclasses.replace(observation, messages=tuple(messages))
    assert judge.symptom(shuffled, judge.Standard(expect)) == judge.symptom(observation, judge.Standard(expect))


@given(OBSERVATIONS, EXPECTATIONS, st.sampled_from(((OWN,), (IN_GET,), (OWN, IN_GET))))
def test_without_a_dump_every_verdict_is_the_same(observation: Observation, expect: str | None, dumps: Any) -> None:
    with_dumps = dataclasses.replace(observation, dumps=dumps)
    without = dataclasses.replace(observation, dumps=())
    seen, bare = (judge.symptom(each, judge.Standard(expect)) for each in (with_dumps, without))
    assert seen.symptom == bare.symptom
    for bad in (seen.symptom, bare.symptom):
        verdicts = {judge.verdict(each, Signature(bad)).verdict for each in (seen, bare)}
        assert len(verdicts) == 1


EXCEPTIONS = st.sampled_from((OSError, KeyError, ValueError))
WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=30).map(str.strip)


@settings(max_examples=300)
@given(EXCEPTIONS, WORDS, st.integers(0, 3), st.integers(1, 255))
def test_when_a_worker_is_seen_to_end_before_it_works_is_no_part_of_the_failure(
    kind: type[Exception], words: str, probes: int, status: int
) -> None:
    """Its consumer may have stood for a moment or not; its log ends with a traceback or tells the same as a `repr`."""
    error = kind(words)
    line = ": ".join(filter(None, (kind.__name__, str(error))))
    before = judge.symptom(broken(Stage.BOOT, line, kind.__name__)).symptom
    for exit_words in (line, repr(error)):
        sent = tuple(message(number) for number in range(probes))
        after = ended_early(messages=sent, worker_exit=status, exit_words=exit_words)
        assert judge.symptom(after).symptom.same_failure(before)


@settings(max_examples=200)
@given(OBSERVATIONS)
def test_who_was_seen_at_work_has_booted(observation: Observation) -> None:
    shown = judge.symptom(dataclasses.replace(observation, failure=None))
    if shown.symptom.kind is Kind.BOOT_FAILED:
        assert observation.answered is False
        assert observation.worker_exit is not None
        assert not any(each.received or each.started or each.state for each in observation.messages)


def _without_one_fact(observation: Observation) -> list[Observation]:
    """The same trial with one proof missing."""
    messages = observation.messages
    holes = [
        (*messages[:index], dataclasses.replace(each, **hole), *messages[index + 1 :])
        for index, each in enumerate(messages)
        for hole in ({"state": None, "stored": None, "sources": ()}, {"state": None})
    ]
    return [
        *(dataclasses.replace(observation, messages=changed) for changed in holes),
        dataclasses.replace(observation, messages=tuple(each for each in messages if each.wave == 1)),
        dataclasses.replace(observation, messages=()),
        dataclasses.replace(
            observation,
            held=None,
            messages=tuple(dataclasses.replace(each, sources=("log", "result")) for each in messages),
        ),
    ]


@given(HEALTHY, st.sampled_from(("complete", "quiet", "")), values(Symptom))
def test_a_missing_proof_is_neither_good_nor_bad(observation: Observation, ended: str, bad: Symptom) -> None:
    assert judge.symptom(observation).symptom.kind is Kind.COMPLETED
    for poorer in _without_one_fact(dataclasses.replace(observation, ended=ended)):
        for match in Match:
            if poorer.ended == "quiet" and any(each.started for each in poorer.messages if each.state is None):
                continue  # begun, and then silence: that is a fact
            seen, verdict = judged(poorer, None, Signature(bad, match))
            assert verdict is Verdict.SKIP, seen


@given(st.sampled_from(("complete", "quiet", "total", "exit", "failure", "")), SIGNATURES)
def test_no_facts_at_all_are_no_verdict(ended: str, signature: Signature) -> None:
    seen, verdict = judged(Observation(30.0, ended=ended), None, signature)
    assert seen.symptom == UNKNOWN
    assert verdict is Verdict.SKIP
    assert judge.at_end(seen).verdict is Verdict.SKIP


def test_neither_another_broker_nor_the_unknown_is_ever_bad() -> None:
    for kind, match in itertools.product((Kind.BROKER_NOT_REDIRECTED, Kind.UNKNOWN), Match):
        seen = Seen(Symptom(kind), "as the bad end")
        assert judge.at_end(seen).verdict is Verdict.SKIP
        assert judge.verdict(seen, Signature(Symptom(kind), match)).verdict is Verdict.SKIP
        assert not judge.resembles(seen, Signature(Symptom(kind), match))


@pytest.mark.parametrize("kind", [Kind.BOOT_FAILED, Kind.ENVIRONMENT_FAILED])
@pytest.mark.parametrize("match", Match)
def test_what_never_came_to_its_probes_is_bad_only_if_the_bad_end_showed_it(kind: Kind, match: Match) -> None:
    seen = Seen(Symptom(kind, "KeyError", "KeyError: <text>"), "it did not boot")
    assert judge.verdict(seen, Signature(STUCK, match)).verdict is Verdict.SKIP
    assert judge.verdict(seen, Signature(seen.symptom, match)).verdict is Verdict.BAD


def test_other_failures_count_only_when_asked_for() -> None:
    seen = Seen(SLOT, "a slot is held")
    assert judge.verdict(seen, Signature(STUCK)).verdict is Verdict.SKIP
    assert "fails differently" in judge.verdict(seen, Signature(STUCK)).rule
    assert judge.verdict(seen, Signature(STUCK, Match.ANY)).verdict is Verdict.BAD


def test_verdicts_are_gits_exit_statuses() -> None:
    assert {verdict.name: int(verdict) for verdict in Verdict} == {"GOOD": 0, "BAD": 1, "SKIP": 125}
