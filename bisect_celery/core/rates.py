"""How often a start fails: what is believed before, what a number of starts says of it, and what it rules out.

A *rate* is the chance that one start of a worker shows the failure. The unit is the start and not the probe: probes
of one start share its processes, its connections and its race, so twenty probes of one start are one draw. Nothing is
lost by it where they are independent after all: then more probes make each start fail more often, which is a higher
rate, and a higher rate is found with fewer starts. It follows that starts may be compared only when they sent equally
many probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import mul
from typing import NamedTuple

# How many rates strictly between 0 and 1 are thought of. They lie where Gauss and Chebyshev put them, so that the sum
# over them is the integral over a Beta(1/2, 1/2), to the last digit, for any number of starts below twice as many.
NODES = 32


class Likelihood(NamedTuple):
    """Of a number of starts: its natural logarithm, and the rates that are to be expected after them."""

    log: float
    good: float
    bad: float


@dataclass(frozen=True)
class Rates:
    """What is believed of the two rates before any start: each a Beta distribution with an atom, the good one lower.

    Most Celery failures are no noise at one of the ends: the good end never fails (`never`: the probability of a good
    rate of 0), and a bug that is no race fails always (`always`: that of a bad rate of 1). The rest of either
    probability is spread by Beta(a, b). Where good ends fail too, a pair of rates is weighted by their difference to
    the power of `apart`: somebody saw that one end is worse than the other, so rates that hardly differ are unlikely,
    and a good rate at or above the bad one is impossible. Without the atoms a contrary start would be taken for noise,
    and the search would ask everything twice; without the spread it would never doubt anything.
    """

    never: float = 0.3
    good: tuple[float, float] = (0.5, 1.0)
    always: float = 0.1
    bad: tuple[float, float] = (0.5, 0.5)
    apart: float = 3.0

    def likelihood(self, good: tuple[int, int], bad: tuple[int, int]) -> Likelihood:
        """Of (failed, passed) starts without the culprit's change, and of those with it."""
        return self._tables.two(*good, *bad)

    def alone(self, starts: tuple[int, int]) -> Likelihood:
        """Of (failed, passed) starts that all have one and the same rate, spread as the bad one is."""
        return self._tables.one(*starts)

    @cached_property
    def _tables(self) -> _Tables:
        return _Tables(self)


class _Tables:
    """The nodes of a `Rates`, and what was computed from them: a search asks for the same likelihoods over and over."""

    def __init__(self, rates: Rates) -> None:
        nodes = [math.sin((k + 0.5) * math.pi / (2 * NODES)) ** 2 for k in range(NODES)]
        self._nodes = [0.0, *nodes, 1.0]
        self._logs = [(_log(rate), _log(1 - rate)) for rate in self._nodes]
        self._good = [rates.never, *_spread(rates.good, nodes, 1 - rates.never), 0.0]
        self._bad = [0.0, *_spread(rates.bad, nodes, 1 - rates.always), rates.always]
        self._one = [0.0, *_spread(rates.bad, nodes, 1.0), 0.0]
        self._above = [
            [(bad - good) ** rates.apart if good else 1.0 for bad in self._nodes[k + 1 :]]
            for k, good in enumerate(self._nodes)
        ]
        weights = list(map(mul, self._good, self._summed_above(self._bad)))
        noisy = (1 - rates.never) / sum(weights[1:]) if rates.never < 1 else 0.0
        self._good = [rates.never, *(weight * noisy for weight in self._good[1:])]
        self.two = lru_cache(maxsize=1 << 18)(self._two)
        self.one = lru_cache(maxsize=1 << 12)(self._alone)
        self._powers = lru_cache(maxsize=1 << 12)(self._raised)
        self._tails = lru_cache(maxsize=1 << 12)(self._summed)

    def _two(self, good_failed: int, good_passed: int, bad_failed: int, bad_passed: int) -> Likelihood:
        scale, powers, moments = self._powers(good_failed, good_passed)
        tail_scale, tails, tail_moments = self._tails(bad_failed, bad_passed)
        total = sum(map(mul, powers, tails))
        if total <= 0.0:  # impossible, or the good rate would have to be the higher one by more than a float can say
            return Likelihood(-math.inf, 0.0, 1.0)
        log = math.log(total) + scale + tail_scale
        return Likelihood(log, sum(map(mul, moments, tails)) / total, sum(map(mul, powers, tail_moments)) / total)

    def _alone(self, failed: int, passed: int) -> Likelihood:
        scale, powers = self._raised_to(failed, passed, self._one)
        total = sum(powers)
        rate = sum(map(mul, powers, self._nodes)) / total
        return Likelihood(math.log(total) + scale, rate, rate)

    def _raised(self, failed: int, passed: int) -> tuple[float, list[float], list[float]]:
        """Per good rate: its prior times the likelihood of its starts, and that times the rate."""
        scale, powers = self._raised_to(failed, passed, self._good)
        return scale, powers, list(map(mul, powers, self._nodes))

    def _summed(self, failed: int, passed: int) -> tuple[float, list[float], list[float]]:
        """Per good rate, the same of the bad rates above it, summed."""
        scale, powers = self._raised_to(failed, passed, self._bad)
        return scale, self._summed_above(powers), self._summed_above(list(map(mul, powers, self._nodes)))

    def _summed_above(self, values: list[float]) -> list[float]:
        """Per good rate, the sum of the values of the bad rates above it, weighted by how far above."""
        return [sum(map(mul, weights, values[k + 1 :])) for k, weights in enumerate(self._above)]

    def _raised_to(self, failed: int, passed: int, prior: list[float]) -> tuple[float, list[float]]:
        """The products are given as multiples of e to a common power: 1,000 starts have no likelihood a float holds."""
        logs = [
            (failed * fails if failed else 0.0) + (passed * passes if passed else 0.0) for fails, passes in self._logs
        ]
        scale = max(log for log, weight in zip(logs, prior, strict=True) if weight)
        if scale == -math.inf:  # impossible, at every rate that was thought possible
            return 0.0, [0.0] * len(logs)
        return scale, [
            math.exp(log - scale) * weight if weight else 0.0 for log, weight in zip(logs, prior, strict=True)
        ]


def _log(rate: float) -> float:
    return math.log(rate) if rate > 0 else -math.inf


def _spread(shape: tuple[float, float], nodes: list[float], whole: float) -> list[float]:
    """`whole`, spread over the nodes by Beta(a, b): the nodes' own density is that of Beta(1/2, 1/2)."""
    weights = [math.exp((shape[0] - 0.5) * math.log(x) + (shape[1] - 0.5) * math.log1p(-x)) for x in nodes]
    scale = whole / math.fsum(weights)
    return [weight * scale for weight in weights]


def starts_to_exclude(rate: float, confidence: float = 0.95) -> int:
    """How many starts must all pass until a failure rate of `rate` or more is excluded: (1 - rate)^n <= 1 - confidence.

    20 % at 95 % takes 14. Raises ValueError outside 0 < rate <= 1, 0 < confidence < 1.
    """
    _check(confidence)
    if not 0 < rate <= 1:
        raise ValueError(f"a rate between 0 and 1, not {rate}")
    if rate == 1:
        return 1
    starts = max(1, math.ceil(math.log(1 - confidence) / math.log1p(-rate)))
    # The quotient of two logarithms may miss a whole number by a rounding error, on either side.
    while starts > 1 and bound_of_passes(starts - 1, confidence) <= rate:
        starts -= 1
    while bound_of_passes(starts, confidence) > rate:
        starts += 1
    return starts


def bound_of_passes(passed: int, confidence: float = 0.95) -> float:
    """The exact upper bound of the failure rate after `passed` starts and no failure: 1 - (1 - confidence)^(1/n).

    Two passes leave 0.78 (DESIGN 26). No start leaves 1.
    """
    _check(confidence)
    return 1.0 if passed <= 0 else -math.expm1(math.log(1 - confidence) / passed)


def upper_bound(failed: int, starts: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's exact one-sided upper bound of the failure rate: the rate at which so few failures, or
    fewer, have the probability 1 - confidence. Raises ValueError unless 0 <= failed <= starts."""
    _check(confidence)
    if not 0 <= failed <= starts:
        raise ValueError(f"{failed} failures in {starts} starts")
    if failed == 0:
        return bound_of_passes(starts, confidence)
    if failed == starts:
        return 1.0
    low, high = failed / starts, 1.0
    for _ in range(60):  # bisection of a falling function, to the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(failed, starts, middle) > 1 - confidence else (low, middle)
    return high


def lower_bound(failed: int, starts: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's exact one-sided lower bound of the failure rate."""
    return 1 - upper_bound(starts - failed, starts, confidence)


def _at_most(failed: int, starts: int, rate: float) -> float:
    """The probability of at most `failed` failures in `starts` starts."""
    return math.fsum(math.comb(starts, k) * rate**k * (1 - rate) ** (starts - k) for k in range(failed + 1))


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence between 0 and 1, not {confidence}")
