"""The judge: facts in, symptom and verdict out. Pure; every rule is a small function with its reason in words.

`symptom` says what one trial's facts look like, `verdict` compares that with what the two ends showed. A verdict
needs a positive final fact (DESIGN 9): what merely was not seen is `unknown`, which is tried again and then skipped,
never good and never bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bisect_celery.core.texts import canonical, message_template
from bisect_celery.model import Failure, Judgement, Kind, Match, Message, Observation, Probe, Stage, Symptom, Verdict

T = TypeVar("T")


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


@dataclass(frozen=True)
class Standard:
    """What a trial must show beyond completion, as far as the user declared it and the good end measured it.

    `expect` is the JSON text of the value every task must return (None: any).
    """

    expect: str | None = None


ANY = Standard()


def standard_of(probe: Probe) -> Standard:
    """What the user declared; nothing is measured yet."""
    return Standard(expect=probe.expect)


# --- symptom -----------------------------------------------------------------------------------------


def symptom(seen: Observation, standard: Standard = ANY) -> Seen:
    """What the facts look like, held to a standard."""
    for rule in _RULES:
        if (found := rule(seen, standard)) is not None:
            return found
    return _seen(Kind.UNKNOWN, "the facts fit no rule")


_Rule = Callable[[Observation, Standard], Seen | None]


def _seen(kind: Kind, rule: str, exception: str | None = None, template: str | None = None) -> Seen:
    return Seen(Symptom(kind, exception, template), rule)


def _not_redirected(seen: Observation, _: Standard) -> Seen | None:
    if seen.foreign_broker is None:
        return None
    return _seen(Kind.BROKER_NOT_REDIRECTED, f"the app talks to {seen.foreign_broker}, not to the broker of this trial")


def _never_ran(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage in (Stage.PROBE, Stage.RESULT):
        return None
    kind = Kind.BOOT_FAILED if failure.stage is Stage.BOOT else Kind.ENVIRONMENT_FAILED
    return _seen(kind, failure.reason, failure.exception, message_template(failure.reason, failure.exception))


def _not_sent(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is not Stage.PROBE:
        return None
    template = f"publishing: {_words_of(failure)}"
    return _seen(Kind.TASK_FAILED, f"publishing raised {failure.exception}", failure.exception, template)


def _not_readable(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is not Stage.RESULT:
        return None
    return _seen(
        Kind.RESULT_LOST, f"reading a result raised {failure.exception}", failure.exception, _words_of(failure)
    )


def _words_of(failure: Failure) -> str | None:
    return message_template(failure.reason, failure.exception)


def _died(seen: Observation, _: Standard) -> Seen | None:
    if seen.worker_exit is None:
        return None
    how = f"signal {-seen.worker_exit}" if seen.worker_exit < 0 else f"status {seen.worker_exit}"
    words = message_template(seen.exit_words)
    return _seen(Kind.WORKER_DIED, f"the worker ended by itself with {how}", None, f"{how}: {words}" if words else how)


def _unregistered(seen: Observation, _: Standard) -> Seen | None:
    if seen.unregistered or any(message.exception == "NotRegistered" for message in seen.messages):
        return _seen(Kind.UNREGISTERED, "the worker received a task that it does not know")
    return None


def _failed(seen: Observation, _: Standard) -> Seen | None:
    """Tasks may fail in more than one way; the most frequent one speaks for the trial."""
    failed = Counter(_ending(message) for message in seen.messages if message.state not in (None, "SUCCESS"))
    if not failed:
        return None
    state, symptom = _most_frequent(failed)
    rule = f"{failed.total()} of {len(seen.messages)} tasks ended as {state} ({symptom.exception or 'no exception'})"
    return Seen(symptom, rule)


def _most_frequent(counted: Counter[T]) -> T:
    """Of equals always the same one, in whatever order they were told."""
    return min(counted, key=lambda key: (-counted[key], repr(key)))


def _ending(message: Message) -> tuple[str | None, Symptom]:
    if message.state != "FAILURE":  # not every witness knows an exception of these, so the state is what they say
        return message.state, Symptom(Kind.TASK_FAILED, None, message.state)
    template = message_template(message.detail, message.exception)
    return message.state, Symptom(Kind.TASK_FAILED, message.exception, template)


def _redelivered(seen: Observation, _: Standard) -> Seen | None:
    again = [message for message in seen.messages if message.starts > 1]
    if not again:
        return None
    return _seen(Kind.REDELIVERED, f"{len(again)} of {len(seen.messages)} tasks were run more than once")


def _wrong(seen: Observation, standard: Standard) -> Seen | None:
    if standard.expect is None:
        return None
    wanted = canonical(standard.expect)
    wrong = [message for message in seen.messages if message.value is not None and canonical(message.value) != wanted]
    if wrong:
        return _seen(Kind.WRONG_RESULT, f"{len(wrong)} of {len(seen.messages)} tasks returned another value")
    return None


# --- every task succeeded ----------------------------------------------------------------------------


def _all_succeeded(seen: Observation, standard: Standard) -> Seen | None:
    if not seen.messages or any(message.state != "SUCCESS" for message in seen.messages):
        return None
    return _left_behind(seen) or _without_result(seen, standard) or _unproven(seen) or _completed(seen)


def _left_behind(seen: Observation) -> Seen | None:
    """What is left when every task of ours has succeeded: slots, messages, dead processes."""
    ready, unacked = _counts(seen)
    if seen.held_others and seen.held == seen.held_others:
        rule = f"every task succeeded, and {seen.held_others} others that they or the project sent never ended"
        return _seen(Kind.STUCK_IN_TASK, rule, None, "another task")
    late = seen.worker.acks_late is not False
    if late and unacked > seen.others and (seen.held or not all_returned(seen)):
        return _seen(Kind.EXECUTED_NOT_ACKED, f"every task succeeded, {unacked} were never acknowledged")
    if seen.held:
        return _seen(Kind.SLOT_LOST, f"every task succeeded, and the worker still counts {seen.held} slots as busy")
    if ready or unacked:
        rule = f"every task succeeded, and {ready + unacked} messages are left that nobody of ours sent"
        return _seen(Kind.UNKNOWN, rule)
    if seen.children_lost:
        rule = f"every task succeeded, and {seen.children_lost} pool processes died"
        return _seen(Kind.WORKER_DIED, rule, None, "pool processes")
    return None


def _without_result(seen: Observation, standard: Standard) -> Seen | None:
    if standard.expect is not None and any(message.value is None for message in seen.messages):
        return _seen(Kind.RESULT_LOST, "every task succeeded, and a result never came back")
    if seen.worker.ignore_result is False and any(message.stored is None for message in seen.messages):
        return _seen(Kind.RESULT_LOST, "the worker reports success, and the result backend never told")
    return None


def _unproven(seen: Observation) -> Seen | None:
    if len({message.wave for message in seen.messages}) < 2:
        return _seen(Kind.UNKNOWN, "every task succeeded, but nothing was sent after the first wave")
    if seen.held is None and not all_returned(seen):
        return _seen(Kind.UNKNOWN, "every task succeeded, but the pool's slots were not proven free")
    return None


def _completed(seen: Observation) -> Seen:
    every = len(seen.messages)
    free = "every slot free" if seen.held == 0 else "every pool process told its end to the worker's main process"
    return _seen(Kind.COMPLETED, f"{every} of {every} tasks final, queue 0/0, {free}")


def all_returned(seen: Observation) -> bool:
    """Whether the worker's main process itself told the end of every message, which frees their slots.

    A worker whose project switched remote control off cannot be asked what it holds. But Celery sends `task-succeeded`
    from the main process, in the callback that the pool calls after the whole traced task has come back, signals
    and all (`Request.on_success`, read in 3.1, 4.4, 5.2 and 5.7): the same callback that takes a request off the list
    which `inspect active` shows. So this is the same witness by another way, and as positive.
    """
    return bool(seen.messages) and all("event" in message.sources for message in seen.messages)


# --- not every task became final ---------------------------------------------------------------------


def _unfinished(seen: Observation, _: Standard) -> Seen | None:
    """Something was sent, and not everything of it became final."""
    if not seen.messages or seen.ended not in ("quiet", "total"):
        return None
    open_ = [message for message in seen.messages if message.state is None]
    return _retrying(open_) or _slow(seen, open_) or _begun(seen, open_) or _never_begun(seen, open_)


def _retrying(open_: list[Message]) -> Seen | None:
    """Tasks that ask to be run again and again; why they ask is what tells this from a hang."""
    retrying = [message for message in open_ if message.retries]
    if 2 * len(retrying) < len(open_):
        return None
    exception, template = _most_frequent(
        Counter((message.exception, message_template(message.detail, message.exception)) for message in retrying)
    )
    rule = f"{len(retrying)} tasks asked to be run again ({exception or 'no reason given'}) and never ended"
    return _seen(Kind.STUCK_IN_TASK, rule, exception, f"retry: {template}")


def _slow(seen: Observation, open_: list[Message]) -> Seen | None:
    if seen.ended != "total":
        return None
    return _seen(Kind.SLOW, f"{len(open_)} of {len(seen.messages)} tasks still open when the watch ended")


def _begun(seen: Observation, open_: list[Message]) -> Seen | None:
    begun = [message for message in open_ if message.starts or message.started is not None]
    executed = [message for message in open_ if message.done is not None]
    if executed and len(executed) >= len(begun):
        if seen.worker.acks_late is False:  # what is unacknowledged then was only taken in advance
            return _seen(Kind.SLOT_LOST, f"{len(executed)} bodies ran to their end, and their slots never came back")
        if _counts(seen)[1]:
            return _seen(
                Kind.EXECUTED_NOT_ACKED, f"{len(executed)} bodies ran to their end, and nothing came after them"
            )
    if begun and seen.held == 0:
        return _seen(
            Kind.UNKNOWN, f"{len(begun)} tasks were begun, the worker runs none, and no witness told their end"
        )
    if begun:
        return _seen(Kind.STUCK_IN_TASK, f"{len(begun)} tasks were started and never finished")
    return None


def _never_begun(seen: Observation, open_: list[Message]) -> Seen:
    ready, unacked = _counts(seen)
    succeeded = len(seen.messages) - len(open_)
    if not succeeded and (ready or unacked):
        taken = "received" if unacked else None  # the worker took them, or nobody did: two failures
        rule = f"none of {len(seen.messages)} tasks was begun; {ready} wait in the queue, {unacked} in the worker"
        return _seen(Kind.NEVER_RECEIVED, rule, None, taken)
    if succeeded and _slots_held(seen):
        if seen.worker.acks_late:
            return _seen(Kind.EXECUTED_NOT_ACKED, f"{succeeded} tasks succeeded and were never acknowledged")
        return _seen(Kind.SLOT_LOST, f"{succeeded} tasks succeeded, and their slots never came back")
    if succeeded and ready and not unacked:
        rule = f"{succeeded} tasks succeeded, and then nobody took the {ready} that wait in the queue"
        return _seen(Kind.NEVER_RECEIVED, rule, None, "any more")
    return _seen(Kind.UNKNOWN, f"no witness told how {len(open_)} of {len(seen.messages)} tasks ended")


def _slots_held(seen: Observation) -> bool:
    """Whether tasks of ours that succeeded keep their slots: the worker counts them, or its main process was
    never told of their end while it still holds messages."""
    if seen.held is not None:
        return seen.held > seen.held_others
    succeeded = [message for message in seen.messages if message.state == "SUCCESS"]
    return bool(_counts(seen)[1]) and any("event" not in message.sources for message in succeeded)


def _counts(seen: Observation) -> tuple[int, int]:
    """(ready, unacknowledged) over all work queues."""
    return sum(queue.ready for queue in seen.queues), sum(queue.unacked for queue in seen.queues)


_RULES: tuple[_Rule, ...] = (
    _not_redirected,
    _never_ran,
    _not_sent,
    _not_readable,
    _died,
    _unregistered,
    _failed,
    _redelivered,
    _wrong,
    _all_succeeded,
    _unfinished,
)


# --- verdict -----------------------------------------------------------------------------------------

_SKIPPED_KINDS = frozenset({Kind.BOOT_FAILED, Kind.ENVIRONMENT_FAILED})
# Neither ever tells two revisions apart, even when the bad end shows it too.
_NEVER_JUDGED = frozenset({Kind.UNKNOWN, Kind.BROKER_NOT_REDIRECTED})


def verdict(seen: Seen, signature: Signature) -> Judgement:
    """Good, bad or skip, given what the session's ends showed."""
    found = seen.symptom
    if found.kind is Kind.COMPLETED:
        return Judgement(Verdict.GOOD, found, seen.rule)
    if found.kind in _NEVER_JUDGED:
        return Judgement(Verdict.SKIP, found, seen.rule)
    if found.same_failure(signature.bad):
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
    known = seen.symptom.kind not in _NEVER_JUDGED
    return Judgement(Verdict.BAD if known else Verdict.SKIP, seen.symptom, seen.rule)


def resembles(picture: Seen, signature: Signature | None) -> bool:
    """Whether a trial that is still running already looks like the bad end, so that silence means more."""
    if signature is None or picture.symptom.kind in _NEVER_JUDGED:
        return False
    return picture.symptom.same_failure(signature.bad)
