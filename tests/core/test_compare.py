"""Worse, same, or more starts: known p-values, every small case against all permutations, and what a verdict needs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core.compare import (
    GOOD_STARTS,
    MOST_STARTS,
    Zone,
    compare,
    kolmogorov_smirnov,
    mann_whitney,
    percentile,
)

Values = list[float]
FEW = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=4)
SAMPLES = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


# --- p-values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("higher", "lower", "p"),
    [
        ([5.0, 6.0, 7.0, 3.5], [1.0, 3.0, 4.0], 0.057),  # the paper's own table: n=4, m=3, U=1
        ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], 1 / 20),
        ([9.0] * 5, [1.0] * 5, 1 / 252),
        ([1.0], [1.0], 1.0),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
    ],
)
def test_known_values_of_mann_and_whitney(higher: Values, lower: Values, p: float) -> None:
    assert mann_whitney(higher, lower) == pytest.approx(p, rel=0.01)


@pytest.mark.parametrize(
    ("higher", "lower", "p"),
    [
        ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], 1 / 20),
        # of as many on both sides: C(2n, n - k) / C(2n, n) for a lead of k / n (Gnedenko and Korolyuk 1951)
        ([4.0, 5.0, 6.0, 7.0, 8.0], [0.0, 1.0, 2.0, 3.0, 9.0], 10 / 252),
        ([1.0, 3.0, 5.0, 7.0], [0.0, 2.0, 4.0, 6.0], 56 / 70),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
    ],
)
def test_known_values_of_kolmogorov_and_smirnov(higher: Values, lower: Values, p: float) -> None:
    assert kolmogorov_smirnov(higher, lower) == pytest.approx(p)


Statistic = Callable[[Sequence[float], Sequence[float]], float]


def wins(higher: Sequence[float], lower: Sequence[float]) -> float:
    return sum((a > b) + (a == b) / 2 for a in higher for b in lower)


def lead(higher: Sequence[float], lower: Sequence[float]) -> float:
    shares = [
        sum(b <= x for b in lower) * len(higher) - sum(a <= x for a in higher) * len(lower) for x in (*higher, *lower)
    ]
    return max(0, *shares)


def by_all_permutations(statistic: Statistic, higher: Values, lower: Values) -> float:
    pooled = higher + lower
    seen = statistic(higher, lower)
    reached = 0
    for chosen in itertools.combinations(range(len(pooled)), len(higher)):
        rest = [pooled[index] for index in range(len(pooled)) if index not in chosen]
        reached += statistic([pooled[index] for index in chosen], rest) >= seen
    return reached / math.comb(len(pooled), len(higher))


@given(FEW, FEW)
def test_both_are_exact_with_ties(higher: Values, lower: Values) -> None:
    assert mann_whitney(higher, lower) == pytest.approx(by_all_permutations(wins, higher, lower))
    assert kolmogorov_smirnov(higher, lower) == pytest.approx(by_all_permutations(lead, higher, lower))


# --- zones -------------------------------------------------------------------------------------------

GOOD = [1.0, 1.02, 0.97, 1.1, 0.99, 1.05, 1.01, 0.95]


def zone(now: Values, good: Values = GOOD, effect: float = 0.25, least: float = 0.0) -> Zone:
    return compare(now, good, effect=effect, least=least).zone


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([2.0, 2.1, 1.9], Zone.WORSE),
        ([1.0, 1.03, 0.98], Zone.SAME),
        ([0.3, 0.3, 0.3], Zone.SAME),
        ([2.0, 2.1], Zone.MORE),
        ([1.0, 1.0], Zone.MORE),
        ([1.2, 1.2, 1.2], Zone.MORE),  # higher for certain, and by less than what was asked for
        ([1.3, 1.0, 1.6], Zone.MORE),
    ],
)
def test_zones(now: Values, expected: Zone) -> None:
    assert zone(now) is expected
    assert zone([10 * value for value in now], [10 * value for value in GOOD]) is expected


def test_what_is_below_the_resolution_is_no_difference() -> None:
    assert zone([0.020, 0.021, 0.022], [0.010] * 8) is Zone.WORSE
    assert zone([0.020, 0.021, 0.022], [0.010] * 8, least=0.05) is Zone.SAME


def test_nothing_cannot_be_compared() -> None:
    for now, good in (([], [1.0]), ([1.0], []), ([], [])):
        with pytest.raises(ValueError, match="nothing to compare"):
            compare(now, good, effect=0.25)


@given(SAMPLES, SAMPLES, st.floats(0.05, 1))
def test_never_both_and_never_by_one_start(now: Values, good: Values, effect: float) -> None:
    found = compare(now, good, effect=effect)
    fewest = 1 / math.comb(len(now) + len(good), len(now))
    assert found.zone is Zone.MORE or fewest <= 0.01
    if found.zone is Zone.WORSE:
        assert found.now > found.good
        assert zone([value * 10 for value in now], good, effect) is Zone.WORSE
    if found.zone is Zone.SAME:
        assert zone([value / 10 for value in now], good, effect) is Zone.SAME


def until_decided(good: Values, start: Callable[[], float]) -> Zone:
    now = [start()]
    while (found := zone(now, good)) is Zone.MORE and len(now) < MOST_STARTS:
        now.append(start())
    return found


def test_healthy_trees_are_seldom_called_worse_and_slow_ones_seldom_the_same() -> None:
    """Noise of 10 % from start to start; looked at after every start, as trials are."""
    chance = random.Random(17)

    def rate(times: float, wanted: Zone) -> float:
        found = []
        for _ in range(200):
            good = [chance.lognormvariate(0, 0.1) for _ in range(GOOD_STARTS)]
            found.append(until_decided(good, lambda: times * chance.lognormvariate(0, 0.1)))
        return found.count(wanted) / len(found)

    assert rate(1.0, Zone.WORSE) == 0
    assert rate(1.0, Zone.SAME) > 0.9
    assert rate(1.6, Zone.SAME) == 0
    assert rate(1.6, Zone.WORSE) > 0.9


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(value) for value in range(1, 21)]) == 19.0
    assert percentile([5.0]) == 5.0
