"""The hunt: both ends, git's own bisection over the commits between them, and every parent of what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Listener, Remaining
from bisect_celery.flow.trials import WAITING, Trials, boot_timed_out
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Judged, Request, Revision, Skipped, Verdict
from bisect_celery.repo.bisect import Found
from bisect_celery.repo.private import PrivateRepository

# How many commits are tried, back from a culprit whose parent cannot be judged, to find what works.
MOST_BEFORE = 8


@dataclass(frozen=True)
class Hunted:
    """What the bisection found. Exactly one of `culprit` and `candidates` says something, unless all is none.

    `bad_parents` are parents of the culprit that fail themselves: then the bug is older than GOOD on a side
    branch. `unsure_parents` are those that could not be judged, and what stands before them as long as that cannot
    either, ancestors first. `first`: of the candidates the one that shows the failure. `doubts` are sentences about
    what could not be made sure.
    """

    culprit: Revision | None
    candidates: tuple[Revision, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    bad_parents: tuple[Revision, ...] = ()
    unsure_parents: tuple[Revision, ...] = ()
    merge_base_bad: bool = False
    outside_paths: bool = False
    log: str = ""
    doubts: tuple[str, ...] = ()
    first: Revision | None = None


class Hunt:
    """Commit search. The session's thread runs it; git chooses, the trials answer."""

    def __init__(
        self, repository: PrivateRepository, trials: Trials, request: Request, cancel: Token, listener: Listener
    ) -> None:
        self._repository, self._trials, self._request = repository, trials, request
        self._cancel, self._listener = cancel, listener
        self.answers: dict[str, Judged] = {}  # by sha: the judgements that git was answered with
        self._good: list[Revision] = []
        self._bad: Revision | None = None

    def run(self, good: Revision, bad: Revision, known: dict[str, Judged]) -> Hunted:
        """`known` are the ends' judgements by sha. Raises BudgetSpent, InfraError, Cancelled."""
        self.answers.update(known)
        self._ends = (good, bad)
        found = self._bisect(good, bad)
        if found.merge_base_bad or found.first_bad is None or self._fails_again(found.first_bad):
            return self._hunted(found)
        return Hunted(None, self.suspects(), log=found.log, doubts=(self._doubt(found.first_bad),))

    def _bisect(self, good: Revision, bad: Revision) -> Found:
        """Git's whole search; answers that are known are given without a trial."""
        self._good, self._bad = [good], bad
        return self._repository.bisect(
            good,
            bad,
            paths=self._request.paths,
            first_parent=self._request.first_parent,
            answer=self._answer,
            cancel=self._cancel,
            on_step=self._on_step,
        )

    def _hunted(self, found: Found) -> Hunted:
        if found.merge_base_bad or found.first_bad is None:
            return Hunted(
                None,
                found.candidates,
                self._skipped(found.skipped),
                merge_base_bad=found.merge_base_bad,
                outside_paths=found.outside_paths,
                log=found.log,
                first=None if found.outside_paths else self._first(found.candidates),
            )
        culprit = found.first_bad
        bad_parents, unsure = self._parents(culprit)
        skipped = self._skipped((*unsure, *found.skipped))
        if not bad_parents and not unsure and changes_nothing(culprit, self._repository.parents(culprit)):
            told = (
                f"{culprit.short} failed in the search and changes no file: trials of one tree contradict each other."
            )
            return Hunted(None, self.suspects(), skipped, log=found.log, doubts=(told,))
        if bad_parents and self._request.paths:
            return Hunted(None, bad_parents, skipped, outside_paths=True, log=found.log)
        return Hunted(culprit, (), skipped, bad_parents, unsure, log=found.log, first=culprit)

    def _skipped(self, revisions: Iterable[Revision]) -> tuple[Skipped, ...]:
        return tuple(Skipped(revision, self._reason(revision)) for revision in dict.fromkeys(revisions))

    def _first(self, candidates: tuple[Revision, ...]) -> Revision | None:
        """The candidate that failed; the others were skipped."""
        failed = [one for one in candidates if self._verdict(one) is Verdict.BAD]
        return failed[0] if len(failed) == 1 else None

    def _verdict(self, revision: Revision) -> Verdict | None:
        judged = self.answers.get(revision.sha)
        return judged.judgement.verdict if judged is not None else None

    def _answer(self, revision: Revision) -> Verdict:
        """What the predicate says to git for one revision."""
        judged = self.answers.get(revision.sha) or self._trials.settled(as_tree(revision), "search")
        self.answers[revision.sha] = judged
        verdict = judged.judgement.verdict
        if verdict is Verdict.GOOD:
            self._good.append(revision)
        elif verdict is Verdict.BAD:
            self._bad = revision  # git only asks for ancestors of what it knows to be bad
        return verdict

    def suspects(self) -> tuple[Revision, ...]:
        """The commits that can still be the first bad one, for a search that was cut short."""
        if self._bad is None:
            return ()
        return self._repository.suspects(self._good, self._bad, self._request.paths, self._request.first_parent)

    def _on_step(self, left: int, steps: int) -> None:
        each = self._trials.seconds_each()
        self._listener(Remaining("search", left, steps, each * steps if each else None))

    def _reason(self, revision: Revision) -> str:
        judged = self.answers.get(revision.sha)
        return f"{judged.judgement.symptom}: {judged.judgement.rule}" if judged else "not tried"

    def _fails_again(self, culprit: Revision) -> bool:
        """A silence that becomes git's final bad is listened to once more, at twice the deadline (DESIGN 17).

        If it was none, trials of one commit contradict each other, and git's answers may all be luck.
        """
        judged = self.answers.get(culprit.sha)
        silent = judged is None or judged.judgement.symptom.kind in WAITING or boot_timed_out(judged.trial.observation)
        if not silent:
            return True
        doubled = self._trials.terms.deadlines.doubled()
        self.answers[culprit.sha] = self._trials.settled(as_tree(culprit), "confirm", deadlines=doubled)
        return self.answers[culprit.sha].judgement.verdict is Verdict.BAD

    def _doubt(self, culprit: Revision) -> str:
        now = self.answers[culprit.sha].judgement.symptom
        return f"{culprit.short} failed in the search, and at twice the deadline it showed {now}."

    def _parents(self, culprit: Revision) -> tuple[tuple[Revision, ...], tuple[Revision, ...]]:
        """(bad, unsure) parents: git need not have tried a parent that lies outside the range (DESIGN 5).

        What cannot be judged is passed by, to what stands before it: it may have begun anywhere up to what works.
        """
        verdicts: dict[Revision, Verdict] = {}
        row, inside = self._parents_of(culprit), self._inside()
        while row and len(verdicts) < MOST_BEFORE + len(culprit.parents):
            parent = row.pop(0)
            if parent in verdicts:
                continue
            judged = self.answers.get(parent.sha) or self._trials.settled(as_tree(parent), "search")
            self.answers[parent.sha] = judged
            verdicts[parent] = judged.judgement.verdict
            if judged.judgement.verdict is Verdict.SKIP and parent.sha in inside:
                row += self._parents_of(parent)
        bad = [one for one, verdict in verdicts.items() if verdict is Verdict.BAD]
        unsure = [one for one, verdict in verdicts.items() if verdict is Verdict.SKIP]
        unsure += [one for one in dict.fromkeys(row) if one not in verdicts]  # enough were tried: it goes on there
        return tuple(bad), tuple(reversed(unsure))

    def _parents_of(self, revision: Revision) -> list[Revision]:
        """Where only first parents are followed, what came in by the others is the merge's own."""
        parents = self._repository.parents(revision)
        return list(parents[:1] if self._request.first_parent else parents)

    def _inside(self) -> frozenset[str]:
        good, bad = self._ends
        return frozenset(self._repository.between(good, bad, self._request.first_parent))


def changes_nothing(revision: Revision, parents: Iterable[Revision]) -> bool:
    """Whether its tree is a parent's own: then it brings nothing that this parent does not show."""
    return any(parent.tree == revision.tree for parent in parents)
