"""Every task succeeded: is that all, or is something left behind, lost, or not proven? Pure rules."""

from __future__ import annotations

from bisect_celery.core import solo
from bisect_celery.core.standard import (
    POOL_PROCESSES,
    Seen,
    Standard,
    acknowledges_late,
    counts,
    events_tell,
    idle_messages,
    told,
)
from bisect_celery.model import Kind, Observation

# What a share of so many messages may be wrong by.
ROUNDED = 0.001


def all_succeeded(seen: Observation, standard: Standard) -> Seen | None:
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
    if seen.held_others and seen.held == seen.held_others:
        rule = f"every task succeeded, and {seen.held_others} others that they or the project sent never ended"
        return told(Kind.STUCK_IN_TASK, rule, None, "another task")
    if acknowledges_late(seen) and (unacked := _not_acknowledged(seen)):
        return told(Kind.EXECUTED_NOT_ACKED, f"every task succeeded, {unacked} were never acknowledged")
    if seen.held:
        return told(Kind.SLOT_LOST, f"every task succeeded, and the worker still counts {seen.held} slots as busy")
    if missing := _ends_not_told(seen):
        rule = f"every task succeeded, and the main process told the end of all but {missing}, of later ones too"
        return told(Kind.SLOT_LOST, rule)
    if seen.unregistered:
        rule = "every task succeeded, and the worker received another, that they or the project sent, and does not know"
        return told(Kind.UNREGISTERED, rule, None, "another task")
    if (left := _left_over(seen, standard)) is not None:
        return left
    if seen.children_lost:
        rule = f"every task succeeded, and {seen.children_lost} pool processes died"
        return told(Kind.WORKER_DIED, rule, None, POOL_PROCESSES)
    return None


def _not_acknowledged(seen: Observation) -> int:
    """How many messages are unacknowledged, where more of them are than others' can be, and some of ours must be: the
    worker still counts slots as busy, or its main process, which tells of our tasks, never told the end of one."""
    unacked = counts(seen)[1]
    ours = seen.held or (events_tell(seen) and not all_returned(seen))
    return unacked if ours and unacked > max(seen.others, seen.scheduled or 0) else 0


def _ends_not_told(seen: Observation) -> int:
    """Of how many tasks that succeeded the main process was never told, though it told of some that ended later.

    For a worker that cannot be asked. The end of a task comes to the main process from the pool process that ran it,
    and goes out as an event at once and in order; only of pool processes is that known (a pool of threads drops some).
    """
    if seen.held is not None or seen.ended != "quiet":
        return 0
    if solo.hangs(seen):  # at the last of all; how many went before it, and told their end, changes nothing
        return solo.ends_not_sent(seen) if events_tell(seen) else 0
    told = [message.finished or 0.0 for message in seen.messages if "event" in message.sources]
    silent = [message for message in seen.messages if "event" not in message.sources]
    if not all(message.starts for message in silent):
        return 0  # a task that sends no events at all
    by_processes = all("Worker-" in (message.process or "") for message in silent)
    latest = max(told, default=0.0)
    before = [message for message in silent if message.finished is not None and message.finished < latest]
    return len(before) if by_processes else 0


def _left_over(seen: Observation, standard: Standard) -> Seen | None:
    """Messages of others that are still there. Those that wait for their time, as the worker says, are no trouble; of
    those that wait where nobody consumes, only as many as the good end leaves are none."""
    ready, unacked = counts(seen)
    idle = idle_messages(seen)
    if ready > idle or unacked > (seen.scheduled or 0):
        rule = f"every task succeeded, and {ready + unacked} messages are left that nobody of ours sent"
        return told(Kind.UNKNOWN, rule)
    if idle and standard.left is None:
        rule = f"every task succeeded, and {idle} messages of others wait where nobody consumes; only a good end tells"
        return told(Kind.UNKNOWN, f"{rule} whether that is usual")
    if idle > (standard.left or 0.0) * len(seen.messages) + ROUNDED:
        rule = f"every task succeeded, and {idle} messages of others wait where no consumer stands, more than is usual"
        return told(Kind.NEVER_RECEIVED, rule, None, "another task")
    return None


def _without_result(seen: Observation, standard: Standard) -> Seen | None:
    readable = [message for message in seen.messages if not message.unread]
    if standard.expect is not None and any(message.value is None for message in readable):
        return told(Kind.RESULT_LOST, "every task succeeded, and a result never came back")
    unseen = sum(message.checked is None for message in readable)
    if unseen and (standard.check is not None or unseen < len(readable)):  # a probe file need not judge
        return told(Kind.RESULT_LOST, f"every task succeeded, and `{standard.judge}` never saw {unseen} of the results")
    if seen.worker.ignore_result is False and any(message.stored is None for message in readable):
        return told(Kind.RESULT_LOST, "the worker reports success, and the result backend never told")
    return None


def _unproven(seen: Observation) -> Seen | None:
    if len({message.wave for message in seen.messages if message.wave}) < 2:  # wave 0 was left by an older revision
        return told(Kind.UNKNOWN, "every task succeeded, but nothing was sent after the first wave")
    if seen.held is None and not all_returned(seen):
        return told(Kind.UNKNOWN, "every task succeeded, but the pool's slots were not proven free")
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
    return told(Kind.NEVER_RECEIVED, rule.replace("by default", "by Celery's default"), None, f"{web} app")


def _without_line(seen: Observation, standard: Standard) -> Seen | None:
    """Only when all else completed does a line that is missing mean something, and the log had time to catch up."""
    if standard.log_must is None or seen.log_required:
        return None
    if seen.log_required is None:
        return told(Kind.UNKNOWN, "every task succeeded, but the log was not read for the line that must be there")
    rule = "every task succeeded, and the line that must be in the worker's log never came"
    return told(Kind.LOG_LINE, rule, None, f"must: {standard.log_must}")


def _completed(seen: Observation) -> Seen:
    every = len(seen.messages)
    free = "every slot free" if seen.held == 0 else "every pool process told its end to the worker's main process"
    return told(Kind.COMPLETED, f"{every} of {every} tasks final, queue 0/0, {free}")


def all_returned(seen: Observation) -> bool:
    """Whether the worker's main process itself told the end of every message, which frees their slots.

    A worker whose project switched remote control off cannot be asked what it holds. But Celery sends `task-succeeded`
    from the main process, in the callback that the pool calls after the whole traced task has come back, signals
    and all (`Request.on_success`, read in 3.1, 4.4, 5.2 and 5.7): the same callback that takes a request off the list
    which `inspect active` shows. So this is the same witness by another way, and as positive.
    """
    return bool(seen.messages) and all("event" in message.sources for message in seen.messages)
