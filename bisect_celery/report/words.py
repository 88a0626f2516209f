"""What was seen, in words that a person understands who has never read the judge. Pure.

Nothing private is in these words: of a failure its type and what was missing, never its message.
"""

from __future__ import annotations

import math
import signal
from collections import Counter

from bisect_celery.model import Failure, Kind, Message, Observation, Stage, Symptom, Verdict

MEANINGS = {
    Kind.COMPLETED: "every task completes, and every pool slot comes back",
    Kind.WRONG_RESULT: "tasks return another value than expected",
    Kind.TASK_FAILED: "tasks fail",
    Kind.UNREGISTERED: "the worker does not know the task",
    Kind.NEVER_RECEIVED: "nobody takes the tasks from the queue",
    Kind.STUCK_IN_TASK: "tasks begin and never end",
    Kind.EXECUTED_NOT_ACKED: "tasks do their work, but are never acknowledged, and the slots stay taken",
    Kind.SLOT_LOST: "results are fine, but pool slots never come back",
    Kind.RESULT_LOST: "tasks end, but their results never arrive",
    Kind.REDELIVERED: "tasks run more than once",
    Kind.SLOW: "tasks were still running when the time learnt at the good end was long over",
    Kind.MEMORY_GROWN: "pool processes grow beyond what they took at the good end",
    Kind.LOG_LINE: "the worker's log does not say what it should",
    Kind.WORKER_DIED: "the worker ends by itself",
    Kind.BOOT_FAILED: "the worker does not start",
    Kind.ENVIRONMENT_FAILED: "what the worker needs could not be made ready",
    Kind.BROKER_NOT_REDIRECTED: "the worker went to another broker than ours, and was stopped",
    Kind.UNKNOWN: "what happened could not be told",
}
# How far messages came that nobody works on (`core.judge`): by the template of the symptom.
NEVER = {
    "vanished": "tasks are published and reach no queue",
    "delivered": "the worker's main process is handed tasks, and takes none of them up",
    "received": "the worker receives tasks and begins none",
    "held back": "the worker does some tasks and holds the others back",
    "any more": "the worker does some tasks, and then takes no more",
    "never sent": "tasks are never sent, though all that comes before them is done",
    "another task": "tasks of the project's own wait in a queue that nobody consumes",
    "default app": "a web process sends its tasks by Celery's default app, to another place",
    "another app": "a web process sends its tasks by another app, to another place",
}
# Where the template says whose failure it is, or what was compared.
OTHERS = {
    (Kind.SLOW, "latency"): "tasks take longer than at the good end",
    (Kind.UNREGISTERED, "another task"): "the worker does not know another task, which ours or the project sent",
    (Kind.STUCK_IN_TASK, "another task"): "ours end, and another task, which they or the project sent, never does",
    (Kind.WORKER_DIED, "pool processes"): "pool processes die",
}
STAGES = {
    Stage.LAYOUT: "its files could not be laid out",
    Stage.ENVIRONMENT: "its dependencies could not be installed",
    Stage.PREPARE: "its prepare command failed",
    Stage.BOOT: "the worker did not start",
    Stage.PROBE: "the tasks could not be sent",
    Stage.RESULT: "the results could not be read",
}
VERDICTS = {Verdict.GOOD: "good", Verdict.BAD: "bad", Verdict.SKIP: "skip"}
ENDED_BADLY = ("FAILURE", "REVOKED", "REJECTED", "IGNORED")


def verdict(value: Verdict) -> str:
    return VERDICTS[value]


def symptom(value: Symptom) -> str:
    """A symptom as a sentence without its full stop."""
    meaning = NEVER.get(value.template or "", "") if value.kind is Kind.NEVER_RECEIVED else ""
    meaning = meaning or OTHERS.get((value.kind, value.template or ""), MEANINGS[value.kind])
    return f"{meaning} with {value.exception}" if value.exception else meaning


def seconds(value: float) -> str:
    """A duration as people say it: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if not math.isfinite(value):
        return "an unknown time"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def failure(value: Failure) -> str:
    """Why a trial ended before its probes: the stage, the exception's type, what was missing."""
    missing = ", ".join(f"{kind} {name}" for kind, name in value.missing)
    reasons = [reason for reason in (value.exception, f"missing: {missing}" if missing else None) if reason]
    return f"{STAGES[value.stage]} ({'; '.join(reasons)})" if reasons else STAGES[value.stage]


def facts(seen: Observation) -> str:
    """The counts of a trial: "20 sent; 2 bodies ran, 0 acknowledged; 2 of 2 slots held, 18 waiting"."""
    parts = [
        failure(seen.failure) if seen.failure else "",
        "the worker went to another broker" if seen.foreign_broker is not None else "",
        "the worker does not know a task" if seen.unregistered else "",
        *(_counts(seen) if seen.messages else ()),
        _endings(seen.messages),
        _declared(seen),
        _deaths(seen),
        *(fault.what for fault in seen.faults),
    ]
    return "; ".join(part for part in parts if part) or "nothing was sent"


def _counts(seen: Observation) -> tuple[str, str, str]:
    sent = len(seen.messages)
    left = sum(message.wave == 0 and message.unread for message in seen.messages)
    told = f"{sent} sent" + (f", {left} of them by the older revision" if left else "")
    ran = sum(_ran(message) for message in seen.messages)
    begun = sum(_begun(message) for message in seen.messages)
    bodies = f"{ran} {_bodies(ran)} ran"
    if begun > ran:
        bodies = f"{begun} {_bodies(begun)} began, {ran or 'none'} ended"
    if not seen.queues:
        return told, bodies, _slots(seen)
    ready = sum(queue.ready for queue in seen.queues)
    unacked = sum(queue.unacked for queue in seen.queues)
    gone = max(0, sum(_unseen(message) for message in seen.messages) - ready - unacked)
    acknowledged = max(0, sent - gone - ready - unacked)
    prefetched = max(0, sent - gone - ready - max(begun, acknowledged))
    told += f", nothing seen of {gone}" if gone else ""
    waiting = f"{ready} waiting" + (f" and {prefetched} more taken but not begun" if prefetched else "")
    slots = _slots(seen)
    return told, f"{bodies}, {acknowledged} acknowledged", f"{slots}, {waiting}" if slots else waiting


def _unseen(message: Message) -> bool:
    return message.state is None and message.received is None and not _begun(message) and not _ran(message)


def _slots(seen: Observation) -> str:
    if seen.held is None:
        return ""
    total = seen.worker.concurrency
    return f"{seen.held} of {total} slots held" if total else f"{seen.held} {_plural(seen.held, 'slot')} held"


def _begun(message: Message) -> bool:
    return message.starts > 0 or message.started is not None or _ran(message)


def _ran(message: Message) -> bool:
    return message.done is not None or message.state in ("SUCCESS", "FAILURE")


def _endings(messages: tuple[Message, ...]) -> str:
    """How tasks ended that did not simply succeed."""
    failed = Counter(
        f"{message.state.lower()}{f' with {message.exception}' if message.exception else ''}"
        for message in messages
        if message.state in ENDED_BADLY
    )
    parts = [f"{count} ended in {name}" for name, count in sorted(failed.items())]
    again = sum(message.starts > 1 for message in messages)
    if again:
        parts.append(f"{again} ran more than once")
    return ", ".join(parts)


def _declared(seen: Observation) -> str:
    """What the user asked for beyond completion, where it is not so; and what was measured."""
    wrong = sum(message.checked in ("false", "raised") for message in seen.messages)
    lines = seen.log_forbidden
    parts = [
        f"{wrong} returned a wrong value" if wrong else "",
        f"{lines} {_plural(lines, 'line')} in the log that must not be there" if lines else "",
        "the line that must be there is not in the log" if seen.log_required == 0 else "",
        f"{max(seen.memory) / 1024:.0f} MiB at most in a process" if seen.memory else "",
    ]
    return ", ".join(part for part in parts if part)


def _deaths(seen: Observation) -> str:
    parts = []
    if seen.worker_exit is not None:
        when = f" after {seconds(seen.worker_exit_at)}" if seen.worker_exit_at is not None else ""
        parts.append(f"the worker ended by itself with {exit_status(seen.worker_exit)}{when}")
    if seen.children_replaced:
        parts.append(f"{seen.children_replaced} pool processes were replaced for their memory")
    if seen.children_lost:
        children = "child" if seen.children_lost == 1 else "children"
        parts.append(f"{seen.children_lost} pool {children} died")
    return ", ".join(parts)


def exit_status(code: int) -> str:
    """An exit status or, negative, the signal that ended a program, by name."""
    if code >= 0:
        return f"status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _bodies(count: int) -> str:
    return "body" if count == 1 else "bodies"
