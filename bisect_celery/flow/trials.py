"""Trials as the flows want them: numbered, judged, replayed on resume, reused where that is honest, and recorded."""

from __future__ import annotations

import datetime
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from bisect_celery.core import judge, measures
from bisect_celery.core.deadline import Deadlines, before
from bisect_celery.core.judge import Seen, Signature, Standard
from bisect_celery.errors import EndsError
from bisect_celery.flow.events import Doing, Listener, Note, Tried
from bisect_celery.flow.gauge import Gauge
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Judged, Judgement, Kind, Match, Observation, Tree, Trial, Verdict
from bisect_celery.store.database import Store

REUSED = frozenset({"search", "narrow"})
# What waits in silence: only for these does it matter how long was watched.
WAITING = frozenset(
    {Kind.STUCK_IN_TASK, Kind.EXECUTED_NOT_ACKED, Kind.SLOT_LOST, Kind.NEVER_RECEIVED, Kind.RESULT_LOST, Kind.SLOW}
)


# What every start of a tree shows once one did: trying again is of no use.
NEVER_RUNS = frozenset({Kind.BOOT_FAILED, Kind.ENVIRONMENT_FAILED})
NEVER_REUSED = frozenset({Kind.UNKNOWN, Kind.BROKER_NOT_REDIRECTED, Kind.ENVIRONMENT_FAILED})

MADE_OTHERWISE = (
    "What was tried before the stop was tried under other conditions (an older bisect-celery, another broker or "
    "overlay): it is not counted, and tried anew."
)


class BudgetSpent(Exception):
    """The minutes that the user gave are over."""


@dataclass
class Terms:
    """What later trials are held to; it only ever becomes better known."""

    plan: Plan
    deadlines: Deadlines
    standard: Standard
    signature: Signature | None = None

    @property
    def mode(self) -> str:
        return "fast" if self.plan.fast else "faithful"


class Trials:
    """The one way from a tree to a judgement. For the session's thread."""

    def __init__(
        self,
        lab: Lab,
        store: Store,
        session: str,
        plan: Plan,
        *,
        digest: Callable[[Plan], str],
        ceiling: float,
        budget: float,
        listener: Listener,
    ) -> None:
        """`ceiling` and `budget` are in seconds. Trials that the session already has are replayed, not repeated."""
        self.terms = Terms(plan, before(ceiling), judge.standard_of(plan.probe))
        self._lab, self._store, self._session = lab, store, session
        self._digest, self._listener = digest, listener
        self._attempts: Counter[tuple[str, str]] = Counter()
        stored = store.trials(session)
        self._replay = {(j.trial.tree.sha, j.trial.mode, j.trial.attempt): j.trial for j in stored}
        self._number = max((j.trial.number for j in stored), default=0)
        self._told_of_others = False
        self._end = time.monotonic() + budget - sum(j.trial.seconds for j in stored if j.trial.reused is None)
        self.judged: list[Judged] = []
        self.gauge = Gauge(
            self.terms.standard,
            run=self.run,
            trials=lambda: [one.trial for one in self.judged],
            plain=self.seen,
            note=self.note,
        )
        # Once trials of one tree contradict each other, another session's trial is no answer for this one.
        self.reuse = True

    # --- trying ---------------------------------------------------------------------------------------

    def run(self, tree: Tree, purpose: str, *, deadlines: Deadlines | None = None) -> Judged:
        """Try a tree once and judge it. Raises BudgetSpent before a trial that no time is left for."""
        mode = self.terms.mode
        self._attempts[tree.sha, mode] += 1
        attempt = self._attempts[tree.sha, mode]
        stored = self._replay.get((tree.sha, mode, attempt))
        if stored is not None and stored.digest == self._digest(self.terms.plan):
            return self._finish(stored, replayed=True)
        if stored is not None and not self._told_of_others:
            self._told_of_others = True
            self.note(MADE_OTHERWISE)
        if self.reuse and purpose in REUSED and attempt == 1 and (known := self._known(tree, mode)) is not None:
            self._number += 1
            reused = replace(known, number=self._number, tree=tree, purpose=purpose, attempt=attempt)
            return self._finish(reused, replayed=False)
        if time.monotonic() > self._end:
            raise BudgetSpent
        return self._finish(self._make(tree, purpose, attempt, deadlines or self.terms.deadlines), replayed=False)

    def settled(self, tree: Tree, purpose: str, *, deadlines: Deadlines | None = None) -> Judged:
        """Try a tree; where the facts say nothing, or only that time ran out at boot, once more (DESIGN 9)."""
        judged = self.run(tree, purpose, deadlines=deadlines)
        wants_more = measures.wants_more(judged.judgement, 1)
        silent = judged.judgement.symptom.kind is Kind.UNKNOWN and not wants_more
        if silent or boot_timed_out(judged.trial.observation):
            judged = self.run(tree, purpose, deadlines=deadlines)
        if not self.terms.standard.judges:
            return judged
        judged = self.gauge.settle(judged, lambda: self.run(tree, purpose, deadlines=deadlines), self._judged)
        self.rejudge(tree)
        return self._judged(judged.trial)

    def _make(self, tree: Tree, purpose: str, attempt: int, deadlines: Deadlines) -> Trial:
        self._number += 1
        self._listener(Doing(f"{tree.label} {tree.title}".strip(), purpose))
        order = Order(f"{self._number:04d}-{tree.sha[:10]}", tree, self.terms.plan, deadlines, self._looks_bad)
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            made = self._lab.make(order)
        finally:
            self._listener(Doing(""))
        return Trial(
            number=self._number,
            tree=tree,
            observation=made.observation,
            digest=self._digest(self.terms.plan),
            attempt=attempt,
            mode=self.terms.mode,
            purpose=purpose,
            started_at=started,
            seconds=made.seconds,
            artifacts=str(made.artifacts),
        )

    def _finish(self, trial: Trial, *, replayed: bool) -> Judged:
        judged = Judged(trial, self._judge(trial))
        if not replayed:
            self._store.record(self._session, judged)
        self.judged.append(judged)
        self._listener(Tried(judged, replayed))
        if judged.judgement.symptom.kind is Kind.BROKER_NOT_REDIRECTED and self.terms.signature is not None:
            raise EndsError(
                f"{trial.tree.label} talks elsewhere than the ends do: {judged.judgement.rule}.",
                "Nothing is judged beside another broker: name its variable, `--env NAME={broker_url}`.",
            )
        return judged

    def starts(self) -> tuple[Judged, ...]:
        """The trials that may be counted together: made under today's plan, with as many probes (`core.rates`).

        Faithful ones count beside fast ones, which were taken only because they show the same; not the other way round.
        """
        digest, modes = self._digest(self.terms.plan), {"faithful", self.terms.mode}
        return tuple(one for one in self.judged if one.trial.digest == digest and one.trial.mode in modes)

    # --- judging --------------------------------------------------------------------------------------

    def seen(self, observation: Observation) -> Seen:
        return judge.symptom(observation, self.terms.standard)

    def _judged(self, trial: Trial) -> Judged:
        return Judged(trial, self._judge(trial))

    def _judge(self, trial: Trial) -> Judgement:
        seen = self.gauge.seen(trial)
        if self.terms.signature is None:
            return judge.at_end(seen)
        return judge.verdict(seen, self.terms.signature)

    def fails_differently(self, judged: Judged) -> bool:
        """Whether it ran and showed another failure than the one that is looked for: `--match any` would count it."""
        signature = self.terms.signature
        if signature is None or judged.judgement.verdict is Verdict.BAD:
            return False
        anyhow = judge.verdict(self.gauge.seen(judged.trial), replace(signature, match=Match.ANY))
        return anyhow.verdict is Verdict.BAD

    def hold_to(self, tree: Tree) -> None:
        """From now on only what this tree showed counts as failure, whatever other failures the search took for bad.

        A subset of a commit fails in many ways of its own; none of them is the failure that is narrowed down.
        """
        shown = [each.judgement for each in self.judged if each.trial.tree.sha == tree.sha]
        failures = [judgement.symptom for judgement in shown if judgement.verdict is Verdict.BAD]
        if failures:
            self.terms.signature = Signature(failures[-1], Match.SAME)

    def measure(self, good: Judged) -> Judged:
        """From now on all trials are held to what this one, of the good end, shows to be usual; it is itself, too."""
        self.terms.standard = judge.measured(self.terms.standard, good.trial.observation)
        self.rejudge()
        return Judged(good.trial, self._judge(good.trial))

    def rejudge(self, tree: Tree | None = None) -> None:
        """Judge again what was tried before the signature was known, so that all verdicts follow one rule.

        `tree`: only its trials, where only of that is more known now.
        """
        self.judged = [
            Judged(one.trial, self._judge(one.trial)) if tree is None or one.trial.tree.sha == tree.sha else one
            for one in self.judged
        ]

    def _looks_bad(self, picture: Observation) -> bool:
        return judge.resembles(self.seen(picture), self.terms.signature)

    # --- what is known already ------------------------------------------------------------------------

    def _known(self, tree: Tree, mode: str) -> Trial | None:
        """A finished trial of another session under the same terms, if it was watched long enough for today's.

        None where it is measured: another day's start was made on another machine, as far as time goes.
        """
        if self.terms.standard.judges:
            return None
        found = [trial for trial in self._store.find(self._digest(self.terms.plan), tree.sha) if trial.mode == mode]
        said = {self.seen(trial.observation).symptom for trial in found}
        if len(said) != 1:
            return None  # nothing is known, or what is known contradicts itself
        return next((trial for trial in reversed(found) if self._still_says_enough(trial)), None)

    def _still_says_enough(self, trial: Trial) -> bool:
        kind = self.seen(trial.observation).symptom.kind
        if boot_timed_out(trial.observation) or kind in NEVER_REUSED:
            return False
        watched = trial.observation.until - trial.observation.last_progress
        wanted = self.terms.deadlines.quick or self.terms.deadlines.quiet
        return kind not in WAITING or watched >= wanted

    @property
    def broker(self) -> str:
        """The kind that trials run on."""
        return self._lab.stack.facts.broker

    def serve(self, kind: str) -> bool:
        return self._lab.serve(kind)

    # --- estimates ------------------------------------------------------------------------------------

    def seconds_each(self) -> float | None:
        """What a trial takes here: the mean of the latest that were really made; None before the first."""
        taken = [judged.trial.seconds for judged in self.judged[-6:] if judged.trial.reused is None]
        return statistics.fmean(taken) if taken else None

    def seconds_left(self) -> float:
        """How much of the budget is left, not below 0."""
        return max(0.0, self._end - time.monotonic())

    def to_replay(self) -> int:
        """How many trials of before a stop are still to be told again, as far as their conditions are today's."""
        digest, told = self._digest(self.terms.plan), {judged.trial.number for judged in self.judged}
        return sum(1 for trial in self._replay.values() if trial.digest == digest and trial.number not in told)

    def note(self, text: str) -> None:
        self._listener(Note(text))


def boot_timed_out(seen: Observation) -> bool:
    """Whether a worker was merely not ready in time: silence, which a slow moment of this machine makes too."""
    return seen.failure is not None and seen.failure.timed_out
