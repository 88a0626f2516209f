"""How often an intermittent question must be asked, and what its answers say. Pure.

One start that passes says little where a start fails one time in five. So a question ("does this tree have the
failure?") is asked until what came out is far likelier on one side than on the other: Wald's sequential test
("Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16(2), 1945), but against what the
commits themselves showed, with both rates unknown (`core.rates`), instead of against two rates that somebody named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bisect_celery.core.rates import Rates
from bisect_celery.model import Verdict

# The chance of a wrong answer to one question.
ALPHA = 0.01
# Starts that showed neither the failure nor success, after which a tree is left alone.
MOST_UNCLEAR = 2
# A question that is still open then stays open: no rate that can be told from the other end's takes as many.
MOST_STARTS = 400

# The search may hope that the ends lie far apart; whoever says that something works must not think the failure more
# frequent than it was seen to be.
_RATES = Rates(never=0.5, good=(0.5, 2.0), always=0.25, bad=(0.75, 0.75), apart=0.0)


@dataclass(frozen=True)
class Starts:
    """What the starts of something showed: the failure, success, or neither."""

    failed: int = 0
    passed: int = 0
    unclear: int = 0

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Starts:
        counted = list(verdicts)
        return cls(*(counted.count(verdict) for verdict in (Verdict.BAD, Verdict.GOOD, Verdict.SKIP)))

    @property
    def tried(self) -> int:
        """Those that said something."""
        return self.failed + self.passed

    def __add__(self, other: Starts) -> Starts:
        return Starts(self.failed + other.failed, self.passed + other.passed, self.unclear + other.unclear)


@dataclass(frozen=True)
class Noise:
    """What commits showed that have the failure (`bad`), and commits that have not (`good`)."""

    good: Starts
    bad: Starts

    @property
    def rate(self) -> float:
        """How often a start is expected to show the failure where it is; below 1 even if every one did so far."""
        return _RATES.likelihood(_pair(self.good), _pair(self.bad)).bad

    def odds(self, seen: Starts) -> float:
        """The logarithm of how much likelier `seen` is of something that has the failure than of something without."""
        with_it = _RATES.likelihood(_pair(self.good), _pair(self.bad + seen)).log
        without = _RATES.likelihood(_pair(self.good + seen), _pair(self.bad)).log
        return with_it - without

    def answer(self, seen: Starts, alpha: float = ALPHA) -> bool | None:
        """Whether what showed `seen` has the failure; None while neither is sure enough.

        The failure itself is proof where the good side never showed it: a subset of a commit has no reason to invent
        another failure of the same kind, exception and message.
        """
        if seen.failed and not self.good.failed:
            return True
        odds, enough = self.odds(seen), math.log((1 - alpha) / alpha)
        return True if odds >= enough else False if odds <= -enough else None

    def passes_needed(self, alpha: float = ALPHA) -> int:
        """After how many passes in a row, and no failure, something is believed to be without the failure."""
        for passed in range(1, MOST_STARTS):
            if self.answer(Starts(passed=passed), alpha) is False:
                return passed
        return MOST_STARTS


def _pair(starts: Starts) -> tuple[int, int]:
    return starts.failed, starts.passed


def about(rate: float) -> str:
    """A rate as people say it: "every time", "about half the time", "about 1 start in 5"."""
    if rate >= 0.97:
        return "nearly every time"
    if 0.4 <= rate <= 0.6:
        return "about half the time"
    if rate > 0.6:
        return f"about {_fraction(rate)} starts"
    return f"about 1 start in {max(2, round(1 / rate))}" if rate > 0 else "never"


def _fraction(rate: float) -> str:
    """Of the fractions that people use, the nearest."""
    known = {2 / 3: "2 of 3", 3 / 4: "3 of 4", 4 / 5: "4 of 5", 9 / 10: "9 of 10"}
    return known[min(known, key=lambda one: abs(one - rate))]
