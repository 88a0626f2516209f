"""A worker whose main process runs the tasks itself, one at a time (`-P solo`), and that hangs. Pure rules.

Such a worker cannot be asked while a task runs, and keeps the task's events, and its acknowledgement, early or late,
until that has ended (Celery 4 and later: `call_soon`). What is left are its log, which tells of each task when it is
taken, and that it answered before.
"""

from __future__ import annotations

from bisect_celery.core import pools
from bisect_celery.core.standard import Seen, acknowledges_late, counts, told
from bisect_celery.model import Kind, Message, Observation


def hangs(seen: Observation) -> bool:
    """Whether it answered once, is alive, and answers no more."""
    alive = seen.worker_exit is None and seen.ended in ("quiet", "total")
    return alive and pools.inline(seen.worker.pool) and seen.answered is True and seen.held is None


def hanging(seen: Observation, open_: list[Message]) -> Seen | None:
    """What it hangs in: a task that it took and did not end, or what comes after one that has succeeded."""
    if not hangs(seen):
        return None
    taken = [message for message in open_ if message.received is not None]
    if taken:
        return told(Kind.STUCK_IN_TASK, f"{len(taken)} tasks were taken by the main process, which hangs since")
    if after := ends_not_sent(seen):
        rule = f"{after} tasks succeeded, and the main process, which ran them itself, hangs since"
        late = acknowledges_late(seen) and counts(seen)[1]
        return told(Kind.EXECUTED_NOT_ACKED if late else Kind.SLOT_LOST, rule)
    return None


def ends_not_sent(seen: Observation) -> int:
    """Of how many tasks that succeeded the main process did not send the end, which it does as it goes on."""
    return sum(message.state == "SUCCESS" and "event" not in message.sources for message in seen.messages)
