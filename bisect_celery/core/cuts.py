"""Where to cut a row of candidates, when a failing trial costs another time than a passing one.

A hang is seen by waiting for a deadline, so FAIL is usually the dear outcome, and the best first cut lies
well before the middle (research: at PASS 10 s and FAIL 60 s of 60 candidates at 13, 17 % less than
halving). The costs of the best plan satisfy a recurrence that is solved here outright.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

SOLVED = 128  # longer rows are cut in the proportions of this one


@lru_cache(maxsize=32)
def _plan(slots: int, pass_cost: float, fail_cost: float) -> tuple[int, ...]:
    """For each number of candidates up to SOLVED, the size of the segment that is cheap to end in.

    A round of `slots` nested cuts makes slots + 1 segments. The dear outcome is awaited in every case but
    one: the culprit in the last segment (every cut passes) when failing is dear, in the first when passing
    is. That segment gets a size of its own; the others share the rest evenly.
    """
    cheap, dear = sorted((pass_cost, fail_cost))
    worth, sizes = [0.0, 0.0], [0, 0]
    for total in range(2, SOLVED + 1):
        even = total / (slots + 1)
        price: dict[int, float] = {}
        for size in range(1, total):
            others = _share(total - size, slots)
            spread = sum(part * (dear + worth[part]) for part in others)
            price[size] = (size * (cheap + worth[size]) + spread) / total
        sizes.append(min(price, key=lambda size: (round(price[size], 9), abs(size - even))))
        worth.append(price[sizes[-1]])
    return tuple(sizes)


def _share(total: int, parts: int) -> list[int]:
    """`total` in at most `parts` nearly equal positive integers."""
    parts = min(parts, total)
    small, more = divmod(total, parts)
    return [small + 1] * more + [small] * (parts - more)


def fractions(total: int, slots: int, pass_cost: float, fail_cost: float) -> tuple[float, ...]:
    """Where to make at most `slots` cuts in a row of `total` candidates, as rising parts of the row in (0, 1).

    A cut at part x tries the first x of the row. `total` must be at least 2. Costs are in any one unit.
    """
    solved = min(total, SOLVED)
    cheap = _plan(slots, pass_cost, fail_cost)[solved]
    others = _share(solved - cheap, slots)
    segments = [cheap, *others] if pass_cost > fail_cost else [*others, cheap]
    ends, reached = [], 0
    for segment in segments[:-1]:
        reached += segment
        ends.append(reached / solved)
    return tuple(ends)


def place(parts: Sequence[float], weights: Sequence[float]) -> list[int]:
    """Turn parts of a row into cut positions 1..len(weights)-1 by the candidates' weights; all different."""
    whole, positions = sum(weights), list[int]()
    for part in parts:
        reached, position = 0.0, 0
        while position < len(weights) - 1 and reached + weights[position] / 2 < part * whole:
            reached += weights[position]
            position += 1
        positions.append(max(1, position))
    return sorted(set(positions))


def middles(known: Sequence[int], slots: int) -> list[int]:
    """Up to `slots` new points, each in the middle of the widest gap that the rising `known` points leave."""
    points, chosen = list(known), list[int]()
    while len(chosen) < slots:
        width, left = max((b - a, -a) for a, b in itertools.pairwise(points))
        if width < 2:
            break
        point = -left + width // 2
        chosen.append(point)
        points = sorted([*points, point])
    return sorted(chosen)
