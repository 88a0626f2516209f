"""How often a start fails: what is believed before, what a number of starts says of it, and what it rules out.

A *rate* is the chance that one start of a worker shows the failure. The unit is the start and not the probe: probes
of one start share its processes, its connections and its race, so twenty probes of one start are one draw. Nothing is
lost by it where they are independent after all: then more probes make each start fail more often, which is a higher
rate, and a higher rate is found with fewer starts. It follows that starts may be compared only when they sent equally
many probes.
"""

from __future__ import annotations

import math


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
