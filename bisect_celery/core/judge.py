"""The judge: facts in, symptom and verdict out. Pure; every rule is a small function with its reason in words.

`symptom` says what one trial's facts look like, `verdict` compares that with what the two ends showed. A verdict
needs a positive final fact (DESIGN 9): what merely was not seen is `unknown`, which is tried again and then skipped,
never good and never bad.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from bisect_celery.model import Failure, Judgement, Kind, Match, Message, Observation, Stage, Symptom, Verdict


@dataclass(frozen=True)
class Seen:
    """A symptom and the rule that saw it, in words for a person."""

    symptom: Symptom
    rule: str


@dataclass(frozen=True)
class Signature:
    """What good and bad look like in this session, from its own ends."""

    bad: Symptom
    match: Match = Match.SAME


# --- symptom -----------------------------------------------------------------------------------------


def symptom(seen: Observation, expect: str | None = None) -> Seen:
    """What the facts look like. `expect` is the JSON text of the value every task must return (None: any)."""
    for rule in _RULES:
        if (found := rule(seen, expect)) is not None:
            return found
    return _seen(Kind.UNKNOWN, "the facts fit no rule")


_Rule = Callable[[Observation, str | None], Seen | None]


def _seen(kind: Kind, rule: str, exception: str | None = None, template: str | None = None) -> Seen:
    return Seen(Symptom(kind, exception, template), rule)


def _not_redirected(seen: Observation, _: str | None) -> Seen | None:
    if seen.foreign_broker is None:
        return None
    return _seen(Kind.BROKER_NOT_REDIRECTED, f"the app talks to {seen.foreign_broker}, not to the broker of this trial")


def _never_ran(seen: Observation, _: str | None) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is Stage.PROBE:
        return None
    kind = Kind.BOOT_FAILED if failure.stage is Stage.BOOT else Kind.ENVIRONMENT_FAILED
    return _seen(kind, failure.reason, failure.exception, message_template(failure.reason))


def _died(seen: Observation, _: str | None) -> Seen | None:
    if seen.worker_exit is None:
        return None
    how = f"signal {-seen.worker_exit}" if seen.worker_exit < 0 else f"status {seen.worker_exit}"
    return _seen(Kind.WORKER_DIED, f"the worker ended by itself with {how}", None, how)


def _unregistered(seen: Observation, _: str | None) -> Seen | None:
    if seen.unregistered or any(message.exception == "NotRegistered" for message in seen.messages):
        return _seen(Kind.UNREGISTERED, "the worker received a task that it does not know")
    return None


def _failed(seen: Observation, _: str | None) -> Seen | None:
    failed = [message for message in seen.messages if message.state in ("FAILURE", "REVOKED", "REJECTED")]
    if not failed:
        return None
    first = failed[0]
    rule = f"{len(failed)} of {len(seen.messages)} tasks ended as {first.state} ({first.exception or 'no exception'})"
    return _seen(Kind.TASK_FAILED, rule, first.exception, message_template(first.detail))


def _not_sent(seen: Observation, _: str | None) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is not Stage.PROBE:
        return None
    return _seen(Kind.TASK_FAILED, f"publishing raised {failure.exception}", failure.exception, _publishing(failure))


def _publishing(failure: Failure) -> str:
    return f"publishing: {message_template(failure.reason)}"


def _redelivered(seen: Observation, _: str | None) -> Seen | None:
    again = [message for message in seen.messages if message.starts > 1]
    if not again:
        return None
    return _seen(Kind.REDELIVERED, f"{len(again)} of {len(seen.messages)} tasks were run more than once")


def _wrong(seen: Observation, expect: str | None) -> Seen | None:
    if expect is None:
        return None
    wanted = canonical(expect)
    wrong = [message for message in seen.messages if message.value is not None and canonical(message.value) != wanted]
    if wrong:
        return _seen(Kind.WRONG_RESULT, f"{len(wrong)} of {len(seen.messages)} tasks returned another value")
    return None


def _all_final(seen: Observation, expect: str | None) -> Seen | None:
    if not seen.messages or any(message.state != "SUCCESS" for message in seen.messages):
        return None
    unacked = sum(queue.unacked for queue in seen.queues)
    if unacked:
        return _seen(Kind.EXECUTED_NOT_ACKED, f"every task succeeded, {unacked} were never acknowledged")
    if seen.held:
        return _seen(Kind.SLOT_LOST, f"every task succeeded, and the worker still counts {seen.held} slots as busy")
    if sum(queue.ready for queue in seen.queues):
        return _seen(Kind.UNKNOWN, "every task succeeded, and messages are waiting that nobody of ours sent")
    if expect is not None and any(message.value is None for message in seen.messages):
        return _seen(Kind.RESULT_LOST, "every task succeeded, and a result never came back")
    if _results_lost(seen):
        return _seen(Kind.RESULT_LOST, "the worker reports success, and the result backend never told")
    waves = {message.wave for message in seen.messages}
    if len(waves) < 2 or seen.held is None:
        return _seen(Kind.UNKNOWN, "every task succeeded, but the pool's slots were not proven free")
    return _seen(
        Kind.COMPLETED, f"{len(seen.messages)} of {len(seen.messages)} tasks final, queue 0/0, every slot free"
    )


def _results_lost(seen: Observation) -> bool:
    """The project keeps results that we can read, and some never came."""
    return seen.worker.ignore_result is False and any(message.stored is None for message in seen.messages)


def _unfinished(seen: Observation, _: str | None) -> Seen | None:
    """Something was sent, and not everything of it became final."""
    if not seen.messages or seen.ended not in ("quiet", "total"):
        return None
    open_ = [message for message in seen.messages if message.state is None]
    if seen.ended == "total":
        return _seen(Kind.SLOW, f"{len(open_)} of {len(seen.messages)} tasks still open when the watch ended")
    begun = [message for message in open_ if message.starts or message.started is not None]
    unacked = sum(queue.unacked for queue in seen.queues)
    executed = [message for message in open_ if message.done is not None]
    succeeded = [message for message in seen.messages if message.state == "SUCCESS"]
    if executed and len(executed) >= len(begun) and unacked:
        return _seen(Kind.EXECUTED_NOT_ACKED, f"{len(executed)} bodies ran to their end, and nothing came after them")
    if begun:
        return _seen(Kind.STUCK_IN_TASK, f"{len(begun)} tasks were started and never finished")
    return _never_begun(seen, succeeded, unacked)


def _never_begun(seen: Observation, succeeded: list[Message], unacked: int) -> Seen:
    ready = sum(queue.ready for queue in seen.queues)
    if succeeded and (seen.held or unacked):
        if seen.worker.acks_late:
            return _seen(Kind.EXECUTED_NOT_ACKED, f"{len(succeeded)} tasks succeeded and were never acknowledged")
        return _seen(Kind.SLOT_LOST, f"{len(succeeded)} tasks succeeded, and their slots never came back")
    if not succeeded and (ready or unacked):
        return _seen(Kind.NEVER_RECEIVED, f"none of {len(seen.messages)} tasks was begun; {ready} wait in the queue")
    return _seen(Kind.UNKNOWN, "the queue is empty, and no witness told how the tasks ended")


_RULES: tuple[_Rule, ...] = (
    _not_redirected,
    _never_ran,
    _not_sent,
    _died,
    _unregistered,
    _failed,
    _redelivered,
    _wrong,
    _all_final,
    _unfinished,
)


# --- verdict -----------------------------------------------------------------------------------------

_SKIPPED_KINDS = frozenset({Kind.BOOT_FAILED, Kind.ENVIRONMENT_FAILED, Kind.UNKNOWN})


def verdict(seen: Seen, signature: Signature) -> Judgement:
    """Good, bad or skip, given what the session's ends showed."""
    found = seen.symptom
    if found.kind is Kind.COMPLETED:
        return Judgement(Verdict.GOOD, found, seen.rule)
    if found.same_failure(signature.bad) and found.kind is not Kind.UNKNOWN:
        return Judgement(Verdict.BAD, found, seen.rule)
    if found.kind in _SKIPPED_KINDS:
        return Judgement(Verdict.SKIP, found, seen.rule)
    if signature.match is Match.ANY:
        return Judgement(Verdict.BAD, found, f"{seen.rule} (any failure counts)")
    return Judgement(Verdict.SKIP, found, f"fails differently: {seen.rule}")


def at_end(seen: Seen) -> Judgement:
    """The judgement of an end's own trial, before a signature exists: completed or not."""
    if seen.symptom.kind is Kind.COMPLETED:
        return Judgement(Verdict.GOOD, seen.symptom, seen.rule)
    known = seen.symptom.kind is not Kind.UNKNOWN
    return Judgement(Verdict.BAD if known else Verdict.SKIP, seen.symptom, seen.rule)


def resembles(picture: Seen, signature: Signature | None) -> bool:
    """Whether a trial that is still running already looks like the bad end, so that silence means more."""
    return signature is not None and picture.symptom.same_failure(signature.bad)


# --- texts -------------------------------------------------------------------------------------------

_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"0x[0-9a-f]+", re.I), "<hex>"),
    (re.compile(r"\b[0-9a-f]{7,40}\b", re.I), "<hex>"),
    (re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""), "<text>"),
    (re.compile(r"(?:/[\w.@+-]+){2,}/?"), "<path>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)


def message_template(text: str | None) -> str | None:
    """A message without what varies from run to run: ids, numbers, quoted values, paths. None stays None."""
    if text is None:
        return None
    first = text.strip().splitlines()[0] if text.strip() else ""
    for pattern, name in _VARIABLE:
        first = pattern.sub(name, first)
    return first[:200]


def canonical(text: str) -> str:
    """A JSON text in one spelling, so that two spellings of one value agree; other text as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text
