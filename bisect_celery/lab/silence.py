"""Whether silence may be believed: after the learnt deadline, or sooner where the picture is already the bad end's."""

from __future__ import annotations

from collections.abc import Callable

from bisect_celery.core.deadline import Deadlines
from bisect_celery.lab.looks import Work
from bisect_celery.lab.worker import Worker
from bisect_celery.model import Dump, Observation

Looks = Callable[[Observation], bool]


class Silence:
    """`dumps` are those on which silence was believed early."""

    def __init__(
        self, deadlines: Deadlines, work: Work, worker: Worker, looks_bad: Looks,
        look: Callable[[], bool], picture: Callable[[tuple[Dump, ...]], Observation],
    ) -> None:  # fmt: skip
        """`look` asks for all that only asking tells, now and then: whether it was now; `picture` is what is seen up
        to now, with such dumps."""
        self.dumps: tuple[Dump, ...] = ()
        self._deadlines, self._work, self._worker = deadlines, work, worker
        self._looks_bad, self._look, self._picture = looks_bad, look, picture

    def believed(self) -> bool:
        if not self._work.known():
            return False
        quiet, quick = self._work.quiet_for(), self._deadlines.quick
        if quiet > self._deadlines.quiet:
            return True
        if quick is None or quiet <= quick or not self._look() or not self._looks_bad(self._picture(())):
            return False
        # What looks like the bad end and waits elsewhere is not it: it may only be slow.
        dumps = self._worker.dump()
        if self._looks_bad(self._picture(dumps)):
            self.dumps = dumps
            return True
        return False
