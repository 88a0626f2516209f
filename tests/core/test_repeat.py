"""How often an intermittent question is asked: against what Wald's test must keep, and against luck itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core.repeat import ALPHA, Noise, Starts, about
from bisect_celery.model import Verdict

small = st.integers(0, 30)


def noise(good: tuple[int, int], bad: tuple[int, int]) -> Noise:
    return Noise(Starts(*good), Starts(*bad))


def test_starts_are_counted_by_what_they_showed() -> None:
    seen = Starts.of([Verdict.BAD, Verdict.GOOD, Verdict.SKIP, Verdict.GOOD])
    assert seen == Starts(1, 2, 1)
    assert seen.tried == 3
    assert seen + Starts(2, 0, 1) == Starts(3, 2, 2)


def test_one_failure_is_proof_where_the_good_side_never_failed_and_not_where_it_did() -> None:
    assert noise((0, 18), (9, 9)).answer(Starts(1, 30)) is True
    assert noise((1, 17), (9, 9)).answer(Starts(1, 0)) is None
    assert noise((1, 17), (9, 9)).answer(Starts(8, 5)) is True
    assert noise((1, 17), (9, 9)).answer(Starts(1, 30)) is False


@pytest.mark.parametrize(
    ("bad", "least", "most"),
    [((20, 0), 1, 2), ((10, 10), 7, 10), ((6, 24), 21, 32), ((1, 4), 25, 120)],
)
def test_a_rarer_failure_takes_more_passes_to_rule_out(bad: tuple[int, int], least: int, most: int) -> None:
    """With the rate known it were log(alpha) / log(1 - rate): 7 for a half, 21 for a fifth."""
    needed = noise((0, 18), bad).passes_needed()
    assert least <= needed <= most
    assert noise((0, 18), bad).answer(Starts(0, needed)) is False
    assert noise((0, 18), bad).answer(Starts(0, needed - 1)) is None


@settings(max_examples=60, deadline=None)
@given(small, st.integers(1, 30), st.integers(0, 30), st.integers(0, 8), st.integers(0, 8))
def test_a_failure_never_speaks_for_the_good_side_nor_a_pass_for_the_bad(
    passed: int, failed_bad: int, passed_bad: int, failed: int, ok: int
) -> None:
    known = noise((0, passed), (failed_bad, passed_bad))
    here = known.odds(Starts(failed, ok))
    assert known.odds(Starts(failed + 1, ok)) >= here - 1e-9
    assert known.odds(Starts(failed, ok + 1)) <= here + 1e-9


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_wrong_answers_are_as_rare_as_was_asked_for(rate: float) -> None:
    """Questions drawn at rates that are only known from starts that were drawn at them too."""
    rng = random.Random(rate)
    wrong = {True: 0, False: 0}
    rounds = 400
    for number in range(rounds):
        truth = number % 2 == 0
        failures = sum(rng.random() < rate for _ in range(30))
        known = noise((0, 20), (max(1, failures), 30 - max(1, failures)))
        seen = Starts()
        while (answer := known.answer(seen)) is None:
            seen += Starts(1, 0) if truth and rng.random() < rate else Starts(0, 1)
        wrong[truth] += answer is not truth
    assert wrong[False] == 0, "what never fails is never said to"
    assert wrong[True] <= 3 * ALPHA * rounds / 2


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1.0, "nearly every time"), (0.5, "about half the time"), (0.2, "about 1 start in 5"),
        (0.67, "about 2 of 3 starts"), (0.05, "about 1 start in 20"), (0.0, "never"),
    ],
)  # fmt: skip
def test_a_rate_is_said_as_people_say_it(rate: float, words: str) -> None:
    assert about(rate) == words
