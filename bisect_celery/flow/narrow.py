"""From the guilty commit to the smallest change that breaks and the smallest that cures, then confirmed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bisect_celery.core.closure import Requirements, composer, requirements
from bisect_celery.core.isolate import Isolation, Outcome, Question, isolate, spell
from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Listener, Remaining
from bisect_celery.flow.trials import BudgetSpent, Trials
from bisect_celery.model import Atom, Culprit, Judged, Revision, Tally, Tree, Verdict
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.trees import PatchDoesNotApply

ROUNDS = 3
_OUTCOMES = {Verdict.GOOD: Outcome.PASS, Verdict.BAD: Outcome.FAIL, Verdict.SKIP: Outcome.UNRESOLVED}


@dataclass(frozen=True)
class Taken:
    """A commit taken apart: its atoms, and the parent's tree on which subsets of them are composed."""

    culprit: Revision
    parent: Revision | None
    base: str
    atoms: tuple[Atom, ...]

    def of(self, numbers: Iterable[int]) -> tuple[Atom, ...]:
        wanted = frozenset(numbers)
        return tuple(atom for atom in self.atoms if atom.number in wanted)


class Narrow:
    """Narrowing of one culprit. The session's thread runs it; every question becomes a tree and a trial."""

    def __init__(self, repository: PrivateRepository, trials: Trials, listener: Listener) -> None:
        self._repository, self._trials, self._listener = repository, trials, listener

    def run(self, culprit: Revision, parents: tuple[Revision, ...]) -> Culprit:
        """`parents` are all good. Raises BudgetSpent, InfraError, Cancelled."""
        self._trials.hold_to(as_tree(culprit))
        taken = self._take_apart(culprit, parents)
        if not taken.atoms:
            return Culprit(culprit, caveats=("The culprit changes no file: what differs is not in the repository.",))
        found = self._isolate(taken)
        return self._with_patch(taken, found, parents)

    def _take_apart(self, culprit: Revision, parents: tuple[Revision, ...]) -> Taken:
        parent = parents[0] if parents else None
        atoms = self._repository.atoms(parent, culprit)
        base = parent.tree if parent else self._repository.empty_tree()
        return Taken(culprit, parent, base, atoms)

    # --- the search ---------------------------------------------------------------------------------

    def _isolate(self, taken: Taken) -> Isolation:
        numbers = [atom.number for atom in taken.atoms]
        needs = self._read(taken)
        search = isolate(
            numbers,
            needs.requires,
            removal=needs.removal,
            groups={atom.number: atom.path for atom in taken.atoms},
            weights=weights(taken.atoms),
            static=needs.static,
        )
        try:
            batch = next(search)
            while True:
                batch = search.send(self._answers(taken, batch))
        except StopIteration as stop:
            isolation: Isolation = stop.value
            return isolation

    def _answers(self, taken: Taken, batch: tuple[Question, ...]) -> list[Outcome | None]:
        """An outcome a question; only None once the budget is spent, so that the search ends with what it has."""
        try:
            return [self._ask(taken, question) for question in batch]
        except BudgetSpent:
            return [None] * len(batch)

    def _read(self, taken: Taken) -> Requirements:
        """What static reading says of the atoms; everything is fetched once and composed in memory."""
        python = [path for path in self._repository.files(taken.base) if path.endswith(".py")]
        entries, blobs = self._repository.material(taken.base, taken.atoms)
        parent = self._repository.read_many(taken.base, python)
        return requirements(taken.atoms, parent, composer(taken.atoms, entries, blobs))

    def _ask(self, taken: Taken, question: Question) -> Outcome:
        steps = len(taken.atoms).bit_length() + 2
        each = self._trials.seconds_each()
        self._listener(Remaining("narrow", len(taken.atoms), steps, each * steps if each else None))
        tree = self._compose(taken, question.applied, question.why)
        return _OUTCOMES[self._trials.settled(tree, "narrow").judgement.verdict]

    def _compose(self, taken: Taken, numbers: Iterable[int], why: str) -> Tree:
        sha = self._repository.compose(taken.base, taken.of(numbers))
        return Tree(sha, f"{taken.culprit.short} {label(taken, frozenset(numbers))}", why)

    # --- the answer -----------------------------------------------------------------------------------

    def _with_patch(self, taken: Taken, found: Isolation, parents: tuple[Revision, ...]) -> Culprit:
        everything = frozenset(atom.number for atom in taken.atoms)
        cause_tree = self._compose(taken, found.cause, "minimal cause")
        fixed_tree = self._compose(taken, everything - found.fix, "culprit without the cause")
        patch = self._patch(taken, fixed_tree) if found.fix_proven else ""
        caveats = list(found.caveats)
        if found.fix_proven and not patch:
            caveats.append("The fix does not apply as a patch.")
        if len(parents) > 1:
            caveats.append("The culprit is a merge: its atoms were taken against its first parent.")
        if not parents:
            caveats.append("The culprit has no parent: nothing before it was tried.")
        return Culprit(
            revision=taken.culprit,
            cause=taken.of(found.cause) if found.cause_proven else (),
            fix=taken.of(found.fix) if found.fix_proven else (),
            cause_tree=cause_tree.sha if found.cause_proven else None,
            fixed_tree=fixed_tree.sha if found.fix_proven else None,
            patch=patch,
            confirmation=self._confirm(taken, found, parents, cause_tree, fixed_tree),
            caveats=tuple(caveats),
        )

    def _patch(self, taken: Taken, fixed: Tree) -> str:
        """The fix as a patch that the real `git apply` made the fixed tree of; empty when it does not."""
        patch = self._repository.reverse_patch(taken.culprit, fixed.sha)
        try:
            return patch if self._repository.try_patch(taken.culprit, patch) == fixed.sha else ""
        except PatchDoesNotApply:
            return ""

    # --- confirmation ----------------------------------------------------------------------------------

    def _confirm(
        self,
        taken: Taken,
        found: Isolation,
        parents: tuple[Revision, ...],
        cause_tree: Tree,
        fixed_tree: Tree,
    ) -> tuple[Tally, ...]:
        """Three rounds of all that is claimed, alternating, so that drift shows (DESIGN 27); fewer if time runs out."""
        claims = [Tally(f"parent {parent.short}", as_tree(parent)) for parent in parents]
        claims.append(Tally(f"culprit {taken.culprit.short}", as_tree(taken.culprit), should_fail=True))
        if found.cause_proven:
            claims.append(Tally("parent with the minimal cause alone", cause_tree, should_fail=True))
        if found.fix_proven:
            claims.append(Tally("culprit without the cause", fixed_tree))
        with contextlib.suppress(BudgetSpent):
            for turn in range(ROUNDS):
                for position, claim in enumerate(claims):
                    self._progress((ROUNDS - turn) * len(claims) - position)
                    claims[position] = counted(claim, self._once_more(claim))
        return tuple(claims)

    def _once_more(self, claim: Tally) -> Judged:
        """One trial of a claim; what should work is given all the time there is before it is called stuck."""
        deadlines = self._trials.terms.deadlines
        patient = deadlines if claim.should_fail else replace(deadlines, quick=None)
        return self._trials.settled(claim.tree, "confirm", deadlines=patient)

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


def unfinished(culprit: Culprit) -> bool:
    """Whether time ran out before everything was confirmed as often as it should be."""
    return any(row.tried < ROUNDS for row in culprit.confirmation)


def contradictions(culprit: Culprit) -> tuple[str, ...]:
    """What the confirmation says against the search; empty when every count is as claimed."""
    return tuple(
        f"{row.name}: failed {row.failed} of {row.tried}" + (f", {row.other} unclear" if row.other else "")
        for row in culprit.confirmation
        if row.other or row.failed != (row.tried if row.should_fail else 0)
    )


def weights(atoms: tuple[Atom, ...]) -> dict[int, float]:
    """How likely each atom is to be guilty: what cannot change behaviour at all is asked last, nothing is left out."""
    return {atom.number: 0.2 if is_idle(atom) else 1.0 for atom in atoms}


def is_idle(atom: Atom) -> bool:
    """Only comments, blank lines, or a file that is not code."""
    if atom.path.endswith((".md", ".rst", ".txt")) and "requirements" not in atom.path:
        return True
    changed = [line[1:].strip() for line in atom.lines]
    return bool(changed) and all(not line or line.startswith("#") for line in changed) and atom.edit is not None


def label(taken: Taken, numbers: frozenset[int]) -> str:
    """`with atom 3 only` or `minus atom 3`, whichever is shorter to say."""
    everything = frozenset(atom.number for atom in taken.atoms)
    missing = everything - numbers
    if not missing:
        return "whole"
    if len(missing) <= len(numbers):
        return f"minus {spell(missing)}"
    return f"with {spell(numbers)} only" if numbers else "with nothing"
