"""What the broker tells of a place: events of its workers, live counts of its queues, and who stands on them."""

from __future__ import annotations

import re
from dataclasses import replace

from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.loop import Clock
from bisect_celery.lab.signs import Signs
from bisect_celery.model import Cancel, Place
from bisect_celery.probe.eyes import Eyes, eyes

STEP = 0.02
COUNT_EVERY = 0.08
# Celery's own queues: remote control, events, replies and results (a task's id, with dashes or, until 4, without).
_INTERNAL = re.compile(
    r"\.pidbox$|^celeryev\.|\.reply\.|^bisect-celery\.|^amq\.gen"
    r"|^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
)
# Where a worker hears what it is asked; the other such queues are for answers.
_REMOTE = re.compile(r"^(?!.*\.reply\.).*\.pidbox$")


class Counts:
    """Our eyes at the broker, from `connect` to `close`; between the two they may be closed for a while.

    `consumers`: how many stood, when last looked, on the queue with the fewest of those that anybody consumes.
    `unclaimed`: how many messages waited, when last counted closely, where nobody consumes.
    """

    def __init__(self, place: Place, clock: Clock, cancel: Cancel, ledger: Ledger, signs: Signs) -> None:
        self.consumers: int | None = None
        self.unclaimed = 0
        self._place, self._now, self._cancel = place, clock.now, cancel
        self._ledger, self._signs = ledger, signs
        self._monitor: Eyes | None = None
        self._next = 0.0

    def connect(self) -> None:
        """Raises InfraError."""
        self._monitor = eyes(self._place.harness_url)

    def close(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def listen(self) -> bool:
        """Hear the workers' events, once there is an exchange for them: whether there is."""
        assert self._monitor is not None
        return self._monitor.listen(self._signs.event_exchange)

    # --- in each step

    def take_events(self) -> None:
        """Wait a moment for them."""
        if self._monitor is None:  # there is no broker at present
            self._cancel.wait(lambda: False, STEP)
            return
        for event in self._monitor.drain(STEP):
            self._signs.event(event)

    def take_counts(self) -> None:
        if self._monitor is not None and self._now() >= self._next:
            self.count()

    # --- counting

    def count(self, *, closely: bool = False) -> None:
        """`closely`: with the consumers of queues in which something waits."""
        began = self._now()  # what happened while the broker was counting may be missing from its answer
        queues = [queue for queue in self._place.queues() if not _INTERNAL.search(queue.name)]
        if closely and self._monitor is not None:
            standing = self._consumers([queue.name for queue in queues if queue.ready])
            queues = [replace(queue, consumers=standing.get(queue.name)) for queue in queues]
            self.unclaimed = sum(queue.ready for queue in queues if queue.consumers == 0)
        self._ledger.counted(began, queues)
        if self._monitor is not None and self._signs.judging:
            self.listen()  # again, after the broker was away
        self._next = self._now() + COUNT_EVERY

    def _consumers(self, names: list[str]) -> dict[str, int]:
        """How many stand on each of these queues, by the broker's word; else by the workers', of all or of none."""
        assert self._monitor is not None
        told = self._monitor.consumers(names)
        if told is None and self._signs.consumed is not None:
            return {name: self._signs.consumed.get(name, 0) for name in names}
        return told or {}

    def standing(self) -> list[int]:
        """How many consumers stand on each work queue. Nobody, where only workers could tell."""
        assert self._monitor is not None
        queues = [queue for queue in self._place.queues() if not queue.exclusive]
        names = [queue.name for queue in queues if not _INTERNAL.search(queue.name)]
        counts = (self._monitor.consumers(names) if names else None) or {}
        return [counts.get(name, 0) for name in names]

    def stand(self) -> bool:
        """Whether a consumer stands on every work queue there is, or on one of them and the worker says it is ready:
        a project may declare queues that its worker does not consume, such as one for dead letters. Of several workers
        one may stand before another has declared a queue at all."""
        if self._signs.foreign is not None:
            return True
        if not self._place.broker.tells_consumers:
            return self._listens()
        counts = self.standing()
        consumed = [count for count in counts if count]
        self.consumers = min(consumed, default=0)
        every = len(consumed) == len(counts) and (self._signs.workers == 1 or self._to_ask() >= self._signs.workers)
        if not consumed or not (self._signs.ready or every):
            return False
        return self.listen()

    def _listens(self) -> bool:
        """The same, where only the workers know what they consume: each says that it is ready, or can be asked."""
        assert self._monitor is not None
        return (self._signs.ready or self._monitor.listeners() >= self._signs.workers) and self.listen()

    def nobody_to_ask(self) -> bool:
        """Whether no worker has a queue for questions: its project switched remote control off."""
        return not self._to_ask()

    def _to_ask(self) -> int:
        """How many workers have a queue for questions, which comes after their consumer."""
        return sum(_REMOTE.search(queue.name) is not None for queue in self._place.queues())
