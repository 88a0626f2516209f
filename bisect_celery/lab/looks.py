"""Looks at the worker's processes from outside, now and then: the memory they took, and whether they compute."""

from __future__ import annotations

from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.loop import Clock
from bisect_celery.lab.signs import Signs
from bisect_celery.lab.worker import Worker

MEMORY_EVERY = 0.3
# Who has been silent for so long is looked at whether it computes.
WORK_AFTER, WORK_EVERY = 0.5, 0.5


class Memory:
    """Peaks of pool processes' resident memory (KiB), where `asked`. Of one that was replaced stays what was last
    seen."""

    def __init__(self, worker: Worker, clock: Clock, signs: Signs, asked: bool) -> None:
        self._worker, self._now, self._signs, self._asked = worker, clock.now, signs, asked
        self._peaks: dict[tuple[int, int], int] = {}
        self._next = 0.0

    def peaks(self) -> tuple[int, ...]:
        return tuple(self._peaks.values())

    def take(self) -> None:
        """In each step."""
        if self._asked and self._signs.judging and self._now() >= self._next:
            self.look(at_end=False)

    def look(self, *, at_end: bool) -> None:
        if self._asked:
            for process, peak in self._worker.memory(at_end=at_end).items():
                self._peaks[process] = max(peak, self._peaks.get(process, 0))
        self._next = self._now() + MEMORY_EVERY


class Work:
    """Silence means nothing while somebody computes: a hang waits. One that computes for ever lasts to the end."""

    def __init__(self, worker: Worker, clock: Clock, ledger: Ledger, signs: Signs) -> None:
        self._worker, self._now = worker, clock.now
        self._ledger, self._signs = ledger, signs
        self._used: tuple[float, float | None] = (0.0, None)
        self._worked_at = self._compared_at = 0.0

    def take(self) -> None:
        """In each step."""
        now = self._now()
        if self._signs.judging and self._ledger.quiet_for(now) > WORK_AFTER and now >= self._used[0] + WORK_EVERY:
            self._look()

    def _look(self) -> None:
        at, before = self._used
        if not self._worker.started():
            return
        used, now = self._worker.worked(), self._now
        if used is not None and before is not None and used - before > self._worker.idle() * (now() - at):
            self._worked_at = now()
        if used is None or before is not None:
            self._compared_at = now()
        self._used = (now(), used)

    def begin_anew(self) -> None:
        """What was used up to now was not the tasks': the worker was asked, and answered."""
        if self._signs.judging and self._worker.started():
            self._used = (self._now(), self._worker.worked())

    def known(self) -> bool:
        """Whether it is known, since the last sign of progress, if anybody computes."""
        return self._compared_at >= self._ledger.last_progress

    def quiet_for(self) -> float:
        """Seconds without a sign and without work."""
        now = self._now()
        return min(self._ledger.quiet_for(now), now - self._worked_at)
