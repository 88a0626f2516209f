"""Every way an incident can end: what is said, advised and kept of it. What is found out is `flow.incident`'s part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

from bisect_celery.flow.beside import Beside, beside
from bisect_celery.flow.confirm import unfinished
from bisect_celery.flow.hunt import Hunted
from bisect_celery.flow.session import Room, now
from bisect_celery.flow.start_line import StartLines, with_caveat
from bisect_celery.flow.sweep import EARLIER, REQUEST
from bisect_celery.flow.tell import (
    any_says,
    headline,
    likeliest,
    masked_says,
    no_match_any,
    not_apart,
    not_tested,
    passed_over,
)
from bisect_celery.flow.trials import Trials
from bisect_celery.flow.weigh import Weigh, Weighed
from bisect_celery.model import Culprit, Judged, Match, Outcome, Revision, Skipped


class Endings:
    """How the session of a room ends, once. Known on the way: its `trials`, the start `lines` where they differ, and
    the `answers` that git was given, by sha."""

    def __init__(self, room: Room, good: Revision, bad: Revision) -> None:
        self._room, self._good, self._bad = room, good, bad
        self.trials: Trials | None = None
        self.lines: StartLines | None = None
        self.answers: Mapping[str, Judged] = {}

    def forget_private(self) -> None:
        """What only going on needs: values of variables, raw messages."""
        (self._room.folder / REQUEST).unlink(missing_ok=True)
        shutil.rmtree(self._room.folder / EARLIER, ignore_errors=True)

    def end(
        self,
        outcome: Outcome,
        headline: str,
        *,
        advice: tuple[str, ...] = (),
        candidates: tuple[Revision, ...] = (),
    ) -> None:
        """Keep the outcome and its words, redacted; what only going on needs goes, where nothing can go on."""
        clean: Callable[[str], str] = self._room.redactor
        self._room.save(
            outcome=outcome,
            headline=clean(headline),
            advice=tuple(clean(text) for text in advice),
            candidates=candidates,
            finished_at=now(),
            not_tested=self._not_tested(),
        )
        can_go_on = outcome in (Outcome.INFRA, Outcome.INTERRUPTED) or self.more_time() in advice
        if not can_go_on:
            self.forget_private()

    def _not_tested(self) -> tuple[str, ...]:
        line = (self.lines.not_tested(),) if self.lines is not None else ()
        said = (*line, *not_tested(self._room.request, self._room.session))
        return tuple(self._room.redactor(text) for text in said)

    def more_time(self) -> str:
        """The advice after which a session can go on, as `end` knows."""
        more = f"--budget {2 * self._room.request.budget:g}"
        return f"Go on with more: `bisect-celery resume {self._room.session.id} {more}` (minutes in all)."

    def go_on(self) -> str:
        return f"Go on: `bisect-celery resume {self._room.session.id}`."

    # --- with a culprit, and without --------------------------------------------------------------------

    def with_culprit(self, found: Culprit, probability: float = 1.0) -> None:
        """What was found and is not contradicted; `probability` is how sure the search was of the commit."""
        culprit = found.revision
        found = with_caveat(self.lines, self._room, found)
        self._room.save(culprit=found)
        if unfinished(found):
            sure = f" ({probability:.0%} sure)" if probability < 1 else ""
            self.end(
                Outcome.COMMIT_ONLY,
                f"{headline(found)}{sure} The budget was spent before all of it was confirmed often enough.",
                advice=(self.more_time(),),
            )
        elif found.cause and found.fix:
            self.end(Outcome.CONFIRMED, headline(found))
        else:
            self.end(Outcome.COMMIT_ONLY, f"{culprit.short} “{culprit.title}” broke it; no smaller cause was proven.")

    def unnamed(self, weigh: Weigh, weighed: Weighed) -> None:
        """The belief search came to nobody."""
        if weighed.merge_base_bad:
            self.without_culprit(Hunted(None, merge_base_bad=True))
        elif weighed.candidates:
            skipped = weigh.skipped()
            tried = [one for one in weighed.candidates if one.sha not in skipped]
            self.among(
                f"{likeliest(weigh)} More trials cannot part them.",
                weighed.candidates,
                tried[0] if len(tried) == 1 else None,
                skipped,
            )
        else:
            self.end(
                Outcome.NO_CULPRIT,
                f"No commit in the range brings it ({weighed.none:.0%} sure): it fails as often before as after them.",
            )

    def without_culprit(self, hunted: Hunted) -> None:
        """A search named nobody, or one whose parents do not work."""
        if hunted.merge_base_bad:
            self.end(
                Outcome.ENDS_WRONG,
                "The merge base of GOOD and BAD fails already: the bug was fixed on GOOD's side, not made on BAD's.",
                advice=("To find the fix, search from the merge base to GOOD for the commit that mended it.",),
            )
        elif hunted.bad_parents:
            parents = ", ".join(parent.short for parent in hunted.bad_parents)
            self.end(
                Outcome.PREDATES_GOOD,
                f"The failure is older than GOOD: it came in by a side branch through {parents}.",
                candidates=hunted.bad_parents,
                advice=(f"Search that branch: `bisect-celery run OLDER-GOOD {hunted.bad_parents[0].short}`.",),
            )
        elif hunted.candidates or hunted.unsure_parents:
            candidates = left_by(hunted)
            names = ", ".join(candidate.short for candidate in candidates)
            told = f"It is one of {names}; the others could not be judged."
            if hunted.outside_paths:
                told = (
                    f"It came with a commit that touches none of {' '.join(self._room.request.paths)}: one of {names}."
                )
            self.among(told, candidates, hunted.first, self.answers)
        else:
            self.end(Outcome.NO_CULPRIT, "No commit in the range breaks it.")

    def among(
        self,
        told: str,
        candidates: tuple[Revision, ...],
        first: Revision | None,
        judged: Mapping[str, Judged],
    ) -> None:
        """Several are left. `first`: the one of them that shows the failure, where one does; `judged` by sha."""
        skipped = self._beside(tuple(one.revision for one in self._room.session.skipped))
        masked = skipped.masked(first, candidates) if first is not None else None
        if masked is None:
            matched = self._room.request.match is Match.ANY
            advice = "" if matched else no_match_any(candidates, judged)
            self.end(Outcome.CANDIDATES, told, candidates=candidates, advice=(advice,) if advice else ())
            return
        self._room.save(masked=masked)
        told = f"{told.replace('; the others could not be judged', '')} {masked_says(masked, skipped.shown)}"
        self.end(Outcome.CANDIDATES, told, candidates=candidates, advice=(any_says(masked), not_apart(masked)))

    def budget_spent(self, weigh: Weigh | None, suspects: tuple[Revision, ...]) -> None:
        """`suspects` can still be the first bad commit; `weigh` is the search, where starts are weighed."""
        known = self._room.session.culprit
        left = suspects if known is None else ()
        outcome = Outcome.COMMIT_ONLY if known else Outcome.CANDIDATES
        if known:
            what = f"{known.revision.short} broke it; its hunks were not all tried"
        elif weigh is not None:
            what = likeliest(weigh)[:-1]
            self._room.save(probabilities=weigh.probabilities(), bisect_log=weigh.log(None))
        else:
            what = f"{len(left)} commits are left"
        self.end(
            outcome,
            f"The budget of {self._room.request.budget:g} minutes is spent: {what}.",
            candidates=left,
            advice=(self.more_time(),),
        )

    # --- who could not be judged ------------------------------------------------------------------------

    def remember_skipped(
        self, skipped: tuple[Skipped, ...], culprit: Revision | None, left: tuple[Revision, ...]
    ) -> None:
        """Keep who could not be judged, and who of them it may have begun with."""
        failing = self._beside(tuple(one.revision for one in skipped)).failing
        self._room.save(skipped=passed_over(skipped, failing, culprit, left))

    def _beside(self, skipped: tuple[Revision, ...]) -> Beside:
        assert self.trials is not None
        between = self._room.repository.between(self._good, self._bad, self._room.request.first_parent)
        return beside(self.trials, skipped, between)


def left_by(hunted: Hunted) -> tuple[Revision, ...]:
    """The commits that a search leaves where it names none, ancestors first."""
    return hunted.candidates or tuple(filter(None, (*hunted.unsure_parents, hunted.culprit)))
