"""Which atoms of a commit break it: a search that asks questions and never runs anything itself.

`isolate` is a generator. It yields batches of questions ("does the parent with these atoms fail?"), is sent
what came out, and returns an `Isolation`: the smallest set seen to break the parent, the smallest set whose
removal was seen to cure the culprit, and what was not proven. Nothing is concluded from monotony that was
not also seen: monotony only chooses what to ask.

Sources: delta debugging with three outcomes is Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", IEEE TSE 28(2), 2002; that another failure than the one looked for is UNRESOLVED, and
that changes should be grouped and joined by the identifiers they share, is Zeller, "Why Programs Fail",
ch. 13. Searching closed prefixes with progression comes from QuickXplain (Junker, AAAI 2004). quilt-bisect's
README warns that dependencies loaded along can hide the real culprit: hence minimality is tried inside them too.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bisect_celery.core import cuts
from bisect_celery.core.edges import Edges, closure, dependents, transitive, turned, units

Atoms = frozenset[int]
NOTHING: Atoms = frozenset()
PATIENCE = 3  # unresolved cuts before an interval is left to ddmin; measured: 1 to 3 cost the same, more cost more


class Outcome(enum.StrEnum):
    """What a trial of a composed tree said. FAIL is the same symptom as the culprit's; UNRESOLVED anything else."""

    PASS = "pass"
    FAIL = "fail"
    UNRESOLVED = "unresolved"


class Static(enum.StrEnum):
    """What can be said of a set of applied atoms without a trial. INVALID is never tried, DOUBTFUL put off."""

    CLEAN = "clean"
    DOUBTFUL = "doubtful"
    INVALID = "invalid"


@dataclass(frozen=True)
class Question:
    """Try the parent with `applied` on it. `why` says it to a person: "atoms 1-4 of 13 on the parent".

    `cut` marks one of several nested cuts of a round: it is moot as soon as a larger one of the round passed
    or a smaller one failed (see `moot`), and may then be cancelled and answered with None.
    """

    applied: Atoms
    why: str
    cut: bool = False


@dataclass(frozen=True)
class Isolation:
    """What the search found; every set holds atom numbers.

    `cause`: parent + cause was seen to FAIL (`cause_proven`; else it is the whole commit, which is known to).
    `cause_minimal`: each leave-one-out of it was tried and none FAILs; `needed` are those of its atoms without
    which the outcome was UNRESOLVED, so that only their presence, not their guilt, is shown. `fix`: the culprit
    without it was seen to PASS (`fix_proven`; else it is the whole commit); `fix_minimal` and `fix_needed` as
    for the cause, with putting back in place of leaving out. `pair` are the closest sets seen, the first
    PASSing, the second, a superset, FAILing. `caveats` are sentences for the report. `asked` counts trials,
    `pruned` sets known to be invalid without one; `outcomes` is everything seen, in order.
    """

    cause: Atoms
    cause_proven: bool
    cause_minimal: bool
    needed: Atoms
    fix: Atoms
    fix_proven: bool
    fix_minimal: bool
    fix_needed: Atoms
    pair: tuple[Atoms, Atoms]
    caveats: tuple[str, ...]
    asked: int
    pruned: int
    outcomes: tuple[tuple[Atoms, Outcome], ...]

    @property
    def interval(self) -> Atoms:
        """The atoms between the closest PASSing and FAILing sets."""
        return self.pair[1] - self.pair[0]


Answers = Sequence[Outcome | None]
T = TypeVar("T")
Steps = Generator[tuple[Question, ...], Answers, T]


def moot(question: Question, answered: Iterable[tuple[Question, Outcome]]) -> bool:
    """Whether the round no longer needs `question`, given what other questions of the same round said."""
    return question.cut and any(
        (outcome is Outcome.PASS and question.applied < other.applied)
        or (outcome is Outcome.FAIL and other.applied < question.applied)
        for other, outcome in answered
        if other.cut
    )


def isolate(
    atoms: Sequence[int],
    requires: Mapping[int, frozenset[int]],
    *,
    removal: Mapping[int, frozenset[int]] | None = None,
    groups: Mapping[int, str] | None = None,
    weights: Mapping[int, float] | None = None,
    static: Callable[[Atoms], Static] | None = None,
    learn: Callable[[Atoms], bool] | None = None,
    slots: int = 1,
    budget: int | None = None,
    pass_cost: float = 1.0,
    fail_cost: float = 1.0,
) -> Steps[Isolation]:
    """Search `atoms`, given in the order of the diff, for the cause and the fix.

    The ends are known and never asked: no atom applied PASSes, all applied FAIL. `requires[a]` are atoms that
    should be applied whenever `a` is: the search keeps to them, and tries in the end to do without.
    `removal[a]` are atoms that should go when `a` goes, beside those that require it.
    Hints for where to cut only: `groups` names each atom's file, `weights` how likely each is to be guilty
    (default 1). `static` judges a set without a trial; `learn` is told of each that turned out UNRESOLVED, and returns
    whether `static` judges otherwise from now on.

    Yields at most `slots` questions at a time and wants their outcomes sent in the same order; None for a
    question that was cancelled because it was moot. A batch answered with nothing but None means that the
    time is up: the search ends with what it has. `budget` is the largest number of questions, one of them
    kept for the culprit without the cause. Costs are the times of a passing and a failing trial, in any unit.
    Raises ValueError without atoms, with a slot too few, or for answers that do not match the batch.
    """
    if not atoms or slots < 1:
        raise ValueError("isolate needs at least one atom and one slot")
    everything = frozenset(atoms)
    forward = transitive(everything, requires)
    back = transitive(everything, turned(forward), removal or {})
    ledger = _Ledger(everything, slots, budget, static, learn)
    search = _Search(
        ledger,
        _Side(everything, Outcome.FAIL, Outcome.PASS, forward, tuple(units(atoms, forward))),
        # Removed from the end, what stays is a beginning of the diff, a third as often broken as an end of it.
        _Side(everything, Outcome.PASS, Outcome.FAIL, back, tuple(units(atoms[::-1], back))),
        {Outcome.PASS: pass_cost, Outcome.FAIL: fail_cost},
        groups or {},
        weights or {},
    )
    return (yield from search.run())


def spell(atoms: Iterable[int]) -> str:
    """Atom numbers for a person: "atom 7", "atoms 1-4, 9"."""
    numbers = sorted(atoms)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"{'atom' if len(numbers) == 1 else 'atoms'} {text}"


@dataclass(frozen=True)
class _Side:
    """The search seen from one end: from the parent atoms are applied until it FAILs, from the culprit removed
    until it PASSes. `moved` sets are counted from that end; `row` is the order in which they are moved."""

    everything: Atoms
    wanted: Outcome
    near: Outcome
    edges: Edges
    row: tuple[Atoms, ...]

    def applied(self, moved: Atoms) -> Atoms:
        return moved if self.wanted is Outcome.FAIL else self.everything - moved

    def question(self, moved: Atoms, cut: bool = False) -> Question:
        total = len(self.everything)
        if self.wanted is Outcome.FAIL:
            why = f"{spell(moved)} of {total} on the parent"
        else:
            why = f"culprit without {spell(moved)} of {total}"
        return Question(self.applied(moved), why, cut)


class _Spent(Exception):
    """No more questions may be asked."""


class _Ledger:
    """What was asked and answered. Asks nothing twice, and nothing that is known to be no program."""

    def __init__(
        self,
        everything: Atoms,
        slots: int,
        budget: int | None,
        static: Callable[[Atoms], Static] | None,
        learn: Callable[[Atoms], bool] | None = None,
    ) -> None:
        self.slots = slots
        self.budget = budget
        self.reserve = 0
        self.asked = 0
        self.seen: dict[Atoms, Outcome] = {NOTHING: Outcome.PASS, everything: Outcome.FAIL}
        self.pruned: set[Atoms] = set()
        self._static, self._learn = static, learn
        self._ends: dict[Atoms, Static] = {NOTHING: Static.CLEAN, everything: Static.CLEAN}
        self._judged = dict(self._ends)

    def judge(self, applied: Atoms) -> Static:
        if applied not in self._judged:
            self._judged[applied] = self._static(applied) if self._static else Static.CLEAN
        return self._judged[applied]

    def outcome(self, applied: Atoms) -> Outcome | None:
        """What is known of a set; invalid ones count as UNRESOLVED without being asked."""
        if applied not in self.seen and self.judge(applied) is Static.INVALID:
            self.pruned.add(applied)
            return Outcome.UNRESOLVED
        return self.seen.get(applied)

    def ask(self, questions: Iterable[Question]) -> Steps[None]:
        """One round of those of `questions` that are open, at most one a slot. Raises _Spent."""
        batch: dict[Atoms, Question] = {}
        for question in questions:
            if len(batch) < self._room() and self.outcome(question.applied) is None:
                batch.setdefault(question.applied, question)
        if not batch:
            return
        answers = yield tuple(batch.values())
        if len(answers) != len(batch):
            raise ValueError(f"{len(batch)} questions were asked and {len(answers)} outcomes sent")
        told = [(applied, answer) for applied, answer in zip(batch, answers, strict=True) if answer is not None]
        self.seen.update(told)
        self.asked += len(told)
        unresolved = [applied for applied, answer in told if answer is Outcome.UNRESOLVED]
        if self._learn and any([self._learn(applied) for applied in unresolved]):
            self._judged = dict(self._ends)
        if not told:
            self.budget = self.asked
            raise _Spent

    def _room(self) -> int:
        if self.budget is None:
            return self.slots
        left = self.budget - self.reserve - self.asked
        if left <= 0:
            raise _Spent
        return min(self.slots, left)


class _Search:
    def __init__(
        self,
        ledger: _Ledger,
        cause: _Side,
        fix: _Side,
        costs: Mapping[Outcome, float],
        groups: Mapping[int, str],
        weights: Mapping[int, float],
    ) -> None:
        self.ledger = ledger
        self.cause = cause
        self.fix = fix
        self.costs = costs
        self.groups = groups
        self.weights = weights
        self.everything = cause.everything

    def run(self) -> Steps[Isolation]:
        spent = False
        self.ledger.reserve = 1 if (self.ledger.budget or 0) > 1 else 0
        try:
            cause = yield from self._find_cause()
        except _Spent:
            spent, cause = True, self._smallest(self.cause)
        self.ledger.reserve = 0
        try:
            fix = yield from self._find_fix(cause)
        except _Spent:
            spent, fix = True, self._smallest(self.fix)
        return _conclude(self, cause, fix, spent)

    # --- the two searches ----------------------------------------------------------------------------

    def _find_cause(self) -> Steps[Atoms]:
        size = len(self.everything)
        core = NOTHING
        found: Atoms | None = None
        if size <= max(2, 2 * self.ledger.slots):
            found = yield from self._scan()
        if found is None:
            found, core = yield from self._progress(self.cause, NOTHING)
        return (yield from self._thin(self.cause, found, core))

    def _find_fix(self, cause: Atoms) -> Steps[Atoms]:
        """The culprit without the cause; where that does not PASS (another cause is left), more and more of it."""
        start = closure(cause, self.fix.edges)
        found = yield from self._until(self.fix, [start, cause])
        core = NOTHING
        if found is None:
            found, core = yield from self._progress(self.fix, start)
        return (yield from self._thin(self.fix, found, core))

    def _scan(self) -> Steps[Atoms | None]:
        """Few atoms: every single removal, then those that cured together, then every single application.

        If one minimal set breaks the parent and nothing masks, it is exactly the set of single cures.
        """
        without = [dependents([a], self.everything, self.cause.edges) for a in sorted(self.everything)]
        while any(self._known(self.fix, removed) is None for removed in without):
            yield from self.ledger.ask(self.fix.question(removed) for removed in without)
        cures = [removed for removed in without if self._known(self.fix, removed) is Outcome.PASS]
        if cures:
            together = closure(min(cures, key=len).union(*(c for c in cures if len(c) == 1)), self.cause.edges)
            if (yield from self._until(self.cause, [together])):
                return together
        return (yield from self._until(self.cause, [closure([a], self.cause.edges) for a in sorted(self.everything)]))

    def _progress(self, side: _Side, base: Atoms) -> Steps[tuple[Atoms, Atoms]]:
        """Fix the unit that turns the outcome, and search again before it, until what is fixed alone is enough.

        Returns a wanted set and those of its atoms that a pair of neighbouring outcomes singled out.
        """
        core = base
        reach = self._smallest(side, base)
        row = [unit & reach - base for unit in side.row if unit & reach - base]
        while row:
            if base:
                yield from self.ledger.ask([side.question(base), *self._verification(side, base)])
                if self._known(side, base) is side.wanted:
                    break
            row = self._possible(side, base, row)
            low, high = yield from self._bracket(side, base, row)
            block = NOTHING.union(*row[low:high])
            if high - low == 1:
                core |= block
            base = closure(base | block, side.edges)
            row = [unit - base for unit in row[:low] if not unit <= base]
        return base, core

    def _possible(self, side: _Side, base: Atoms, row: Sequence[Atoms]) -> list[Atoms]:
        """`row` with units joined where a cut between them would make no program."""
        joined: list[Atoms] = []
        moved = base
        for k, unit in enumerate(row):
            invalid = k > 0 and self.ledger.judge(side.applied(moved)) is Static.INVALID
            joined.append(joined.pop() | unit if invalid else unit)
            moved |= unit
        return joined

    def _verification(self, side: _Side, base: Atoms) -> list[Question]:
        """What will be asked next if `base` alone is enough: it fills slots that would stand idle."""
        if side is self.fix:
            return []
        removed = self.fix.question(closure(base, self.fix.edges))
        return [removed, *(self.cause.question(base - {a}) for a in sorted(base) if len(base) > 1)]

    def _bracket(self, side: _Side, base: Atoms, row: Sequence[Atoms]) -> Steps[tuple[int, int]]:
        """Neighbouring cuts of `row`, moved on top of `base`, between which the outcome turns to the wanted one.

        The whole row is known to give it. Where cuts are UNRESOLVED others are tried, spread over the row,
        and after too many of them the interval is returned as it stands.
        """
        sets = [base]
        for unit in row:
            sets.append(sets[-1] | unit)
        misses = 0
        while True:
            low, high, unresolved = self._bounds(side, sets)
            points = self._points(side, sets, row, low, high, unresolved)
            if not points or misses > max(PATIENCE, self.ledger.slots):
                return low, high
            yield from self.ledger.ask(side.question(sets[k], cut=True) for k in points)
            misses += sum(self._known(side, sets[k]) is Outcome.UNRESOLVED for k in points)

    def _bounds(self, side: _Side, sets: Sequence[Atoms]) -> tuple[int, int, list[int]]:
        """The first wanted cut, the last opposite one before it (or 0), and the unresolved ones in between."""
        known = [self._known(side, moved) for moved in sets[:-1]]
        high = known.index(side.wanted) if side.wanted in known else len(sets) - 1
        low = max((k for k in range(high) if known[k] is side.near), default=0)
        return low, high, [k for k in range(low + 1, high) if known[k] is Outcome.UNRESOLVED]

    def _points(
        self, side: _Side, sets: Sequence[Atoms], row: Sequence[Atoms], low: int, high: int, unresolved: list[int]
    ) -> list[int]:
        """Which cuts to try next."""
        count = min(self.ledger.slots, high - low - 1 - len(unresolved))
        if count < 1:
            return []
        if unresolved:
            return cuts.middles([low, *unresolved, high], count)
        parts = cuts.fractions(high - low, count, self.costs[side.near], self.costs[side.wanted])
        weights = [sum(self.weights.get(a, 1.0) for a in unit) for unit in row[low:high]]
        wished = [low + k for k in cuts.place(parts, weights)]
        reach = (high - low) // (4 * (count + 1))
        spans = ((k, max(low + 1, k - reach), min(high - 1, k + reach)) for k in wished)
        return sorted({self._near(side, sets, row, *span) for span in spans})

    def _near(self, side: _Side, sets: Sequence[Atoms], row: Sequence[Atoms], wish: int, first: int, last: int) -> int:
        """The best cut within reach of `wish`: statically clean, else at a file's end, else the nearest."""

        def rank(k: int) -> tuple[bool, bool, int]:
            doubtful = self.ledger.judge(side.applied(sets[k])) is not Static.CLEAN
            inside = self._group(row[k - 1]) == self._group(row[k])
            return doubtful, inside, abs(k - wish)

        return min(range(first, last + 1), key=rank)

    def _group(self, unit: Atoms) -> str:
        return self.groups.get(min(unit), "")

    # --- making a wanted set smaller -----------------------------------------------------------------

    def _thin(self, side: _Side, moved: Atoms, core: Atoms) -> Steps[Atoms]:
        """Leave out ever smaller chunks until no single atom can go: ddmin's complements, without its subsets.

        `core` are atoms expected to stay; the rest is tried first. Dependencies that were moved along are
        ordinary members here: leaving one out is tried even if an atom that stays is said to require it.
        """
        core &= moved
        if core and len(moved - core) > 1:
            moved = (yield from self._until(side, [core])) or moved
        size = max(1, math.ceil(len(moved - core) / 2))
        while True:
            free = [a for unit in side.row for a in sorted(unit & (moved - core))]
            chunks = [frozenset(free[k : k + size]) for k in range(0, len(free), size)]
            smaller = yield from self._without(side, moved, core, chunks)
            if smaller is not None:
                moved = smaller
            elif size > 1:
                size = (size + 1) // 2
            elif core:
                core = NOTHING
            else:
                return moved

    def _without(self, side: _Side, moved: Atoms, core: Atoms, chunks: Sequence[Atoms]) -> Steps[Atoms | None]:
        """The first wanted set that lacks a chunk. A chunk takes its dependents along unless they are core."""
        plain = [moved - chunk for chunk in chunks]
        if all(len(chunk) == 1 for chunk in chunks):
            found = yield from self._until(side, plain)
            if found is not None:
                return found
            unclear = [chunk for chunk in chunks if self._known(side, moved - chunk) is Outcome.UNRESOLVED]
            return (yield from self._until(side, [moved - unit for unit in side.row if any(c < unit for c in unclear)]))
        closed = [moved - dependents(chunk, moved, side.edges) for chunk in chunks]
        best = [rest if core <= rest else other for rest, other in zip(closed, plain, strict=True)]
        return (yield from self._until(side, best))

    # --- asking --------------------------------------------------------------------------------------

    def _known(self, side: _Side, moved: Atoms) -> Outcome | None:
        return self.ledger.outcome(side.applied(moved))

    def _until(self, side: _Side, sets: Iterable[Atoms]) -> Steps[Atoms | None]:
        """The first of `sets` with the wanted outcome, asking as many at a time as there are slots."""
        rest = [moved for moved in sets if moved]
        while rest:
            for moved in rest:
                if self._known(side, moved) is side.wanted:
                    return moved
            rest = [moved for moved in rest if self._known(side, moved) is None]
            yield from self.ledger.ask(side.question(moved) for moved in rest)
        return None

    def _smallest(self, side: _Side, above: Atoms = NOTHING) -> Atoms:
        """The smallest set seen with the wanted outcome, of those that contain `above`."""
        wanted = (side.applied(a) for a, outcome in self.ledger.seen.items() if outcome is side.wanted)
        return min((moved for moved in wanted if above <= moved), key=lambda moved: (len(moved), sorted(moved)))


def _conclude(search: _Search, cause: Atoms, fix: Atoms, spent: bool) -> Isolation:
    """What the outcomes prove, read off them and not off the way the search took."""
    ledger = search.ledger
    cause_minimal, needed = _minimality(search, search.cause, cause)
    fix_minimal, fix_needed = _minimality(search, search.fix, fix)
    asked = dict(ledger.seen)
    ends = (asked.pop(NOTHING), asked.pop(search.everything))
    assert ends == (Outcome.PASS, Outcome.FAIL)
    return Isolation(
        cause=cause,
        cause_proven=cause in asked or len(search.everything) == 1,
        cause_minimal=cause_minimal,
        needed=needed,
        fix=fix,
        fix_proven=search.everything - fix in asked or len(search.everything) == 1,
        fix_minimal=fix_minimal,
        fix_needed=fix_needed,
        pair=_closest(ledger.seen),
        caveats=tuple(_caveats(search, cause, fix, cause_minimal, fix_minimal, needed, spent)),
        asked=ledger.asked,
        pruned=len(ledger.pruned),
        outcomes=tuple(asked.items()),
    )


def _minimality(search: _Search, side: _Side, moved: Atoms) -> tuple[bool, Atoms]:
    """(no leave-one-out has the wanted outcome and all are known, the atoms whose leaving was unresolved)."""
    each = {a: search._known(side, moved - {a}) for a in moved}
    minimal = all(outcome not in (None, side.wanted) for outcome in each.values())
    return minimal, frozenset(a for a, outcome in each.items() if outcome is Outcome.UNRESOLVED)


def _closest(seen: Mapping[Atoms, Outcome]) -> tuple[Atoms, Atoms]:
    """The nested PASSing and FAILing sets with the fewest atoms between them: Zeller's isolation."""
    passing = [a for a, outcome in seen.items() if outcome is Outcome.PASS]
    failing = [a for a, outcome in seen.items() if outcome is Outcome.FAIL]
    pairs = ((good, bad) for bad in failing for good in passing if good < bad)
    return min(pairs, key=lambda pair: len(pair[1]) - len(pair[0]))


def _caveats(
    search: _Search, cause: Atoms, fix: Atoms, cause_minimal: bool, fix_minimal: bool, needed: Atoms, spent: bool
) -> Iterable[str]:
    seen = search.ledger.seen
    if spent:
        yield "the search was cut short"
    if not cause_minimal:
        yield f"the cause ({spell(cause)}) may not be minimal"
    if not fix_minimal:
        yield f"the fix ({spell(fix)}) may not be minimal"
    if needed:
        yield f"without {spell(needed)} the rest of the cause neither passed nor failed in the same way"
    without = seen.get(search.everything - cause)
    if without is Outcome.FAIL:
        yield "the culprit without the cause still fails: something else in the commit breaks it too"
    elif without is Outcome.UNRESOLVED:
        yield "the culprit without exactly the cause could not be judged"
    if not fix & cause:
        yield "the fix shares no atom with the cause: removing it may only mask the failure"
    failing = [a for a, outcome in seen.items() if outcome is Outcome.FAIL]
    if any(bad < good for good, outcome in seen.items() if outcome is Outcome.PASS for bad in failing):
        yield "applying more of the commit sometimes cured the failure again: its atoms mask one another"
