"""What passes rule out, exactly; and likelihoods with unknown rates against integrals done another way."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core import rates
from bisect_celery.core.rates import Rates

BELIEVED = Rates()
STARTS = st.tuples(st.integers(0, 12), st.integers(0, 12))


def test_the_numbers_that_users_are_told() -> None:
    assert rates.starts_to_exclude(0.2, 0.95) == 14
    assert rates.starts_to_exclude(0.5, 0.95) == 5
    assert rates.bound_of_passes(2, 0.95) == pytest.approx(0.776, abs=0.001)
    assert rates.bound_of_passes(0) == 1.0
    assert rates.starts_to_exclude(1.0) == 1


@given(st.fractions(Fraction(1, 100), 1), st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(19, 20)]))
def test_so_many_starts_exclude_a_rate_and_one_fewer_does_not(rate: Fraction, confidence: Fraction) -> None:
    starts = rates.starts_to_exclude(float(rate), float(confidence))
    slack = Fraction(1, 10**12)
    assert (1 - rate) ** starts <= 1 - confidence + slack
    assert starts == 1 or (1 - rate) ** (starts - 1) > 1 - confidence - slack


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_the_bounds_are_those_of_the_binomial_distribution(counts: tuple[int, int], confidence: float) -> None:
    failed, starts = counts
    upper, lower = rates.upper_bound(failed, starts, confidence), rates.lower_bound(failed, starts, confidence)
    assert 0 <= lower <= failed / starts <= upper <= 1
    if failed < starts:
        few = sum(math.comb(starts, k) * upper**k * (1 - upper) ** (starts - k) for k in range(failed + 1))
        assert few == pytest.approx(1 - confidence, rel=1e-6)
    else:
        assert upper == 1
    if failed == 0:
        assert upper == pytest.approx(rates.bound_of_passes(starts, confidence))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1])
def test_what_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        rates.starts_to_exclude(rate)


@given(STARTS)
@settings(deadline=None)
def test_one_rate_alone_is_marginalised_as_beta_and_bernoulli_have_it(starts: tuple[int, int]) -> None:
    """Beta(1/2, 1/2): the closed form, to many digits."""
    failed, passed = starts
    like = BELIEVED.alone(starts)
    expected = _log_beta(failed + 0.5, passed + 0.5) - _log_beta(0.5, 0.5)
    assert like.log == pytest.approx(expected, abs=1e-9)
    assert like.bad == pytest.approx((failed + 0.5) / (failed + passed + 1))


@given(STARTS, STARTS, st.sampled_from([BELIEVED, Rates(0.0, (1.0, 2.0), 0.3, (2.0, 1.0), 1.0)]))
@settings(deadline=None, max_examples=10)
def test_two_rates_are_marginalised_over_all_pairs_where_the_good_one_is_lower(
    good: tuple[int, int], bad: tuple[int, int], believed: Rates
) -> None:
    """Against a plain midpoint sum over a grid three times as fine."""
    assert math.exp(believed.likelihood(good, bad).log) == pytest.approx(_fine(believed, good, bad), rel=0.05)


@given(STARTS, STARTS)
@settings(deadline=None)
def test_the_next_start_is_as_likely_to_fail_as_the_expected_rate_says(
    good: tuple[int, int], bad: tuple[int, int]
) -> None:
    now = BELIEVED.likelihood(good, bad)
    worse = BELIEVED.likelihood(good, (bad[0] + 1, bad[1]))
    assert math.exp(worse.log - now.log) == pytest.approx(now.bad)
    worse = BELIEVED.likelihood((good[0] + 1, good[1]), bad)
    assert math.exp(worse.log - now.log) == pytest.approx(now.good)
    assert now.good < now.bad


def test_thousands_of_starts_are_no_trouble_for_floats() -> None:
    like = BELIEVED.likelihood((200, 4000), (3000, 1000))
    assert like.log < -1000
    assert like.good == pytest.approx(0.05, abs=0.03)
    assert like.bad == pytest.approx(0.75, abs=0.03)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _fine(believed: Rates, good: tuple[int, int], bad: tuple[int, int]) -> float:
    """The marginal likelihood, by substitution x = sin² of 100 evenly spaced angles."""
    xs = [math.sin((k + 0.5) * math.pi / 200) ** 2 for k in range(100)]

    def spread(shape: tuple[float, float], whole: float) -> list[tuple[float, float]]:
        raw = [x ** (shape[0] - 0.5) * (1 - x) ** (shape[1] - 0.5) for x in xs]
        return [(x, whole * w / sum(raw)) for x, w in zip(xs, raw, strict=True)]

    def mean(goods: list[tuple[float, float]], apart: float) -> float:
        top = bottom = 0.0
        for f, w in goods:
            passes = f ** good[0] * (1 - f) ** good[1]
            for q, like, v in bads:
                if q > f:
                    weight = w * v * (q - f) ** apart
                    bottom += weight
                    top += weight * passes * like
        return top / bottom

    spread_bad = [*spread(believed.bad, 1 - believed.always), (1.0, believed.always)]
    bads = [(q, q ** bad[0] * (1 - q) ** bad[1], v) for q, v in spread_bad]
    noisy = mean(spread(believed.good, 1.0), believed.apart)
    return believed.never * mean([(0.0, 1.0)], 0.0) + (1 - believed.never) * noisy
