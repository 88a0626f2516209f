"""Where a row of candidates is cut."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core import cuts


@cache
def best(total: int, pass_cost: float, fail_cost: float) -> float:
    """The cost of the best plan, one cut at a time, by plain search: summed over all culprits."""
    if total == 1:
        return 0.0
    return min(
        k * fail_cost + (total - k) * pass_cost + best(k, pass_cost, fail_cost) + best(total - k, pass_cost, fail_cost)
        for k in range(1, total)
    )


def planned(total: int, pass_cost: float, fail_cost: float) -> float:
    if total == 1:
        return 0.0
    (part,) = cuts.fractions(total, 1, pass_cost, fail_cost)
    (k,) = cuts.place((part,), [1.0] * total)
    here = k * fail_cost + (total - k) * pass_cost
    return here + planned(k, pass_cost, fail_cost) + planned(total - k, pass_cost, fail_cost)


@pytest.mark.parametrize(("pass_cost", "fail_cost"), [(1.0, 1.0), (10.0, 60.0), (5.0, 60.0), (60.0, 10.0)])
@pytest.mark.parametrize("total", [2, 3, 7, 13, 60, 100])
def test_single_cuts_are_the_best_there_are(total: int, pass_cost: float, fail_cost: float) -> None:
    assert planned(total, pass_cost, fail_cost) == pytest.approx(best(total, pass_cost, fail_cost))


@pytest.mark.parametrize(("pass_cost", "saving"), [(10.0, 0.17), (5.0, 0.28)])
def test_what_is_saved_over_halving(pass_cost: float, saving: float) -> None:
    """The numbers of research/delta-debugging.md, found there by another program."""

    def halving(total: int) -> float:
        if total == 1:
            return 0.0
        k = total // 2
        return k * 60 + (total - k) * pass_cost + halving(k) + halving(total - k)

    assert 1 - planned(60, pass_cost, 60.0) / halving(60) == pytest.approx(saving, abs=0.02)


@settings(deadline=None)
@given(st.integers(2, 600), st.integers(1, 8), st.sampled_from([1.0, 2.0, 9.0]), st.sampled_from([1.0, 2.0, 9.0]))
def test_cuts_are_inside_and_different(total: int, slots: int, pass_cost: float, fail_cost: float) -> None:
    parts = cuts.fractions(total, slots, pass_cost, fail_cost)
    places = cuts.place(parts, [1.0] * total)
    assert 1 <= len(places) <= slots
    assert places == sorted(set(places))
    assert all(1 <= place < total for place in places)


@given(st.sets(st.integers(0, 60), min_size=2), st.integers(1, 6))
def test_middles_are_new_and_inside(known: set[int], slots: int) -> None:
    points = sorted(known)
    new = cuts.middles(points, slots)
    assert len(new) <= slots
    assert not known & set(new)
    assert all(points[0] < point < points[-1] for point in new)
    free = points[-1] - points[0] + 1 - len(points)
    assert len(new) == min(slots, free)
