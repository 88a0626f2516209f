"""From the guilty commit to the smallest change that breaks and the smallest that cures, then confirmed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bisect_celery.core.closure import Requirements, composer, requirements
from bisect_celery.core.isolate import Isolation, Outcome, Question, isolate, spell
from bisect_celery.core.repeat import ALPHA, MOST_STARTS, MOST_UNCLEAR, Noise, Starts
from bisect_celery.flow.confirm import CONFIRMING, Confirm, contradictions, unfinished
from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Listener, Note, Remaining
from bisect_celery.flow.how_long import to_take_apart
from bisect_celery.flow.session import Room
from bisect_celery.flow.trials import NEVER_RUNS, BudgetSpent, Trials
from bisect_celery.model import Atom, Culprit, Revision, Tally, Tree, Verdict
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.trees import PatchDoesNotApply

# How often a commit is taken apart anew because its confirmation showed that the failure is rarer than was thought.
MOST_LOOKS = 4
# The chance of a wrong answer to a question on which the size of the cause hangs.
DOUBTED = ALPHA / 20
NOT_LOOKED_AGAIN = "The budget was spent before the search was checked at the rate that the confirmation showed."
PARENT, MERGED = "parent", "parents merged"
NO_PARENT = "The culprit has no parent: nothing before it was tried."
HELPED = "The culprit is a merge that git cannot make alone: its atoms were taken against its first parent."
INTERACTION = (
    "The culprit is a merge of two sides that each work: they fail together. Its atoms are what its first parent lacks."
)
_OUTCOMES = {Verdict.GOOD: Outcome.PASS, Verdict.BAD: Outcome.FAIL, Verdict.SKIP: Outcome.UNRESOLVED}


@dataclass(frozen=True)
class Taken:
    """A commit taken apart: its atoms, and the tree (called `base_name`) on which subsets of them are composed.

    The base is the parent's tree; of a merge what its parents merge to, where that is clean and works.
    """

    culprit: Revision
    base: str
    atoms: tuple[Atom, ...]
    base_name: str = PARENT
    caveat: str | None = None

    def of(self, numbers: Iterable[int]) -> tuple[Atom, ...]:
        wanted = frozenset(numbers)
        return tuple(atom for atom in self.atoms if atom.number in wanted)


def narrowed(room: Room, trials: Trials, culprit: Revision, noise: Noise | None = None) -> Culprit:
    """A commit that was found, narrowed and confirmed, and kept in the session's record before and after."""
    room.save(culprit=Culprit(culprit))
    found = Narrow(room.repository, trials, room.listener, noise).run(culprit, parents_of(room, culprit))
    room.save(culprit=found)
    return found


def parents_of(room: Room, culprit: Revision) -> tuple[Revision, ...]:
    """Those that the search looks at."""
    parents = tuple(room.repository.parents(culprit))
    return parents[:1] if room.request.first_parent else parents


class Narrow:
    """Narrowing of one culprit. The session's thread runs it; every question becomes a tree and a trial."""

    def __init__(
        self, repository: PrivateRepository, trials: Trials, listener: Listener, noise: Noise | None = None
    ) -> None:
        """`noise` is what commits showed with and without an intermittent failure; None: it comes every time."""
        self._repository, self._trials, self._listener, self._noise = repository, trials, listener, noise
        self._confirm = Confirm(trials, listener, noise)
        self._spent = False
        self._doubted: set[str] = set()

    def run(self, culprit: Revision, parents: tuple[Revision, ...]) -> Culprit:
        """`parents` are all good. Raises BudgetSpent, InfraError, Cancelled."""
        self._trials.hold_to(as_tree(culprit))
        taken = self._take_apart(culprit, parents)
        if not taken.atoms:
            return Culprit(culprit, caveats=("The culprit changes no file: what differs is not in the repository.",))
        self._say_how_long(len(taken.atoms))
        found = self._isolate(taken)
        confirmed = self._with_patch(taken, found, parents)
        for _ in range(MOST_LOOKS if self._noise is not None else 0):
            if contradictions(confirmed) or unfinished(confirmed):
                break
            # The confirmation knows the rate better than the search did: is every answer still sure enough?
            self._noise = self._confirm.noise(confirmed.confirmation, culprit.tree)
            self._doubt(taken, found)
            again = self._isolate(taken)
            if self._spent:
                return replace(confirmed, caveats=(*confirmed.caveats, NOT_LOOKED_AGAIN))
            if (again.cause, again.fix) == (found.cause, found.fix):
                return replace(confirmed, caveats=self._caveats(taken, again, confirmed.patch))
            found = again
            confirmed = self._with_patch(taken, found, parents)
        return confirmed

    def _say_how_long(self, changes: int) -> None:
        each = self._trials.seconds_each() or 0.0
        known = self._trials.to_replay() - CONFIRMING
        if (told := to_take_apart(changes, known, each, self._trials.seconds_left())) is not None:
            self._listener(Note(told))

    def _doubt(self, taken: Taken, found: Isolation) -> None:
        """A cause of several atoms stands on passes of its parts, and one false pass makes it too large: ask them more.

        A cause of one atom, and every fix, stand on a failure and on what is confirmed anyway.
        """
        for atom in found.cause if len(found.cause) > 1 else ():
            self._doubted.add(self._compose(taken, found.cause - {atom}, "a part of the cause").sha)

    def _take_apart(self, culprit: Revision, parents: tuple[Revision, ...]) -> Taken:
        if not parents:
            taken = Taken(culprit, self._repository.empty_tree(), (), caveat=NO_PARENT)
        elif len(parents) == 1:
            taken = Taken(culprit, parents[0].tree, ())
        else:
            taken = self._of_merge(culprit, parents[0])
        return replace(taken, atoms=self._repository.atoms_between(taken.base, culprit.tree))

    def _of_merge(self, culprit: Revision, first: Revision) -> Taken:
        """What a merge adds to merging is its own; if merging alone fails, it is an interaction of its sides."""
        merged = self._repository.merged(culprit)
        if merged is None:
            return Taken(culprit, first.tree, (), caveat=HELPED)
        if merged == culprit.tree:
            return Taken(culprit, first.tree, (), caveat=INTERACTION)
        tree = Tree(merged, f"{culprit.short} {MERGED}", "what the merge's parents make together")
        if self._outcome(tree) is not Outcome.PASS:
            return Taken(culprit, first.tree, (), caveat=INTERACTION)
        return Taken(culprit, merged, (), MERGED)

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
            learn=needs.learn,
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
            self._spent = True
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
        return self._outcome(self._compose(taken, question.applied, question.why))

    def _outcome(self, tree: Tree) -> Outcome:
        if self._noise is not None:
            return self._repeatedly(tree, self._noise)
        return _OUTCOMES[self._trials.settled(tree, "narrow").judgement.verdict]

    def _repeatedly(self, tree: Tree, noise: Noise) -> Outcome:
        """One pass says little of an intermittent failure: asked until the answer is sure enough.

        Every start of this tree counts, whoever asked for it: what a confirmation contradicted is answered better.
        """
        while True:
            seen = [one for one in self._trials.starts() if one.trial.tree.sha == tree.sha]
            starts = Starts.of(one.judgement.verdict for one in seen)
            answer = noise.answer(starts, DOUBTED if tree.sha in self._doubted else ALPHA)
            if answer is not None:
                return Outcome.FAIL if answer else Outcome.PASS
            never = any(one.judgement.symptom.kind in NEVER_RUNS for one in seen)
            if never or starts.unclear >= MOST_UNCLEAR or starts.tried >= MOST_STARTS:
                return Outcome.UNRESOLVED
            self._trials.settled(tree, "narrow")

    def _compose(self, taken: Taken, numbers: Iterable[int], why: str) -> Tree:
        sha = self._repository.compose(taken.base, taken.of(numbers))
        return Tree(sha, f"{taken.culprit.short} {label(taken, frozenset(numbers))}", why)

    # --- the answer -----------------------------------------------------------------------------------

    def _with_patch(self, taken: Taken, found: Isolation, parents: tuple[Revision, ...]) -> Culprit:
        everything = frozenset(atom.number for atom in taken.atoms)
        cause_tree = self._compose(taken, found.cause, "minimal cause")
        fixed_tree = self._compose(taken, everything - found.fix, "culprit without the cause")
        patch = self._patch(taken, fixed_tree) if found.fix_proven else ""
        rows = self._confirm.run(self._claims(taken, found, parents, cause_tree, fixed_tree), taken.culprit.tree)
        return Culprit(
            revision=taken.culprit,
            cause=taken.of(found.cause) if found.cause_proven else (),
            fix=taken.of(found.fix) if found.fix_proven else (),
            cause_tree=cause_tree.sha if found.cause_proven else None,
            fixed_tree=fixed_tree.sha if found.fix_proven else None,
            patch=patch,
            confirmation=rows,
            caveats=self._caveats(taken, found, patch),
        )

    def _caveats(self, taken: Taken, found: Isolation, patch: str) -> tuple[str, ...]:
        caveats = list(found.caveats)
        if found.fix_proven and not patch:
            caveats.append("The fix does not apply as a patch.")
        if taken.caveat:
            caveats.append(taken.caveat)
        if self._noise is not None:
            caveats.append(
                "The failure is intermittent: what is said to work passed until luck was less likely than "
                f"{100 * ALPHA:g} %."
            )
        return tuple(caveats)

    def _patch(self, taken: Taken, fixed: Tree) -> str:
        """The fix as a patch that the real `git apply` made the fixed tree of; empty when it does not."""
        patch = self._repository.reverse_patch(taken.culprit, fixed.sha)
        try:
            return patch if self._repository.try_patch(taken.culprit, patch) == fixed.sha else ""
        except PatchDoesNotApply:
            return ""

    def _claims(
        self,
        taken: Taken,
        found: Isolation,
        parents: tuple[Revision, ...],
        cause_tree: Tree,
        fixed_tree: Tree,
    ) -> tuple[Tally, ...]:
        claims = [Tally(f"parent {parent.short}", as_tree(parent)) for parent in parents]
        if taken.base_name == MERGED:
            claims.append(Tally(MERGED, Tree(taken.base, f"{taken.culprit.short} {MERGED}")))
        claims.append(Tally(f"culprit {taken.culprit.short}", as_tree(taken.culprit), should_fail=True))
        if found.cause_proven:
            claims.append(Tally(f"{taken.base_name} with the minimal cause alone", cause_tree, should_fail=True))
        if found.fix_proven:
            claims.append(Tally("culprit without the cause", fixed_tree))
        return tuple(claims)


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
