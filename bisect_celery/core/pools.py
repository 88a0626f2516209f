"""Where a worker runs its tasks, told by the name of its pool. Pure.

The name is what the worker says of itself (`celery.concurrency.gevent:TaskPool`), of old ones what the start line says
(`gevent`); several workers with different pools give all their names. Of a pool that is not known here nothing holds.
"""

from __future__ import annotations

import re

# So many tasks at once are taken for a pool whose slots are no processes and no threads: greenlets are made anew for
# each task, so that there is no slot to prove one by one, and the worker itself says which tasks hold one. Celery 5.7
# takes ten messages a second there (measured), and a thousand slots would mean five thousand probes.
GREEN_SLOTS = 4


def apart(pool: str | None) -> bool:
    """Whether tasks run in processes of their own, so that none of them can hold up the main process."""
    return _all(pool, "prefork", "processes")


def inline(pool: str | None) -> bool:
    """Whether the main process runs the tasks itself, one at a time: a task that hangs is a main process that hangs."""
    return _all(pool, "solo")


def green(pool: str | None) -> bool:
    """Whether tasks run in greenlets of the main process."""
    return _all(pool, "gevent", "eventlet")


def slots(concurrency: int, pool: str | None) -> int:
    """How many slots there are to prove."""
    return min(concurrency, GREEN_SLOTS) if green(pool) else concurrency


def _all(pool: str | None, *names: str) -> bool:
    pools = (pool or "").split()
    return bool(pools) and all(set(names) & set(re.split(r"[.:]", one)) for one in pools)
