"""Where trials contradict one another: the belief search, narrowing and confirming, until nothing does."""

from __future__ import annotations

from collections.abc import Callable

from bisect_celery.core.judge import Signature
from bisect_celery.flow.confirm import contradictions
from bisect_celery.flow.endings import Endings
from bisect_celery.flow.hunt import Hunted
from bisect_celery.flow.narrow import narrowed, parents_of
from bisect_celery.flow.session import Room
from bisect_celery.flow.tell import headline, likeliest
from bisect_celery.flow.trials import Trials
from bisect_celery.flow.weigh import Weigh, Weighed
from bisect_celery.model import Culprit, Outcome, Revision, Skipped, Tally

# How often a confirmation may contradict the belief search before nobody is named.
MOST_WEIGHED = 4


def measured_apart(room: Room, endings: Endings, why: str, suspects: Callable[[], tuple[Revision, ...]]) -> None:
    """The end where starts are measured: one alone says nothing, so that there a contradiction cannot be weighed."""
    found = room.session.culprit
    if found is not None and not any(_denied(row) for row in found.confirmation):
        told = "Not every start of its confirmation could be told: they differ too much here."
        endings.end(Outcome.COMMIT_ONLY, f"{headline(found)} {told}")
        return
    left = (found.revision,) if found is not None else suspects()
    endings.end(
        Outcome.CANDIDATES, f"{why} Measures that contradict each other name nobody.", candidates=left,
        advice=("A quieter machine, or an `--effect` that stands out from how much starts differ here.",),
    )  # fmt: skip


def _denied(row: Tally) -> bool:
    """Whether a start showed the opposite of what is claimed, and not merely nothing."""
    return row.tried - row.other > row.failed if row.should_fail else row.failed > 0


class Contradicted:
    """The rest of such an incident. `weigh` is its search, once it has begun."""

    def __init__(
        self,
        room: Room,
        trials: Trials,
        endings: Endings,
        good: Revision,
        bad: Revision,
        merge_bases: tuple[Revision, ...],
        signature: Signature | None,
    ) -> None:
        """`signature` is what the bad end showed; `merge_bases` as `Weigh` takes them."""
        self._room, self._trials, self._endings = room, trials, endings
        self._good, self._bad, self._merge_bases = good, bad, merge_bases
        self._signature = signature
        self.weigh: Weigh | None = None

    def run(self, why: str) -> None:
        """Say `why`, and bring the incident to its end. Raises BudgetSpent, InfraError, Cancelled."""
        trials, room = self._trials, self._room
        trials.note(f"{why} From here on every start is evidence, and none is proof.")
        trials.reuse = False
        room.save(culprit=None)  # whatever stops it from here on, what was contradicted is not told
        weigh = self.weigh = Weigh(
            room.repository, trials, room.request, room.listener, self._good, self._bad, self._merge_bases
        )
        for _ in range(MOST_WEIGHED):
            # Narrowing holds to what one commit showed; the search to what the bad end did, or to any failure.
            trials.terms.signature = self._signature
            trials.rejudge()
            room.save(culprit=None)
            if self._ended(weigh):
                return
        weigh.hear()
        room.save(culprit=None, probabilities=weigh.probabilities())
        told = f"Nothing that was found could be confirmed. {likeliest(weigh)}"
        self._endings.end(Outcome.CANDIDATES, told, candidates=weigh.candidates(), advice=(self._endings.more_time(),))

    def _ended(self, weigh: Weigh) -> bool:
        """One search with what it finds narrowed and confirmed; False where the confirmation contradicts it."""
        weighed = weigh.run()
        self._remember(weigh, weighed)
        if weighed.culprit is None or weighed.noise is None:
            self._endings.unnamed(weigh, weighed)
            return True
        found = narrowed(self._room, self._trials, weighed.culprit, weighed.noise)
        wrong = contradictions(found)
        older = weigh.older(found.confirmation)
        if older:
            self._endings.without_culprit(Hunted(weighed.culprit, bad_parents=older))
            return True
        unsure = weigh.unsure(found.confirmation, parents_of(self._room, weighed.culprit))
        if unsure:
            self._end_beside(weighed.culprit, unsure, found)
            return True
        if not wrong:
            self._endings.with_culprit(found, dict(weighed.probabilities)[weighed.culprit.sha])
            return True
        self._trials.note(f"{weighed.culprit.short}: its confirmation contradicts the search: {'; '.join(wrong)}.")
        return False

    def _remember(self, weigh: Weigh, weighed: Weighed) -> None:
        skipped = tuple(
            Skipped(weigh.revision(sha), f"{judged.judgement.symptom}: {judged.judgement.rule}")
            for sha, judged in weigh.skipped().items()
        )
        self._room.save(bisect_log=weigh.log(weighed.culprit), probabilities=weighed.probabilities)
        self._endings.remember_skipped(skipped, weighed.culprit, weighed.candidates)

    def _end_beside(self, culprit: Revision, unsure: tuple[Revision, ...], found: Culprit) -> None:
        """What was found stands on a parent that, when it was to be confirmed, did not work either."""
        why = {row.tree.label: f"in {row.other} of {row.tried} starts it did not work" for row in found.confirmation}
        more = tuple(Skipped(parent, why[parent.short]) for parent in unsure)
        self._room.save(culprit=None)
        self._endings.remember_skipped((*self._room.session.skipped, *more), None, (*unsure, culprit))
        self._endings.without_culprit(Hunted(culprit, unsure_parents=unsure, first=culprit))
