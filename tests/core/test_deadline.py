"""Deadlines: never above the user's ceiling, never below what a busy machine needs, longer for slower projects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core import deadline
from bisect_celery.core.deadline import Deadlines
from bisect_celery.model import Observation

CEILINGS = st.floats(1, 3600)
TIMES = st.floats(0, 600)


@st.composite
def good_ends(draw: st.DrawFn) -> Observation:
    ready = draw(TIMES)
    watched = draw(TIMES)
    quiet = draw(st.floats(0, 1)) * watched
    return Observation(until=ready + watched, ready_at=ready, quiet=quiet)


GOOD = st.lists(good_ends(), min_size=1, max_size=3).map(tuple)


@given(CEILINGS)
def test_before_anything_is_learnt_only_the_ceiling_bounds(ceiling: float) -> None:
    first = deadline.before(ceiling)
    assert 0 < first.boot <= ceiling
    assert 0 < first.quiet <= ceiling
    assert first.total == ceiling
    assert first.quick is None


@given(GOOD, CEILINGS)
def test_what_is_learnt_stays_below_the_ceiling_and_above_the_good_end(
    good: tuple[Observation, ...], ceiling: float
) -> None:
    learnt = deadline.learnt(good, ceiling)
    assert max(learnt.boot, learnt.quiet, learnt.total) <= ceiling
    for seen in good:
        assert learnt.boot >= min(ceiling, 2 * (seen.ready_at or 0.0), 2 * seen.until)
        assert learnt.quiet >= min(ceiling, 2 * seen.quiet)
        assert learnt.total >= min(ceiling, 2 * (seen.until - (seen.ready_at or 0.0)))
    assert learnt.boot >= min(ceiling, deadline.BOOT_FLOOR)
    assert learnt.quiet >= min(ceiling, deadline.QUIET_FLOOR)


@given(GOOD, good_ends(), CEILINGS)
def test_more_trials_of_the_good_end_only_lengthen(
    good: tuple[Observation, ...], more: Observation, ceiling: float
) -> None:
    fewer, all_ = deadline.learnt(good, ceiling), deadline.learnt((*good, more), ceiling)
    assert all_.boot >= fewer.boot
    assert all_.quiet >= fewer.quiet
    assert all_.total >= fewer.total


@given(GOOD, CEILINGS)
def test_the_quick_deadline_is_longer_than_the_good_ends_silence_and_never_the_longest(
    good: tuple[Observation, ...], ceiling: float
) -> None:
    learnt = deadline.learnt(good, ceiling)
    quickened = deadline.quickened(learnt, good)
    assert quickened.quick is not None
    assert quickened.quick <= quickened.quiet == learnt.quiet
    for seen in good:
        assert quickened.quick >= min(learnt.quiet, 2 * seen.quiet, deadline.QUICK_FLOOR)
        assert quickened.quick >= min(learnt.quiet, 2 * seen.quiet)


def test_a_good_end_without_numbers_leaves_the_floors() -> None:
    for good in ((), (Observation(until=0.0),)):
        learnt = deadline.learnt(good, 120.0)
        assert (learnt.boot, learnt.quiet) == (deadline.BOOT_FLOOR, deadline.QUIET_FLOOR)
        assert deadline.quickened(learnt, good).quick == deadline.QUICK_FLOOR


@given(GOOD, CEILINGS)
def test_twice_the_deadline_never_passes_the_ceiling(good: tuple[Observation, ...], ceiling: float) -> None:
    for learnt in (deadline.before(ceiling), deadline.learnt(good, ceiling)):
        doubled = learnt.doubled().doubled()
        assert max(doubled.boot, doubled.quiet, doubled.total) <= ceiling
        assert doubled.boot == min(ceiling, 4 * learnt.boot)


@given(st.builds(Deadlines, CEILINGS, CEILINGS, CEILINGS, st.none() | CEILINGS))
def test_twice_the_deadline_believes_no_early_sign(deadlines: Deadlines) -> None:
    doubled = deadlines.doubled()
    assert (doubled.boot, doubled.quiet, doubled.total) == (
        2 * deadlines.boot,
        2 * deadlines.quiet,
        2 * deadlines.total,
    )
    assert doubled.quick is None
