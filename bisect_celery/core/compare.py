"""Is it worse than at the good end? Three answers: worse, same, more starts are needed. Pure; samples in, answer out.

One sample is **one start** of a worker (the 95th percentile of its tasks' latencies; the peak of its pool processes'
memory), not one task. Tasks of one start share a machine, a moment, caches and a queue: treated as independent, twenty
of them from one bad moment would prove anything (twenty correlated probes are worth 20 / (1 + 19 ρ) independent ones;
for latency ρ is near one). So a verdict costs starts: with eight of the good end, three of a tree can decide.

*Worse* follows Pinpoint (Chromium's bisection of performance, `pinpoint/models/compare`): the smaller p-value of
Kolmogorov-Smirnov and Mann-Whitney is at most 0.01. Both are exact permutation tests, ties included, and one-sided,
since only worse is what is looked for; and the medians must differ by the effect that was asked for, since with enough
starts anything is significant. *Same* is not "not significant": few starts would make everything good. It takes the
opposite proof, a test for non-inferiority: Mann-Whitney says (p at most 0.01) that the tree is below the good end made
worse by the effect. That takes the place of Pinpoint's threshold p > high(n), which stands on simulations of its own
data.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SIGNIFICANT = 0.01
# As many starts of the good end, and at most so many of any other tree.
GOOD_STARTS = 8
MOST_STARTS = 10


class Zone(enum.StrEnum):
    WORSE = "worse"
    SAME = "same"
    MORE = "more"


@dataclass(frozen=True)
class Compared:
    """The answer, with the medians of both sides and the p-value that decided, or came nearest to it."""

    zone: Zone
    good: float
    now: float
    p: float


def compare(now: Sequence[float], good: Sequence[float], *, effect: float, least: float = 0.0) -> Compared:
    """Samples of a tree against the good end's; more is worse.

    `effect`: the share (0.25 is a quarter) by which the median must be higher to count; `least`: the least difference
    in the samples' own unit, below which nothing is told apart. Raises ValueError when a side is empty.
    """
    if not now or not good:
        raise ValueError("nothing to compare")
    return _compared(tuple(sorted(now)), tuple(sorted(good)), effect, least)


@lru_cache(maxsize=1 << 12)
def _compared(now: tuple[float, ...], good: tuple[float, ...], effect: float, least: float) -> Compared:
    """Sorted, since their order says nothing; kept, since trials are judged again and again as more is known."""
    usual, found = statistics.median(good), statistics.median(now)
    margin = max(effect * usual, least)
    worse = min(mann_whitney(now, good), kolmogorov_smirnov(now, good))
    if worse <= SIGNIFICANT and found - usual >= margin:
        return Compared(Zone.WORSE, usual, found, worse)
    limit = [value + max(effect * value, least) for value in good]
    same = mann_whitney([-value for value in now], [-value for value in limit])
    if same <= SIGNIFICANT:
        return Compared(Zone.SAME, usual, found, same)
    return Compared(Zone.MORE, usual, found, min(worse, same))


def percentile(values: Sequence[float], share: float = 0.95) -> float:
    """The nearest-rank percentile: the smallest value that at least this share of all are not above."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


# --- tests -------------------------------------------------------------------------------------------


def mann_whitney(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The exact one-sided p-value that `higher` is not above `lower` (Mann and Whitney 1947), with midranks for ties.

    Counts, over all ways to choose which of the pooled values are `higher`, those whose ranks sum to as much.
    """
    ranks = _doubled_ranks([*higher, *lower])
    seen = sum(ranks[: len(higher)])
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in higher)]
    for rank in ranks:
        for size in range(len(higher), 0, -1):
            for total, count in ways[size - 1].items():
                ways[size][total + rank] = ways[size].get(total + rank, 0) + count
    reached = sum(count for total, count in ways[len(higher)].items() if total >= seen)
    return reached / math.comb(len(ranks), len(higher))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the midrank of each value, so that ranks of ties stay whole."""
    ranked = sorted(values)
    first = {value: index for index, value in reversed(list(enumerate(ranked)))}
    last = {value: index for index, value in enumerate(ranked)}
    return [first[value] + last[value] + 2 for value in values]


def kolmogorov_smirnov(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The exact one-sided p-value of the largest lead of `lower`'s distribution function over `higher`'s.

    Counts the ways through the pooled values, in order, on which the lead stays smaller (Hodges 1957); where values are
    tied the lead is looked at after all of them.
    """
    pooled = sorted([(value, False) for value in lower] + [(value, True) for value in higher])
    ends = {
        index for index, (value, _) in enumerate(pooled) if index + 1 == len(pooled) or pooled[index + 1][0] != value
    }
    n, m = len(higher), len(lower)
    seen, taken = 0, 0
    for index, (_, is_higher) in enumerate(pooled):
        taken += is_higher
        if index in ends:
            seen = max(seen, _lead(index + 1, taken, n, m))
    if seen <= 0:
        return 1.0
    ways = {0: 1}
    for index in range(n + m):
        after: dict[int, int] = {}
        for chosen, count in ways.items():
            for step in (chosen, chosen + 1):
                if step <= n and index + 1 - step <= m:
                    after[step] = after.get(step, 0) + count
        smaller = index not in ends
        ways = {chosen: count for chosen, count in after.items() if smaller or _lead(index + 1, chosen, n, m) < seen}
    return 1 - sum(ways.values()) / math.comb(n + m, n)


def _lead(passed: int, higher: int, n: int, m: int) -> int:
    """How far `lower`'s share is ahead after `passed` values of which so many are `higher`, times n times m."""
    return (passed - higher) * n - higher * m
