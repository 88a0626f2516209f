"""Measures against the good end (`--judge`): how many starts it takes, and whether the machine stayed as it was.

A tree is worse only beside the good end *of the same stretch of time*: a neighbour that takes half of a machine makes
every revision slower, and would name whichever was tried then. So after every answer the good end is started once more,
as a control. Where that is not as it was, twice, a new stretch begins: the good end is measured anew, what was started
since the last control that was as usual says nothing, and the tree is asked again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bisect_celery.core import measures
from bisect_celery.core.compare import GOOD_STARTS
from bisect_celery.core.judge import Seen, Standard
from bisect_celery.errors import EndsError
from bisect_celery.model import Judged, Kind, Observation, Symptom, Tree, Trial

# Starts of the good end, which others are compared with.
GOOD_END, CONTROL = "good end", "control"
MEASURING = frozenset({GOOD_END, CONTROL})
CONFIRM = "confirm"
# So often a tree is asked again on a machine that does not stay as it is.
MOST_STRETCHES = 3

Run = Callable[[Tree, str], Judged]


@dataclass
class Stretch:
    """Trials `since` one number `until` another (both included), and what the good end measured in it."""

    since: int
    until: float
    standard: Standard


class Gauge:
    """For the session's thread. It does nothing where nothing is to be measured."""

    def __init__(
        self,
        standard: Standard,
        *,
        run: Run,
        trials: Callable[[], Sequence[Trial]],
        plain: Callable[[Observation], Seen],
        note: Callable[[str], None],
    ) -> None:
        """`run(tree, purpose)` starts a tree once; `trials` are all that were made; `plain` judges without measures."""
        self._bare = replace(standard, latency=(), memory=())
        self._run, self._trials, self._plain, self._note = run, trials, plain, note
        self._good: Tree | None = None
        self._stretches: list[Stretch] = []
        self._steady_until = 0

    @property
    def standard(self) -> Standard:
        """What the good end measured lately."""
        return self._stretches[-1].standard if self._stretches else self._bare

    # --- the good end -----------------------------------------------------------------------------------

    def hold_to(self, good: Judged) -> None:
        """Measure as many starts of the good end as it takes; this is the first. Raises EndsError where one fails, or a
        measure cannot be had."""
        if self._bare.judges:
            self._good = good.trial.tree
            self._begin([good])

    def look_for(self, bad: Judged) -> None:
        """From now on what counts is what the bad end showed: more than halfway there from the good end."""
        within = self._within(bad.trial)
        if within is not None and bad.judgement.symptom.template in self._bare.judges:
            found = measures.apart(self._starts(bad.trial, within), within.standard)
            self._bare = replace(self._bare, apart=found)
            for one in self._stretches:
                one.standard = replace(one.standard, apart=found)

    def held_to(self, good: Tree, standard: Standard) -> None:
        """As an earlier process measured it."""
        if standard.judges:
            self._good = good
            self._bare = replace(standard, latency=(), memory=())
            self._stretches = [Stretch(0, math.inf, standard)]

    def _begin(self, starts: list[Judged]) -> None:
        assert self._good is not None
        while len(starts) < GOOD_STARTS:
            starts.append(self._run(self._good, GOOD_END))
        standard = self._bare
        for start in starts:
            standard = _with_start(standard, start)
        self._steady_until = max(start.trial.number for start in starts)
        self._stretches.append(Stretch(self._steady_until + 1, math.inf, standard))

    # --- other trees ------------------------------------------------------------------------------------

    def seen(self, trial: Trial) -> Seen:
        """What a trial looks like, beside all other starts of its tree in the same stretch."""
        found = self._plain(trial.observation)
        if not self._bare.judges or trial.purpose in MEASURING or found.symptom.kind is not Kind.COMPLETED:
            return found
        if self._good is None:
            return measures.compared(found, [trial.observation], self._bare)
        within = self._within(trial)
        if within is None:
            return Seen(Symptom(Kind.UNKNOWN), f"{found.rule}, but the machine changed while it was measured")
        return measures.compared(found, self._starts(trial, within), within.standard)

    def _within(self, trial: Trial) -> Stretch | None:
        return next((one for one in self._stretches if one.since <= trial.number <= one.until), None)

    def _starts(self, trial: Trial, within: Stretch) -> list[Observation]:
        """The starts of its tree that completed under the same terms, itself the last.

        A confirmation stands on starts of its own: those by which it was found would only say the same again.
        """
        others = [
            one
            for one in self._trials()
            if (one.tree.sha, one.digest) == (trial.tree.sha, trial.digest)
            and one.number != trial.number
            and one.purpose not in MEASURING
            and (one.purpose == CONFIRM) == (trial.purpose == CONFIRM)
            and within.since <= one.number <= within.until
        ]
        completed = [one for one in others if self._plain(one.observation).symptom.kind is Kind.COMPLETED]
        return [*(one.observation for one in completed), trial.observation]

    def settle(self, judged: Judged, again: Callable[[], Judged], judge: Callable[[Trial], Judged]) -> Judged:
        """More starts until the tree is worse or no worse, beside a control, or it never will be told.

        `again` starts the tree once more; `judge` judges one of its trials anew. What is worse is started once more
        between two controls: it must not have been a bad moment.
        """
        left, agreed = MOST_STRETCHES, False
        while self._good is not None:
            while measures.wants_more(judged.judgement, self._count(judged.trial)):
                judged = again()
            if not measures.by_comparison(judged.judgement):
                break
            if not self._steady(judged.trial):
                left -= 1
                judged = again() if left else judge(judged.trial)
                agreed = False
                continue
            judged = judge(judged.trial)
            worse = judged.judgement.symptom.kind is not Kind.COMPLETED
            if measures.wants_more(judged.judgement, self._count(judged.trial)):
                continue
            if agreed or not worse or not measures.by_comparison(judged.judgement):
                break
            judged, agreed = again(), True
        return judged

    def _count(self, trial: Trial) -> int:
        return len(self._starts(trial, self._stretches[-1]))

    # --- the machine ------------------------------------------------------------------------------------

    def _steady(self, trial: Trial) -> bool:
        """Whether the good end is as measured, beside what this trial's tree showed; else a new stretch began."""
        assert self._good is not None
        controls: list[Judged] = []
        now = self._stretches[-1]
        # A tree that is worse is so much worse: less than halfway there, the machine has not made it so.
        own = measures.apart(self._starts(trial, now), now.standard)
        held = replace(now.standard, apart=own) if own else now.standard
        while len(controls) < 2:
            controls.append(self._run(self._good, CONTROL))
            if self._as_usual(controls[-1], held):
                for control in controls:
                    self._stretches[-1].standard = _with_start(self._stretches[-1].standard, control)
                self._steady_until = controls[-1].trial.number
                return True
        self._note("The good end is not as it was: the machine has changed, and it is measured anew.")
        self._stretches[-1].until = self._steady_until
        self._begin(controls)
        return False

    def _as_usual(self, control: Judged, held: Standard) -> bool:
        """Within what was seen already, or off its middle by less than half of what would count as worse."""
        now = _with_start(self._bare, control)
        for name in self._bare.judges:
            usual, (sample,) = measures.samples(self.standard, name), measures.samples(now, name)
            middle = statistics.median(usual)
            margin = max(held.least_effect(name) * middle, measures.LEAST[name]) / 2
            if not (min(usual) <= sample <= max(usual) or abs(sample - middle) <= margin):
                return False
        return True


def _with_start(standard: Standard, good: Judged) -> Standard:
    if good.judgement.symptom.kind is not Kind.COMPLETED:
        raise EndsError(
            f"GOOD did not complete every time it was measured: {good.judgement.symptom}, {good.judgement.rule}.",
            "Without `--judge` it is said how often it fails.",
        )
    try:
        return measures.with_start(standard, good.trial.observation)
    except LookupError as missing:
        raise EndsError(
            f"The {missing.args[0]} of the good end could not be measured here.", "Leave that out of `--judge`."
        ) from None
