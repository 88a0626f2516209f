"""The judge: facts in, symptom and verdict out. Pure; every rule is a small function with its reason in words.

`symptom` says what one trial's facts look like, `verdict` compares that with what the two ends showed. A verdict
needs a positive final fact (DESIGN 9): what merely was not seen is `unknown`, which is tried again and then skipped,
never good and never bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from bisect_celery.core.frames import parent_waits_in, tasks_wait_in
from bisect_celery.core.texts import canonical, message_template
from bisect_celery.model import (
    Failure,
    Judgement,
    Kind,
    Match,
    Message,
    Observation,
    Probe,
    Stage,
    Symptom,
    Verdict,
)

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

    `expect` is the JSON text of the value every task must return (None: any), `check` the expression about it that
    must hold, `script` the name of the probe file that may judge it; `log_must` and `log_must_not` are patterns of the
    worker's log.
    `left`: messages of others, a probe, that the good end leaves where nobody consumes (None: not measured).
    `judges` are the measures to hold against the good end ("latency", "memory"), by at least `effect` (a share);
    `latency` (seconds) and `memory` (MiB) have one sample for each of its starts (`core.measures`).
    `web_app`: by which app a web process of the good end sends (`WorkerFacts.web_app`; None: not measured).
    """

    expect: str | None = None
    check: str | None = None
    script: str | None = None
    log_must: str | None = None
    log_must_not: str | None = None
    left: float | None = None
    judges: tuple[str, ...] = ()
    effect: float = 0.25
    latency: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    web_app: str | None = None

    @property
    def judge(self) -> str:
        """What the user's own judge is called."""
        return " and ".join(filter(None, (self.check, self.script)))


ANY = Standard()


def standard_of(probe: Probe) -> Standard:
    """What the user declared; nothing is measured yet."""
    script = probe.script.name if probe.script else None
    return Standard(
        expect=probe.expect,
        check=probe.check,
        script=script,
        log_must=probe.log_must,
        log_must_not=probe.log_must_not,
        judges=probe.judges,
        effect=probe.effect / 100,
    )


# --- symptom -----------------------------------------------------------------------------------------


def symptom(seen: Observation, standard: Standard = ANY) -> Seen:
    """What the facts look like, held to a standard."""
    for rule in _RULES:
        if (found := rule(seen, standard)) is not None:
            return _placed(found, seen)
    return _seen(Kind.UNKNOWN, "the facts fit no rule")


# What hangs, hangs somewhere: in a process that holds a task, or in the main process that should have passed it on.
_HANGS = frozenset({Kind.STUCK_IN_TASK, Kind.EXECUTED_NOT_ACKED, Kind.SLOT_LOST})


def _placed(found: Seen, seen: Observation) -> Seen:
    """With what it waits in, where dumps tell. Never more than a further name of what is already known (DESIGN 16)."""
    if found.symptom.kind in _HANGS and not (found.symptom.template or "").startswith("retry"):  # that hangs nowhere
        where = tasks_wait_in(seen.dumps)
    elif found.symptom.kind is Kind.NEVER_RECEIVED:
        where = parent_waits_in(seen.dumps)
    else:
        where = None
    return found if where is None else replace(found, symptom=replace(found.symptom, where=where))


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
    again = [message for message in seen.messages if message.starts > 1 + message.again]
    if not again:
        return None
    rule = f"{len(again)} of {len(seen.messages)} tasks were run more than once"
    if seen.children_lost:  # who dies with a task that is not acknowledged gives it back: that is why it ran again
        rule = f"{rule}, and {seen.children_lost} pool processes died"
        return _seen(Kind.REDELIVERED, rule, None, "pool processes died")
    return _seen(Kind.REDELIVERED, rule)


def _refused(seen: Observation, _: Standard) -> Seen | None:
    """The worker's main process says that it threw messages away unread: nothing else will ever be told of them."""
    unseen = [message for message in seen.messages if message.state is None and message.received is None]
    if not seen.refused or len(unseen) <= sum(_counts(seen)):
        return None
    exception, template = _refusal(seen.refusal or "")
    rule = f"the worker refused {seen.refused} messages without reading them ({exception or 'no reason given'})"
    return _seen(Kind.TASK_FAILED, rule, exception, f"refused by the worker: {template}")


def _refusal(words: str) -> tuple[str | None, str | None]:
    """(exception, template) of `Type: words`."""
    exception, colon, rest = words.partition(": ")
    if not colon or not exception.isidentifier():
        return None, message_template(words)
    return exception, message_template(rest, exception)


def _forbidden_line(seen: Observation, standard: Standard) -> Seen | None:
    """The user has said what a failure looks like, so nothing that comes with it speaks louder."""
    if not seen.log_forbidden or standard.log_must_not is None:
        return None
    rule = f"the worker's log has {seen.log_forbidden} lines that must not be there"
    return _seen(Kind.LOG_LINE, rule, None, f"must not: {standard.log_must_not}")


def _disapproved(seen: Observation, standard: Standard) -> Seen | None:
    """What the user's own judge said of values: that they are wrong, or by what it was broken."""
    wrong = [message for message in seen.messages if message.checked in ("false", "raised")]
    if not wrong:
        return None
    exception, template = _most_frequent(Counter(_disapproval(message, standard) for message in wrong))
    why = f"raised {exception}" if exception else "was not satisfied"
    why += f": {template}" if template not in (None, standard.judge) and not exception else ""
    rule = f"{len(wrong)} of {len(seen.messages)} tasks returned a value with which `{standard.judge}` {why}"
    return _seen(Kind.WRONG_RESULT, rule, exception, template)


def _disapproval(message: Message, standard: Standard) -> tuple[str | None, str | None]:
    """(the exception that it raised, what it said or is called)."""
    if message.checked == "raised":
        exception, _, words = (message.said or "").partition(": ")
        return exception or None, f"{standard.judge}: {message_template(words, exception) or ''}"
    return None, message_template(message.said) or standard.judge


def _wrong(seen: Observation, standard: Standard) -> Seen | None:
    if standard.expect is None:
        return None
    wanted = canonical(standard.expect)
    wrong = [message for message in seen.messages if message.value is not None and canonical(message.value) != wanted]
    if wrong:
        return _seen(Kind.WRONG_RESULT, f"{len(wrong)} of {len(seen.messages)} tasks returned another value")
    return None


# --- every task succeeded ----------------------------------------------------------------------------


def _unmet(seen: Observation, _: Standard) -> Seen | None:
    if seen.unmet is None:
        return None
    wanted = seen.unmet.partition(":")[0]  # how far it came instead is no name of the failure
    return _seen(Kind.WRONG_RESULT, f"the scenario {seen.unmet}", None, f"the scenario {wanted}")


def _all_succeeded(seen: Observation, standard: Standard) -> Seen | None:
    if not seen.messages or any(message.state != "SUCCESS" for message in seen.messages):
        return None
    return (
        _left_behind(seen, standard)
        or _without_result(seen, standard)
        or _unproven(seen)
        or _without_line(seen, standard)
        or _sent_elsewhere(seen, standard)
        or _completed(seen)
    )


def _left_behind(seen: Observation, standard: Standard) -> Seen | None:
    """What is left when every task of ours has succeeded: slots, messages, dead processes."""
    unacked = _counts(seen)[1]
    if seen.held_others and seen.held == seen.held_others:
        rule = f"every task succeeded, and {seen.held_others} others that they or the project sent never ended"
        return _seen(Kind.STUCK_IN_TASK, rule, None, "another task")
    late = seen.worker.acks_late is not False
    if late and unacked > seen.others and (seen.held or not all_returned(seen)):
        return _seen(Kind.EXECUTED_NOT_ACKED, f"every task succeeded, {unacked} were never acknowledged")
    if seen.held:
        return _seen(Kind.SLOT_LOST, f"every task succeeded, and the worker still counts {seen.held} slots as busy")
    if missing := _ends_not_told(seen):
        rule = f"every task succeeded, and the main process told the end of all but {missing}, of later ones too"
        return _seen(Kind.SLOT_LOST, rule)
    if (left := _left_over(seen, standard)) is not None:
        return left
    if seen.children_lost:
        rule = f"every task succeeded, and {seen.children_lost} pool processes died"
        return _seen(Kind.WORKER_DIED, rule, None, "pool processes")
    return None


def _ends_not_told(seen: Observation) -> int:
    """Of how many tasks that succeeded the main process was never told, though it told of some that ended later.

    For a worker that cannot be asked. The end of a task comes to the main process from the pool process that ran it,
    and goes out as an event at once and in order; only of pool processes is that known (a pool of threads drops some).
    """
    if seen.held is not None or seen.ended != "quiet":
        return 0
    told = [message.finished or 0.0 for message in seen.messages if "event" in message.sources]
    silent = [message for message in seen.messages if "event" not in message.sources]
    by_processes = all("Worker-" in (message.process or "") for message in silent)
    latest = max(told, default=0.0)
    before = [message for message in silent if message.finished is not None and message.finished < latest]
    return len(before) if by_processes else 0


def _left_over(seen: Observation, standard: Standard) -> Seen | None:
    """Messages of others that are still there. Those that wait for their time, as the worker says, are no trouble; of
    those that wait where nobody consumes, only as many as the good end leaves are none."""
    ready, unacked = _counts(seen)
    idle = idle_messages(seen)
    if ready > idle or unacked > (seen.scheduled or 0):
        rule = f"every task succeeded, and {ready + unacked} messages are left that nobody of ours sent"
        return _seen(Kind.UNKNOWN, rule)
    if idle and standard.left is None:
        rule = f"every task succeeded, and {idle} messages of others wait where nobody consumes; only a good end tells"
        return _seen(Kind.UNKNOWN, f"{rule} whether that is usual")
    if idle > (standard.left or 0.0) * len(seen.messages):
        rule = f"every task succeeded, and {idle} messages of others wait where no consumer stands, more than is usual"
        return _seen(Kind.NEVER_RECEIVED, rule, None, "another task")
    return None


def idle_messages(seen: Observation) -> int:
    """How many messages wait in queues on which no consumer stands."""
    return sum(queue.ready for queue in seen.queues if queue.consumers == 0)


def measured(standard: Standard, good: Observation) -> Standard:
    """What the good end itself shows to be usual here: messages that it leaves where nobody consumes, a probe, and by
    which app its web processes send."""
    left = idle_messages(good) / len(good.messages) if good.messages else None
    return replace(standard, left=left, web_app=good.worker.web_app)


def _without_result(seen: Observation, standard: Standard) -> Seen | None:
    readable = [message for message in seen.messages if not message.unread]
    if standard.expect is not None and any(message.value is None for message in readable):
        return _seen(Kind.RESULT_LOST, "every task succeeded, and a result never came back")
    unseen = sum(message.checked is None for message in readable)
    if unseen and (standard.check is not None or unseen < len(readable)):  # a probe file need not judge
        return _seen(
            Kind.RESULT_LOST, f"every task succeeded, and `{standard.judge}` never saw {unseen} of the results"
        )
    if seen.worker.ignore_result is False and any(message.stored is None for message in readable):
        return _seen(Kind.RESULT_LOST, "the worker reports success, and the result backend never told")
    return None


def _unproven(seen: Observation) -> Seen | None:
    if len({message.wave for message in seen.messages if message.wave}) < 2:  # wave 0 was left by an older revision
        return _seen(Kind.UNKNOWN, "every task succeeded, but nothing was sent after the first wave")
    if seen.held is None and not all_returned(seen):
        return _seen(Kind.UNKNOWN, "every task succeeded, but the pool's slots were not proven free")
    return None


BY_THE_WEB = ("default app", "another app")


def _sent_elsewhere(seen: Observation, standard: Standard) -> Seen | None:
    """What the app itself sends completes, but a web process, which loads the task and not the app, sends by another.

    Only where the good end's web processes send by the project's app: many projects never do.
    """
    web = seen.worker.web_app
    if standard.web_app != "project" or web not in ("default", "another"):
        return None
    rule = f"every task that the app itself sends completes; a web process sends by {web} app, to another place"
    return _seen(Kind.NEVER_RECEIVED, rule.replace("by default", "by Celery's default"), None, f"{web} app")


def _without_line(seen: Observation, standard: Standard) -> Seen | None:
    """Only when all else completed does a line that is missing mean something, and the log had time to catch up."""
    if standard.log_must is None or seen.log_required:
        return None
    if seen.log_required is None:
        return _seen(Kind.UNKNOWN, "every task succeeded, but the log was not read for the line that must be there")
    rule = "every task succeeded, and the line that must be in the worker's log never came"
    return _seen(Kind.LOG_LINE, rule, None, f"must: {standard.log_must}")


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
    return (
        _never_sent(seen, open_)
        or _retrying(open_)
        or _slow(seen, open_)
        or _begun(seen, open_)
        or _never_begun(seen, open_)
    )


def _never_sent(seen: Observation, open_: list[Message]) -> Seen | None:
    """All that comes before in its canvas succeeded, and nothing was ever heard of the task itself (a chord's body)."""
    due = [message for message in open_ if message.canvas and message.canvas_over == message.canvas]
    unsent = [message for message in due if message.received is None and message.started is None]
    if not unsent or 2 * len(unsent) < len(open_) or _counts(seen)[0]:
        return None
    rule = f"{len(unsent)} tasks were never sent, though every task before them in their canvas succeeded"
    return _seen(Kind.NEVER_RECEIVED, rule, None, "never sent")


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
    if seen.ended != "total" or seen.until - seen.last_progress > (seen.until - (seen.ready_at or 0.0)) / 2:
        return None  # nothing moved for most of the time: that is no slowness
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
    if not succeeded:
        return _none_begun(seen, ready, unacked)
    if succeeded and _slots_held(seen):
        if seen.worker.acks_late:
            return _seen(Kind.EXECUTED_NOT_ACKED, f"{succeeded} tasks succeeded and were never acknowledged")
        return _seen(Kind.SLOT_LOST, f"{succeeded} tasks succeeded, and their slots never came back")
    if succeeded and ready and not unacked:
        rule = f"{succeeded} tasks succeeded, and then nobody took the {ready} that wait in the queue"
        return _seen(Kind.NEVER_RECEIVED, rule, None, "any more")
    if unacked and seen.held == 0 and any(message.received is not None for message in open_):
        rule = f"{succeeded} tasks succeeded; the worker runs nothing, and holds {unacked} that it received"
        return _seen(Kind.NEVER_RECEIVED, rule, None, "held back")
    return _no_witness(seen, open_)


def _no_witness(seen: Observation, open_: list[Message]) -> Seen:
    return _seen(Kind.UNKNOWN, f"no witness told how {len(open_)} of {len(seen.messages)} tasks ended")


def _none_begun(seen: Observation, ready: int, unacked: int) -> Seen:
    """How far the messages came is what tells these failures apart; each has the broker's or the worker's own word."""
    count = len(seen.messages)
    if dead := max(seen.children_lost, seen.children_gone):  # no task was begun that could have ended them
        rule = f"none of {count} tasks was begun, and {dead} pool processes died before they could"
        return _seen(Kind.WORKER_DIED, rule, None, "pool processes")
    if ready or unacked:
        waiting = f"none of {count} tasks was begun; {ready} wait in the queue, {unacked} in the worker"
        return _seen(Kind.NEVER_RECEIVED, f"{waiting}{_HOW_FAR[how_far := _how_far(seen, unacked)]}", None, how_far)
    if _vanished(seen):
        rule = f"{count} tasks were published, no queue holds any, and a worker that tells what it receives got none"
        return _seen(Kind.NEVER_RECEIVED, rule, None, "vanished")
    return _no_witness(seen, list(seen.messages))


_HOW_FAR: dict[str | None, str] = {
    "received": ", which received them and began none",
    "delivered": ", whose main process never said that it received any",
    "no consumer": ", where no consumer stands",
    "not taken": ", where a consumer stands",
    None: "",
}


def _how_far(seen: Observation, unacked: int) -> str | None:
    if unacked:
        return "received" if any(message.received is not None for message in seen.messages) else "delivered"
    standing = [queue.consumers for queue in seen.queues if queue.ready]
    if any(consumers is None for consumers in standing):
        return None
    return "not taken" if any(standing) else "no consumer"


def _vanished(seen: Observation) -> bool:
    """Whether all messages are gone and nobody got them: a broker drops what no queue is bound for, without a word.

    That nothing was seen is no fact; that there is nothing to see is one: the sender had published them all before the
    queues were counted, the worker says that it runs nothing, and it was heard through its events and its log, either
    of which tells of each task that it receives.
    """
    published = [message.published for message in seen.messages]
    if seen.counted_at is None or any(at is None or at >= seen.counted_at for at in published):
        return False
    silent = all(message.received is None and message.done is None for message in seen.messages)
    return silent and seen.held == 0 and not seen.others and {"event", "log"} <= set(seen.heard)


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
    _forbidden_line,
    _died,
    _unregistered,
    _failed,
    _refused,
    _redelivered,
    _wrong,
    _disapproved,
    _unmet,
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
    if _beside(found) and not _beside(signature.bad) and signature.match is Match.SAME:
        return Judgement(Verdict.GOOD, found, f"{seen.rule}: not the failure that is looked for")
    if found.same_failure(signature.bad):
        return Judgement(Verdict.BAD, found, seen.rule)
    if found.kind in _SKIPPED_KINDS:
        return Judgement(Verdict.SKIP, found, seen.rule)
    if signature.match is Match.ANY:
        return Judgement(Verdict.BAD, found, f"{seen.rule} (any failure counts)")
    return Judgement(Verdict.SKIP, found, f"fails differently: {seen.rule}")


def _beside(symptom: Symptom) -> bool:
    """Whether all that was sent did complete, and what is wrong is beside the probe: for whoever looks for that."""
    return symptom.kind is Kind.NEVER_RECEIVED and symptom.template in BY_THE_WEB


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
