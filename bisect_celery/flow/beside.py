"""The commits that were skipped, sorted: which ran and failed differently, and whether that hides the culprit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bisect_celery.core.masked import masked
from bisect_celery.flow.trials import Trials
from bisect_celery.model import Masked, Revision, Symptom, Verdict


@dataclass(frozen=True)
class Beside:
    """What skipped commits showed: `failing` are the shas of those that failed differently, `shown` how, by sha."""

    skipped: tuple[Revision, ...]
    failing: frozenset[str]
    shown: Mapping[str, Symptom]
    parents: Mapping[str, Sequence[str]]

    def masked(self, first: Revision, left: Sequence[Revision]) -> Masked | None:
        """Of the commits that are `left`, the first that shows the failure among them, whether others hide it."""
        before = [one for one in left if one.sha != first.sha]
        return masked(first, before, self.parents, self.failing, self.skipped)


def beside(trials: Trials, skipped: Sequence[Revision], parents: Mapping[str, Sequence[str]]) -> Beside:
    """What was made of them in any start of theirs. `parents`: of all commits between the ends, by sha."""
    by_label = {one.short: one.sha for one in skipped}
    shown: dict[str, Symptom] = {}
    for judged in trials.judged:
        sha = by_label.get(judged.trial.tree.label)
        if sha is not None and judged.judgement.verdict is Verdict.SKIP and trials.fails_differently(judged):
            shown[sha] = judged.judgement.symptom
    return Beside(tuple(skipped), frozenset(shown), shown, parents)
