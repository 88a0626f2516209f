"""How long to wait before silence means something: learnt at the good end, bounded by the user's ceiling.

Nothing here reads a clock; all numbers are seconds. The rule (DESIGN 17): a trial is called stuck early only when it
has been quiet longer than a multiple of the good end's longest quiet *and* looks like the bad end; else the full
learnt deadline counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bisect_celery.model import Observation

# Before anything is learnt: generous, since only the ends pay for it.
FIRST_BOOT = 60.0
FIRST_QUIET = 30.0
# Multiples of the good end's own numbers, and floors that a busy second core cannot reach (measured: four
# boots at once take 1.5 times one; a noisy machine varies threefold).
BOOT_FACTOR, BOOT_FLOOR = 5.0, 15.0
QUIET_FACTOR, QUIET_FLOOR = 8.0, 6.0
QUICK_FACTOR, QUICK_FLOOR = 3.0, 2.0


@dataclass(frozen=True)
class Deadlines:
    """`boot`: until the worker's consumer stands; `quiet`: without any progress; `quick`: the same, for a trial
    that looks like the bad end (None: nothing is known of it yet); `total`: the whole watch after boot. None of them
    ever passes `ceiling`, the user's."""

    boot: float
    quiet: float
    total: float
    quick: float | None = None
    ceiling: float = math.inf

    def doubled(self) -> Deadlines:
        """For the stuck trial that becomes git's final bad: alone, at twice the deadline, nothing early."""
        boot, quiet, total = (min(self.ceiling, 2 * seconds) for seconds in (self.boot, self.quiet, self.total))
        return replace(self, boot=boot, quiet=quiet, total=total, quick=None)


def before(ceiling: float) -> Deadlines:
    """For the first trial of all, when nothing is known but the user's ceiling: a higher one lifts the others."""
    boot, quiet = max(FIRST_BOOT, ceiling / 2), max(FIRST_QUIET, ceiling / 4)
    return Deadlines(min(boot, ceiling), min(quiet, ceiling), ceiling, ceiling=ceiling)


def learnt(good: tuple[Observation, ...], ceiling: float) -> Deadlines:
    """From trials of the good end. Never above the ceiling; a missing number leaves its floor."""
    boot = max((seen.ready_at or 0.0 for seen in good), default=0.0)
    quiet = max((seen.quiet for seen in good), default=0.0)
    watched = max((seen.until - (seen.ready_at or 0.0) for seen in good), default=0.0)
    return Deadlines(
        boot=min(ceiling, max(BOOT_FLOOR, BOOT_FACTOR * boot)),
        quiet=min(ceiling, max(QUIET_FLOOR, QUIET_FACTOR * quiet)),
        total=min(ceiling, max(4 * QUIET_FLOOR, QUIET_FACTOR * watched)),
        ceiling=ceiling,
    )


def quickened(deadlines: Deadlines, good: tuple[Observation, ...]) -> Deadlines:
    """Once the bad end is known to hang: how soon a trial that looks like it may be called stuck."""
    quiet = max((seen.quiet for seen in good), default=0.0)
    return replace(deadlines, quick=min(deadlines.quiet, max(QUICK_FLOOR, QUICK_FACTOR * quiet)))
