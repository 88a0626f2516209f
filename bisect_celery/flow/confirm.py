"""What was found, tried again: every claim in turn, never in blocks, so that drift of the machine shows (DESIGN 27)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from bisect_celery.core.repeat import MOST_UNCLEAR, Noise, Starts
from bisect_celery.flow.events import Listener, Remaining
from bisect_celery.flow.trials import BudgetSpent, Trials
from bisect_celery.model import Culprit, Judged, Kind, Tally, Verdict

ROUNDS = 3
# Parent, culprit, cause alone, culprit without it: three rounds of each, and a few more to be sure of the culprit.
CONFIRMING = 14


class Confirm:
    """Rounds of trials over claims. Counts of a claim are kept where it is made again."""

    def __init__(self, trials: Trials, listener: Listener, noise: Noise | None) -> None:
        """`noise` is what commits showed with and without an intermittent failure; None: it comes every time."""
        self._trials, self._listener, self._noise = trials, listener, noise
        self._kept: dict[tuple[str, str], Tally] = {}

    def run(self, claims: Sequence[Tally], culprit: str) -> tuple[Tally, ...]:
        """The claims with their counts, fewer than wanted if time runs out. `culprit` is the sha of its tree."""
        rows = [self._kept.get((claim.name, claim.tree.sha), claim) for claim in claims]
        with contextlib.suppress(BudgetSpent):
            if self._noise is None:
                self._thrice(rows)
            else:
                self._often(rows, self._noise, culprit)
        self._kept.update({(row.name, row.tree.sha): row for row in rows})
        return tuple(rows)

    def noise(self, rows: Sequence[Tally], culprit: str) -> Noise | None:
        """What is known of the rates now: the culprit's own row shows its rate better than a search, which stops when
        luck makes it sure."""
        if self._noise is None:
            return None
        own = [starts_of(row) for row in rows if row.tree.sha == culprit]
        return Noise(self._noise.good, sum(own, self._noise.bad))

    def _thrice(self, rows: list[Tally]) -> None:
        for turn in range(ROUNDS):
            for position, row in enumerate(rows):
                self._progress((ROUNDS - turn) * len(rows) - position)
                rows[position] = counted(row, self._once_more(row))

    def _often(self, rows: list[Tally], noise: Noise, culprit: str) -> None:
        """Rounds until every row holds; over as soon as one cannot. The culprit's goes on as long as any other does."""
        while True:
            now = self.noise(rows, culprit) or noise
            needed = now.passes_needed()
            rows[:] = [weighed(row, now, needed) for row in rows]
            still = [position for position, row in enumerate(rows) if row.held is None]
            if not still or any(row.held is False for row in rows):
                return
            for position, row in enumerate(rows):
                if position in still or row.tree.sha == culprit:
                    self._progress(sum(max(1, needed - rows[other].tried) for other in still))
                    rows[position] = counted(row, self._once_more(row))

    def _once_more(self, row: Tally) -> Judged:
        """One trial of a claim; what should work is given all the time there is before it is called stuck."""
        deadlines = self._trials.terms.deadlines
        patient = deadlines if row.should_fail else replace(deadlines, quick=None)
        judged = self._trials.settled(row.tree, "confirm", deadlines=patient)
        # What is measured is told by all its starts together: where they do not yet tell, a few more may.
        for _ in range(MOST_UNCLEAR if self._trials.terms.standard.judges else 0):
            if judged.judgement.symptom.kind is Kind.UNKNOWN:
                judged = self._trials.settled(row.tree, "confirm", deadlines=patient)
        return judged

    def _progress(self, left: int) -> None:
        each = self._trials.seconds_each()
        self._listener(Remaining("confirm", left, left, each * left if each else None))


def counted(tally: Tally, judged: Judged) -> Tally:
    """The tally with one more trial in it."""
    verdict = judged.judgement.verdict
    return replace(
        tally,
        tried=tally.tried + 1,
        failed=tally.failed + (verdict is Verdict.BAD),
        other=tally.other + (verdict is Verdict.SKIP),
        trials=(*tally.trials, judged.trial.number),
    )


def starts_of(row: Tally) -> Starts:
    return Starts(row.failed, row.tried - row.failed - row.other, row.other)


def weighed(row: Tally, noise: Noise, needed: int) -> Tally:
    """The row with what its counts say of its claim, where the failure is intermittent.

    What should work holds once its passes are beyond luck (`needed` of them, if nothing else is known of it); what
    should fail, once it failed a second time, or as often as can be asked of it. Starts that showed neither must stay
    the exception.
    """
    row = replace(row, rate=noise.rate)
    starts = starts_of(row)
    answer = noise.answer(starts)
    if row.other > MOST_UNCLEAR and 4 * row.other > row.tried:
        return replace(row, held=False)
    if answer is None or row.tried < ROUNDS:
        return replace(row, held=None)
    once = row.should_fail and answer and row.failed < 2 and starts.tried < needed
    return replace(row, held=None if once else answer is row.should_fail)


def unfinished(culprit: Culprit) -> bool:
    """Whether time ran out before everything was confirmed as often as it should be."""
    return any(row.held is None if row.rate < 1 else row.tried < ROUNDS for row in culprit.confirmation)


def contradictions(culprit: Culprit) -> tuple[str, ...]:
    """What the confirmation says against the search; empty when every count is as claimed, or not yet against it."""
    return tuple(
        f"{row.name}: failed {row.failed} of {row.tried}" + (f", {row.other} unclear" if row.other else "")
        for row in culprit.confirmation
        if (row.held is False if row.rate < 1 else row.tried and not row.holds)
    )
