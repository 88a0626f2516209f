"""Failures that somebody told of: the sender, a witness, the worker's end, the user's own judge. Pure rules."""

from __future__ import annotations

from collections import Counter

from bisect_celery.core.standard import POOL_PROCESSES, Seen, Standard, counts, most_frequent, told
from bisect_celery.core.texts import canonical, message_template, told_exception
from bisect_celery.model import Failure, Kind, Message, Observation, Stage, Symptom

# The status of who was ended by SIGKILL.
KILLED = -9


def not_redirected(seen: Observation, _: Standard) -> Seen | None:
    if seen.foreign_broker is None:
        return None
    return told(Kind.BROKER_NOT_REDIRECTED, f"the app talks to {seen.foreign_broker}, not to the broker of this trial")


# Celery's own words, in every version since 3.1 (`celery.worker.loops`), for pool processes that had ended by the time
# its main loop began.
_NO_POOL = ("WorkerLostError", "Could not start worker processes")


def no_pool(seen: Observation, _: Standard) -> Seen | None:
    """Pool processes that end while they start. Those that do so later than Celery looks are made anew for ever
    (`unfinished`): which of the two is seen is chance, and the failure is one."""
    words = seen.exit_words if seen.worker_exit is not None else None
    if seen.failure is not None and seen.failure.stage is Stage.BOOT:
        words = seen.failure.reason
    if _exception_of(words or "") != _NO_POOL:
        return None
    return told(Kind.WORKER_DIED, "the worker ended because its pool processes had", None, POOL_PROCESSES)


def never_ran(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage in (Stage.PROBE, Stage.RESULT):
        return None
    kind = Kind.BOOT_FAILED if failure.stage is Stage.BOOT else Kind.ENVIRONMENT_FAILED
    return told(kind, failure.reason, failure.exception, message_template(failure.reason, failure.exception))


def not_sent(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is not Stage.PROBE:
        return None
    template = f"publishing: {_words_of(failure)}"
    rule = f"publishing raised {failure.exception}" if failure.exception else failure.reason
    return told(Kind.TASK_FAILED, rule, failure.exception, template)


def not_readable(seen: Observation, _: Standard) -> Seen | None:
    failure = seen.failure
    if failure is None or failure.stage is not Stage.RESULT:
        return None
    return told(Kind.RESULT_LOST, f"reading a result raised {failure.exception}", failure.exception, _words_of(failure))


def _words_of(failure: Failure) -> str | None:
    return message_template(failure.reason, failure.exception)


def not_booted(seen: Observation, _: Standard) -> Seen | None:
    """It ended before anybody saw it at work: it answered no question, and took nothing that was sent. Whether its
    consumer had stood for a moment before is chance, so it is the failure of one that never stood."""
    if seen.worker_exit is None or seen.answered is not False or any(_taken(message) for message in seen.messages):
        return None
    exception, words = _last_words(seen)
    reason = words or ended_before_ready(seen.worker_exit)
    return told(Kind.BOOT_FAILED, reason, exception, message_template(reason, exception))


def _last_words(seen: Observation) -> tuple[str | None, str]:
    """(exception, `Type: message`) that the worker's log ends with; "" where it says nothing."""
    exception, message = _exception_of(seen.exit_words or "")
    return exception, ": ".join(filter(None, (exception, message)))


def ended_before_ready(status: int) -> str:
    """Why a worker did not boot that ended without a word."""
    return f"the worker ended with status {status} before it was ready"


def _taken(message: Message) -> bool:
    """Whether anybody saw that a worker took it."""
    seen_at = (message.received, message.started, message.done, message.finished)
    return message.state is not None or message.starts > 0 or any(at is not None for at in seen_at)


def _exception_of(words: str) -> tuple[str | None, str | None]:
    """(type, message) of a `repr`, of `Type: message`, or of a `Type` without one."""
    exception, _, rest = words.partition(": ")
    return (exception, rest) if exception.isidentifier() else told_exception(words)


def died(seen: Observation, _: Standard) -> Seen | None:
    if seen.worker_exit is None:
        return None
    how = f"signal {-seen.worker_exit}" if seen.worker_exit < 0 else f"status {seen.worker_exit}"
    exception, said = _last_words(seen)
    # Who is killed says nothing any more: what its log ends with is chance.
    words = None if seen.worker_exit == KILLED else message_template(said, exception)
    return told(Kind.WORKER_DIED, f"the worker ended by itself with {how}", None, f"{how}: {words}" if words else how)


def unregistered(seen: Observation, _: Standard) -> Seen | None:
    """Of ours: told of one that was never begun; or, before Celery 4, only by the log, while one of ours is gone."""
    unread = _unread(seen)
    gone = unread and (len(unread) == len(seen.messages) or len(unread) > sum(counts(seen)))
    # It takes none that it does not know; a body may ask for one, which is another failure.
    unknown = [message for message in seen.messages if message.exception == "NotRegistered"]
    named = any(message.received is None and message.started is None for message in unknown)
    if named or (seen.unregistered and gone):
        return told(Kind.UNREGISTERED, "the worker received a task that it does not know")
    return None


def _unread(seen: Observation) -> list[Message]:
    """Messages of which nobody told that anybody read them."""
    return [message for message in seen.messages if message.state is None and message.received is None]


def failed(seen: Observation, _: Standard) -> Seen | None:
    """Tasks may fail in more than one way; the most frequent one speaks for the trial."""
    failed = Counter(_ending(message) for message in seen.messages if message.state not in (None, "SUCCESS"))
    if not failed:
        return None
    state, symptom = most_frequent(failed)
    rule = f"{failed.total()} of {len(seen.messages)} tasks ended as {state} ({symptom.exception or 'no exception'})"
    return Seen(symptom, rule)


def _ending(message: Message) -> tuple[str | None, Symptom]:
    # Not every witness knows an exception of the others, so the state is what they say. 5.7 tells of what a task
    # rejected as failed too, and the log as rejected.
    state = "REJECTED" if message.exception == "Reject" else message.state
    if state != "FAILURE":
        return state, Symptom(Kind.TASK_FAILED, None, state)
    template = message_template(message.detail, message.exception)
    return message.state, Symptom(Kind.TASK_FAILED, message.exception, template)


def redelivered(seen: Observation, _: Standard) -> Seen | None:
    again = [message for message in seen.messages if message.starts > 1 + message.again]
    if not again:
        return None
    rule = f"{len(again)} of {len(seen.messages)} tasks were run more than once"
    if seen.children_lost:  # who dies with a task that is not acknowledged gives it back: that is why it ran again
        rule = f"{rule}, and {seen.children_lost} pool processes died"
        return told(Kind.REDELIVERED, rule, None, "pool processes died")
    return told(Kind.REDELIVERED, rule)


def refused(seen: Observation, _: Standard) -> Seen | None:
    """The worker's main process says that it threw messages away unread: nothing else will ever be told of them.

    They are ours where ours are in no queue; and where as many were refused as are missing, what waits somewhere are
    they themselves, as dead letters.
    """
    unread = _unread(seen)
    if not seen.refused or not unread or seen.refused < len(unread) <= sum(counts(seen)):
        return None
    exception, template = _refusal(seen.refusal or "")
    rule = f"the worker refused {seen.refused} messages without reading them ({exception or 'no reason given'})"
    return told(Kind.TASK_FAILED, rule, exception, f"refused by the worker: {template}")


def _refusal(words: str) -> tuple[str | None, str | None]:
    """(exception, template) of `Type: words`."""
    exception, colon, rest = words.partition(": ")
    if not colon or not exception.isidentifier():
        return None, message_template(words)
    return exception, message_template(rest, exception)


def forbidden_line(seen: Observation, standard: Standard) -> Seen | None:
    """The user has said what a failure looks like, so nothing that comes with it speaks louder."""
    if not seen.log_forbidden or standard.log_must_not is None:
        return None
    rule = f"the worker's log has {seen.log_forbidden} lines that must not be there"
    return told(Kind.LOG_LINE, rule, None, f"must not: {standard.log_must_not}")


def disapproved(seen: Observation, standard: Standard) -> Seen | None:
    """What the user's own judge said of values: that they are wrong, or by what it was broken."""
    wrong = [message for message in seen.messages if message.checked in ("false", "raised")]
    if not wrong:
        return None
    exception, template = most_frequent(Counter(_disapproval(message, standard) for message in wrong))
    why = f"raised {exception}" if exception else "was not satisfied"
    why += f": {template}" if template not in (None, standard.judge) and not exception else ""
    rule = f"{len(wrong)} of {len(seen.messages)} tasks returned a value with which `{standard.judge}` {why}"
    return told(Kind.WRONG_RESULT, rule, exception, template)


def _disapproval(message: Message, standard: Standard) -> tuple[str | None, str | None]:
    """(the exception that it raised, what it said or is called)."""
    if message.checked == "raised":
        exception, _, words = (message.said or "").partition(": ")
        return exception or None, f"{standard.judge}: {message_template(words, exception) or ''}"
    return None, message_template(message.said) or standard.judge


def wrong(seen: Observation, standard: Standard) -> Seen | None:
    if standard.expect is None:
        return None
    wanted = canonical(standard.expect)
    wrong = [message for message in seen.messages if message.value is not None and canonical(message.value) != wanted]
    if wrong:
        return told(Kind.WRONG_RESULT, f"{len(wrong)} of {len(seen.messages)} tasks returned another value")
    return None


def unmet(seen: Observation, _: Standard) -> Seen | None:
    if seen.unmet is None:
        return None
    wanted = seen.unmet.partition(":")[0]  # how far it came instead is no name of the failure
    return told(Kind.WRONG_RESULT, f"the scenario {seen.unmet}", None, f"the scenario {wanted}")
