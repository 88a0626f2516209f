"""Which commit broke it, when trials are noisy: a posterior over the suspects, and what to try next.

The unit of evidence is a *start* of the worker (see `core.rates`). A start at a commit fails with the bad rate if the
culprit is that commit or an ancestor of it, else with the good rate; both rates are unknown and marginalised. "No
culprit" (None) is one rate everywhere. Immutable: telling gives a new belief, so nothing but the evidence counts, and
its order does not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# How likely it is beforehand that nothing between the ends is to blame.
NO_CULPRIT = 0.05


class Undecided(enum.Enum):
    """What `Belief.settled` says while nothing is sure enough."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Undecided.UNDECIDED


class Belief:
    """What is believed after all starts that were told.

    `suspects`: the commits that can be the first bad one (BAD among them, GOOD not). `parents`: of the suspects, and
    of whatever lies between them; a commit without an entry has no suspect among its ancestors. `prior`: relative
    weights of suspects (default: all equal; a suspect that is not named has weight 1). `none`: the probability of "no
    culprit" before any start. Raises ValueError for an empty or doubled list of suspects, a cycle, a negative weight.
    """

    def __init__(
        self,
        suspects: Sequence[str],
        parents: Mapping[str, Sequence[str]],
        prior: Mapping[str, float] | None = None,
        none: float = NO_CULPRIT,
    ) -> None:
        raise NotImplementedError

    # --- evidence -------------------------------------------------------------------------------------

    def tell(self, commit: str, failed: bool) -> Belief:
        """One start at a suspect, or at a commit between suspects. Raises KeyError for any other."""
        raise NotImplementedError

    def tell_good(self, failed: bool) -> Belief:
        """One start at a commit that holds no suspect: the GOOD end."""
        raise NotImplementedError

    def tell_bad(self, failed: bool) -> Belief:
        """One start at a commit that holds every suspect: the BAD end (or its own name, by `tell`)."""
        raise NotImplementedError

    def skip(self, commit: str) -> Belief:
        """This commit cannot be tried: it is not asked again, and stays a suspect."""
        raise NotImplementedError

    @property
    def starts(self) -> tuple[int, int]:
        """(failed, all) starts that were told, ends included."""
        raise NotImplementedError

    # --- what is believed -----------------------------------------------------------------------------

    def posterior(self) -> dict[str | None, float]:
        """The probability of each suspect, and of None. Sums to one."""
        raise NotImplementedError

    def ranking(self) -> tuple[tuple[str | None, float], ...]:
        """The posterior, likeliest first; ties in the order of the suspects, None last."""
        raise NotImplementedError

    def entropy(self) -> float:
        """Of the posterior, in bits."""
        raise NotImplementedError

    def rates(self) -> tuple[float, float]:
        """The expected (good, bad) rate: how often a start fails before and after the culprit."""
        raise NotImplementedError

    def settled(self, confidence: float = 0.95) -> str | Undecided | None:
        """The culprit, or None for "no culprit", once sure enough; else UNDECIDED."""
        raise NotImplementedError

    def inseparable(self, confidence: float = 0.95) -> tuple[str, ...]:
        """Suspects that together are sure enough and that no commit which can be tried tells apart: only skipped ones
        lie between them, so more starts will not help. Empty while they may."""
        raise NotImplementedError

    # --- what next ------------------------------------------------------------------------------------

    def ask(self, k: int = 1, pending: Iterable[str] = ()) -> tuple[str, ...]:
        """The `k` commits whose starts are expected to leave the least entropy, beside those of `pending` that run
        now and have no outcome yet. A commit may be named more than once. Fewer, or none, if nothing can be asked."""
        raise NotImplementedError
