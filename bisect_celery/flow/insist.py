"""A bad end that passes: what its passes rule out, and trying on until it fails once or enough is ruled out."""

from __future__ import annotations

from dataclasses import replace

from bisect_celery.core.rates import bound_of_passes, starts_to_exclude
from bisect_celery.flow.trials import BudgetSpent, Trials
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Judged, Kind, Observation, Tree, Verdict

# The failure rate, per start, that is looked for where nobody knows better.
LEAST_RATE = 0.2
# How many times as many tasks one start is sent, unless that would take too long.
MORE_PROBES = 5
PATIENCE = 10.0


class Insist:
    """Start after start of one tree that should fail and passed."""

    def __init__(self, trials: Trials, tree: Tree, fails: float | None, first: Judged) -> None:
        """`fails`: how often a start is known to fail; None: not known. `first` is the start that passed."""
        self._trials, self._tree = trials, tree
        self.passed = [first]
        self.wanted = starts_to_exclude(fails or LEAST_RATE)
        self.spent = False

    def until_failure(self) -> Judged | None:
        """The first start that fails, the plan left as it was made; None once enough is ruled out, or time is up.

        The second start sends more tasks: what strikes single tasks shows sooner by these than by more starts.
        """
        plan = self._trials.terms.plan
        if len(self.passed) < self.wanted:
            self._trials.note(f"{passes(self.passed)} Trying on, up to {self.wanted} starts.")
        try:
            while len(self.passed) < self.wanted:
                more = with_more(plan, self.passed[0].trial.observation) if len(self.passed) == 1 else None
                self._trials.terms.plan = more or plan
                judged = self._trials.settled(self._tree, "bad end")
                if judged.judgement.symptom.kind is Kind.COMPLETED:
                    self.passed.append(judged)
                elif judged.judgement.verdict is Verdict.BAD:
                    return judged
                else:
                    self.wanted -= 1  # it said nothing; without an end it could go on saying nothing for ever
        except BudgetSpent:
            self.spent = True
        self._trials.terms.plan = plan
        return None


def with_more(plan: Plan, seen: Observation) -> Plan | None:
    """The plan with more tasks a start; None where they take so long that more starts are the better use of time."""
    first = [message for message in seen.messages if message.wave == 1]
    ends = [message.finished for message in first if message.finished is not None]
    took = max(ends) - min(message.sent for message in first) if ends else PATIENCE
    times = min(MORE_PROBES, int(PATIENCE / max(took, 0.1)))
    return replace(plan, probe=replace(plan.probe, count=times * len(first))) if times > 1 else None


def passes(passed: list[Judged]) -> str:
    """What passed, and what that rules out, of failures that strike single tasks and of those that strike whole starts.

    Tasks of one start share what went right or wrong when it began, so their number bounds only what strikes each of
    them on its own.
    """
    tasks = sum(message.wave == 1 for one in passed for message in one.trial.observation.messages)
    starts = len(passed)
    return (
        f"BAD completes {tasks} of {tasks} here{f', in {starts} starts' if starts > 1 else ''}: excluded at 95 % is a "
        f"failure rate above {_percent(bound_of_passes(tasks))} per task where each fails on its own, and above "
        f"{_percent(bound_of_passes(starts))} per start where a start goes wrong as a whole."
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.0f} %" if rate >= 0.02 else f"{100 * rate:.1f} %"
