"""Something was sent, and not all of it became final: how far did it come? Pure rules."""

from __future__ import annotations

from collections import Counter

from bisect_celery.core import pools, solo
from bisect_celery.core.standard import (
    POOL_PROCESSES,
    Seen,
    Standard,
    acknowledges_late,
    counts,
    events_tell,
    most_frequent,
    told,
)
from bisect_celery.core.texts import message_template
from bisect_celery.model import Kind, Message, Observation


def unfinished(seen: Observation, _: Standard) -> Seen | None:
    """Something was sent, and not everything of it became final."""
    if not seen.messages or seen.ended not in ("quiet", "total"):
        return None
    open_ = [message for message in seen.messages if message.state is None]
    return (
        _never_sent(seen, open_)
        or _retrying(open_)
        or _slow(seen, open_)
        or _begun(seen, open_)
        or solo.hanging(seen, open_)
        or _never_begun(seen, open_)
    )


def _never_sent(seen: Observation, open_: list[Message]) -> Seen | None:
    """All that comes before in its canvas succeeded, and nothing was ever heard of the task itself (a chord's body)."""
    due = [message for message in open_ if message.canvas and message.canvas_over == message.canvas]
    unsent = [message for message in due if message.received is None and message.started is None]
    if not unsent or 2 * len(unsent) < len(open_) or counts(seen)[0]:
        return None
    rule = f"{len(unsent)} tasks were never sent, though every task before them in their canvas succeeded"
    return told(Kind.NEVER_RECEIVED, rule, None, "never sent")


def _retrying(open_: list[Message]) -> Seen | None:
    """Tasks that ask to be run again and again; why they ask is what tells this from a hang."""
    retrying = [message for message in open_ if message.retries]
    if 2 * len(retrying) < len(open_):
        return None
    exception, template = most_frequent(
        Counter((message.exception, message_template(message.detail, message.exception)) for message in retrying)
    )
    rule = f"{len(retrying)} tasks asked to be run again ({exception or 'no reason given'}) and never ended"
    return told(Kind.STUCK_IN_TASK, rule, exception, f"retry: {template}")


def _slow(seen: Observation, open_: list[Message]) -> Seen | None:
    if seen.ended != "total" or seen.until - seen.last_progress > (seen.until - (seen.ready_at or 0.0)) / 2:
        return None  # nothing moved for most of the time: that is no slowness
    return told(Kind.SLOW, f"{len(open_)} of {len(seen.messages)} tasks still open when the watch ended")


def _begun(seen: Observation, open_: list[Message]) -> Seen | None:
    begun = [message for message in open_ if message.starts or message.started is not None]
    executed = [message for message in open_ if message.done is not None]
    if executed and len(executed) >= len(begun):
        if not acknowledges_late(seen):  # what is unacknowledged then was only taken in advance
            return told(Kind.SLOT_LOST, f"{len(executed)} bodies ran to their end, and their slots never came back")
        if counts(seen)[1]:
            return told(
                Kind.EXECUTED_NOT_ACKED, f"{len(executed)} bodies ran to their end, and nothing came after them"
            )
    if begun and seen.held is not None and seen.held <= seen.held_others:
        rule = f"{len(begun)} tasks were begun, the worker runs none of them, and no witness told their end"
        return told(Kind.UNKNOWN, rule)
    if begun:
        return told(Kind.STUCK_IN_TASK, f"{len(begun)} tasks were started and never finished")
    return None


def _never_begun(seen: Observation, open_: list[Message]) -> Seen:
    ready, unacked = counts(seen)
    succeeded = len(seen.messages) - len(open_)
    if not succeeded:
        return _none_begun(seen, ready, unacked)
    if succeeded and _slots_held(seen):
        if acknowledges_late(seen):
            return told(Kind.EXECUTED_NOT_ACKED, f"{succeeded} tasks succeeded and were never acknowledged")
        return told(Kind.SLOT_LOST, f"{succeeded} tasks succeeded, and their slots never came back")
    if succeeded and ready and not unacked:
        rule = f"{succeeded} tasks succeeded, and then nobody took the {ready} that wait in the queue"
        return told(Kind.NEVER_RECEIVED, rule, None, "any more")
    if unacked and seen.held == 0 and any(message.received is not None for message in open_):
        rule = f"{succeeded} tasks succeeded; the worker runs nothing, and holds {unacked} that it received"
        return told(Kind.NEVER_RECEIVED, rule, None, "held back")
    return _no_witness(seen, open_)


def _no_witness(seen: Observation, open_: list[Message]) -> Seen:
    return told(Kind.UNKNOWN, f"no witness told how {len(open_)} of {len(seen.messages)} tasks ended")


def _none_begun(seen: Observation, ready: int, unacked: int) -> Seen:
    """How far the messages came is what tells these failures apart; each has the broker's or the worker's own word."""
    count = len(seen.messages)
    if dead := max(seen.children_lost, seen.children_gone):  # no task was begun that could have ended them
        rule = f"none of {count} tasks was begun, and {dead} pool processes died before they could"
        return told(Kind.WORKER_DIED, rule, None, POOL_PROCESSES)
    if (how_far := _how_far(seen, ready, unacked)) is not None:
        rule = f"none of {count} tasks was begun; {ready} wait in the queue, {unacked} in the worker"
        return told(Kind.NEVER_RECEIVED, f"{rule}{_HOW_FAR[how_far]}", None, how_far or None)
    if _vanished(seen):
        rule = f"{count} tasks were published, no queue holds any, and a worker that tells what it receives got none"
        return told(Kind.NEVER_RECEIVED, rule, None, "vanished")
    return _no_witness(seen, list(seen.messages))


_HOW_FAR = {
    "received": ", which received them and began none",
    "delivered": ", whose main process never said that it received any",
    "no consumer": ", where no consumer stands",
    "not taken": ", where a consumer stands",
    "": "",
}


def _how_far(seen: Observation, ready: int, unacked: int) -> str | None:
    """How far they came; "" where nobody looked who stands at the queue, None where nobody can say."""
    if unacked and any(message.received is not None for message in seen.messages):
        return "received" if seen.held is not None or _hangs_itself(seen) else None
    if unacked:  # of a worker that was never heard, that it did not tell of them is no fact
        return "delivered" if _would_be_heard(seen) else None
    if not ready:
        return None
    standing = [queue.consumers for queue in seen.queues if queue.ready]
    if any(consumers is None for consumers in standing):
        return ""
    return "not taken" if any(standing) else "no consumer"


def _would_be_heard(seen: Observation) -> bool:
    """Whether the main process tells of what it receives. One that runs a task keeps its events until that has ended:
    then only its log does."""
    return bool({"boot", "log"} & set(seen.heard)) if solo.hangs(seen) else bool(seen.heard)


def _hangs_itself(seen: Observation) -> bool:
    """Whether the main process, which answered once, answers no more, though no task runs in it.

    That no task was begun only the worker can say, since a log tells of ends and events may be lost; but one that hangs
    itself begins none any more. Where tasks run in the main process, they are what it may hang in: then its events,
    which tell of each that begins, have to be heard.
    """
    apart = pools.apart(seen.worker.pool)
    return seen.answered is True and seen.held is None and (apart or "event" in seen.heard)


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
    silent = any("event" not in message.sources for message in succeeded)
    return bool(counts(seen)[1]) and events_tell(seen) and silent
