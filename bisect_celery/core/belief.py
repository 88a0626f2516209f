"""Which commit broke it, when trials are noisy: a posterior over the suspects, and what to try next.

The unit of evidence is a *start* of the worker (see `core.rates`). A start at a commit fails with the bad rate if the
culprit is that commit or an ancestor of it, else with the good rate; both rates are unknown and marginalised, as in
git_bayesect (hauntsaninja), but the good one is the lower, and history need not be a line. "No culprit" (None) is one
rate everywhere. Immutable: telling gives a new belief, so nothing but the evidence counts, and its order does not.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from bisect_celery.core.ancestry import Ancestry, members
from bisect_celery.core.rates import Likelihood, Rates

# How likely it is beforehand that nothing between the ends is to blame.
NO_CULPRIT = 0.05
# The model's rates are the same at every commit and its starts independent; real ones are neither, and where both ends
# fail at times the likelier story (a good end that never fails) is left late. So an answer must leave a third of the
# doubt that was allowed: measured in docs/noise.md, and the least that kept every row as right as it said.
MARGIN = 3.0
# Outcomes of what runs now that are thought through when the next commit is chosen: the likeliest.
MOST_FUTURES = 16
# Below this many bits a start teaches nothing but the rounding of floats.
NOTHING = 1e-12


class Undecided(enum.Enum):
    """What `Belief.settled` says while nothing is sure enough."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Undecided.UNDECIDED


class _Counts(NamedTuple):
    """Failed and passed starts: of all, and per suspect of the commits that hold it."""

    failed: int
    passed: int
    failed_with: tuple[int, ...]
    passed_with: tuple[int, ...]


class Belief:
    """What is believed after all starts that were told.

    `suspects`: the commits that can be the first bad one (BAD among them, GOOD not). `parents`: of the suspects, and
    of whatever lies between them; a commit without an entry has no suspect among its ancestors. `prior`: relative
    weights of suspects (default: all equal; a suspect that is not named has weight 1). `none`: the probability of "no
    culprit" before any start. `rates`: what is believed of the rates before. `good`: the GOOD end's name, if it may be
    asked for too: where it fails at times, only more starts there tell "the oldest suspect" from "no culprit". Raises
    ValueError for an empty or doubled list of suspects, a cycle, a negative weight, weights that are all zero.
    """

    def __init__(
        self,
        suspects: Sequence[str],
        parents: Mapping[str, Sequence[str]],
        prior: Mapping[str, float] | None = None,
        none: float = NO_CULPRIT,
        rates: Rates | None = None,
        good: str | None = None,
    ) -> None:
        self._good = good
        self._ancestry = Ancestry(suspects, parents)
        weights = [(prior or {}).get(commit, 1.0) for commit in self._ancestry.suspects]
        if min(weights) < 0 or not 0 < math.fsum(weights) < math.inf or not 0 <= none < 1:
            raise ValueError("weights of suspects are not negative and not all zero, 0 <= none < 1")
        scale = (1 - none) / math.fsum(weights)
        self._prior = tuple(weight * scale for weight in weights)
        self._none = none
        self._rates = rates or DEFAULT_RATES
        zeros = (0,) * len(weights)
        self._counts = _Counts(0, 0, zeros, zeros)
        self._skipped = 0

    # --- evidence -------------------------------------------------------------------------------------

    def tell(self, commit: str, failed: bool) -> Belief:
        """One start at a suspect, at a commit between suspects, or at `good`. Raises KeyError for any other."""
        return self._told(0 if commit == self._good else self._ancestry.held(commit), failed)

    def tell_good(self, failed: bool) -> Belief:
        """One start at a commit that holds no suspect: the GOOD end."""
        return self._told(0, failed)

    def tell_bad(self, failed: bool) -> Belief:
        """One start at a commit that holds every suspect: the BAD end (or its own name, by `tell`)."""
        return self._told(self._ancestry.everything, failed)

    def skip(self, commit: str) -> Belief:
        """This commit cannot be tried: it is not asked again, and stays a suspect. Raises KeyError for no suspect."""
        return self._with(self._counts, self._skipped | 1 << self._ancestry.position[commit])

    @property
    def starts(self) -> tuple[int, int]:
        """(failed, all) starts that were told, ends included."""
        return self._counts.failed, self._counts.failed + self._counts.passed

    def _told(self, held: int, failed: bool) -> Belief:
        counts = self._counts
        more = list(counts.failed_with if failed else counts.passed_with)
        for k in members(held):
            more[k] += 1
        if failed:
            counts = counts._replace(failed=counts.failed + 1, failed_with=tuple(more))
        else:
            counts = counts._replace(passed=counts.passed + 1, passed_with=tuple(more))
        return self._with(counts, self._skipped)

    def _with(self, counts: _Counts, skipped: int) -> Belief:
        other = object.__new__(Belief)
        other.__dict__ |= {name: self.__dict__[name] for name in ("_ancestry", "_prior", "_none", "_rates", "_good")}
        other._counts, other._skipped = counts, skipped
        return other

    # --- what is believed -----------------------------------------------------------------------------

    def posterior(self) -> dict[str | None, float]:
        """The probability of each suspect, and of None. Sums to one."""
        return {**dict(zip(self._ancestry.suspects, self._weights, strict=True)), None: self._weight_of_none}

    def ranking(self) -> tuple[tuple[str | None, float], ...]:
        """The posterior, likeliest first; ties in the order of the suspects, None last."""
        return tuple(sorted(self.posterior().items(), key=lambda item: -item[1]))

    def entropy(self) -> float:
        """Of the posterior, in bits."""
        return -math.fsum(map(_wlog, (*self._weights, self._weight_of_none)))

    def rates(self) -> tuple[float, float]:
        """The expected (good, bad) rate: how often a start fails before and after the culprit, if there is one."""
        whole = math.fsum(self._weights)
        good = math.fsum(w * like.good for w, like in zip(self._weights, self._likelihoods, strict=True))
        bad = math.fsum(w * like.bad for w, like in zip(self._weights, self._likelihoods, strict=True))
        return (good / whole, bad / whole) if whole > 0 else (self._alone.good, self._alone.bad)

    def settled(self, confidence: float = 0.95) -> str | Undecided | None:
        """The culprit, or None for "no culprit", once surer than `confidence` by MARGIN; else UNDECIDED."""
        commit, probability = self.ranking()[0]
        return commit if 1 - probability <= (1 - confidence) / MARGIN else UNDECIDED

    def inseparable(self, confidence: float = 0.95) -> tuple[str, ...]:
        """Suspects that together are sure enough and that no commit which can be tried tells apart: only skipped ones
        lie between them, so more starts will not help. Empty while they may."""
        classes = self._ancestry.classes(self._ancestry.everything & ~self._skipped)
        suspects = self._ancestry.suspects
        for alike in (list(members(bits)) for bits in classes):
            if len(alike) > 1 and 1 - math.fsum(self._weights[k] for k in alike) <= (1 - confidence) / MARGIN:
                return tuple(suspects[k] for k in alike)
        return ()

    @cached_property
    def _likelihoods(self) -> list[Likelihood]:
        """Per suspect, of all starts if it is the culprit."""
        failed, passed, failed_with, passed_with = self._counts
        likelihood = self._rates.likelihood
        known: dict[tuple[int, int], Likelihood] = {}
        found = []
        for bad in zip(failed_with, passed_with, strict=True):
            like = known.get(bad)
            if like is None:
                like = known[bad] = likelihood((failed - bad[0], passed - bad[1]), bad)
            found.append(like)
        return found

    @cached_property
    def _alone(self) -> Likelihood:
        return self._rates.alone((self._counts.failed, self._counts.passed))

    @cached_property
    def _joint(self) -> tuple[list[float], float, float]:
        """(per suspect the probability that it is the culprit and all starts came as they did, the same of None, the
        natural logarithm of the scale of both: they are multiples of e to its power)"""
        logs = [like.log if p else -math.inf for p, like in zip(self._prior, self._likelihoods, strict=True)]
        none = self._alone.log if self._none else -math.inf
        scale = max(none, *logs)
        if scale == -math.inf:
            return [0.0] * len(logs), 0.0, 0.0
        weights = [p * math.exp(log - scale) for p, log in zip(self._prior, logs, strict=True)]
        return weights, self._none * math.exp(none - scale), scale

    @cached_property
    def _posterior(self) -> tuple[list[float], float]:
        """(the suspects' probabilities, that of None)"""
        weights, none, _ = self._joint
        whole = math.fsum(weights) + none
        if whole <= 0.0:
            raise ValueError("what was told is impossible under the rates that were believed")
        return [weight / whole for weight in weights], none / whole

    @property
    def _evidence(self) -> float:
        """The natural logarithm of the probability of all that was told."""
        weights, none, scale = self._joint
        whole = math.fsum(weights) + none
        return math.log(whole) + scale if whole > 0 else -math.inf

    @property
    def _weights(self) -> list[float]:
        return self._posterior[0]

    @property
    def _weight_of_none(self) -> float:
        return self._posterior[1]

    # --- what next ------------------------------------------------------------------------------------

    def ask(self, k: int = 1, pending: Iterable[str] = ()) -> tuple[str, ...]:
        """The `k` commits whose starts are expected to leave the least entropy, beside those of `pending` that run
        now and have no outcome yet. A commit may be named more than once. Fewer, or none, if nothing can be asked.

        They are chosen one after the other, each for what it adds over all outcomes of those before: what a set of
        starts tells of the culprit has diminishing returns, so this greedy choice is never far from the best set.
        """
        futures = [(1.0, self)]
        for commit in pending:
            futures = _after(futures, commit)
        chosen: list[str] = []
        while len(chosen) < k:
            best = self._best(futures)
            if best is None:
                break
            chosen.append(best)
            futures = _after(futures, best)
        return tuple(chosen)

    def _best(self, futures: list[tuple[float, Belief]]) -> str | None:
        """The commit whose start leaves the least entropy, on the average over the futures; None if none helps."""
        left = [0.0] * (len(self._prior) + 1)
        for chance, belief in futures:
            left = [so_far + chance * more for so_far, more in zip(left, belief._left_after, strict=True)]
        now = math.fsum(chance * belief.entropy() for chance, belief in futures)
        names = (*self._ancestry.suspects, self._good)
        open_ = [k for k, name in enumerate(names) if name is not None and not self._skipped >> k & 1]
        least = min((left[k] for k in open_), default=math.inf)
        if now - least < NOTHING:
            return None
        # Floats of equal entropies differ in their last digits: of those, the one that divides most evenly.
        alike = [k for k in open_ if left[k] <= least + NOTHING]
        shares = [*self._ancestry.sums(self._weights), 0.0]
        return names[min(alike, key=lambda k: abs(shares[k] - 0.5))]

    @cached_property
    def _left_after(self) -> list[float]:
        """For each suspect, and last for GOOD, the entropy in bits that is to be expected after one start there.

        A start at m fails, for the suspects that m holds, with the bad rate, and for the others with the good one. So
        with S the probability of an outcome and G the sum of w log w over it, both are sums over what m holds of the
        difference that holding makes; the entropy left is S log S - G, over both outcomes.
        """
        fails, logs_failing, logs_passing = [], [], []
        out, out_failing, out_passing = 0.0, 0.0, 0.0
        for weight, like in zip(self._weights, self._likelihoods, strict=True):
            with_, without = weight * like.bad, weight * like.good
            failing, passing = _wlog(without), _wlog(weight - without)
            fails.append(with_ - without)
            logs_failing.append(_wlog(with_) - failing)
            logs_passing.append(_wlog(weight - with_) - passing)
            out += without
            out_failing += failing
            out_passing += passing
        none = self._weight_of_none * self._alone.bad
        out += none
        out_failing += _wlog(none)
        out_passing += _wlog(self._weight_of_none - none)
        held = [[*self._ancestry.sums(values), 0.0] for values in (fails, logs_failing, logs_passing)]
        left = []
        for more, failing, passing in zip(*held, strict=True):
            chance = out + more
            left.append(_wlog(chance) - out_failing - failing + _wlog(1 - chance) - out_passing - passing)
        return left


def _after(futures: list[tuple[float, Belief]], commit: str) -> list[tuple[float, Belief]]:
    """What may be believed after one more start; equal evidence is one future, and the least likely are left out."""
    split: dict[_Counts, tuple[float, Belief]] = {}
    for chance, belief in futures:
        for failed in (True, False):
            told = belief.tell(commit, failed)
            more = chance * math.exp(told._evidence - belief._evidence)
            if more == 0.0:
                continue
            split[told._counts] = (split.get(told._counts, (0.0, told))[0] + more, told)
    likeliest = sorted(split.values(), key=lambda future: -future[0])[:MOST_FUTURES]
    whole = math.fsum(chance for chance, _ in likeliest)
    return [(chance / whole, belief) for chance, belief in likeliest]


def _wlog(weight: float) -> float:
    return weight * math.log2(weight) if weight > 0 else 0.0


DEFAULT_RATES: Final = Rates()
