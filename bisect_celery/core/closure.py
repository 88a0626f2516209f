"""Which atoms of a commit need which others, read off their sources before anything is tried.

A set of atoms put on the parent is checked statically: does each Python file parse, is every name bound
somewhere, does every import from the repository itself find what it names? What is wrong at either end already
does not count. A file that no longer parses makes a set INVALID; names and imports only put it off (DOUBTFUL),
because the name may never be looked up, and because a lost import is the very failure we hunt: an atom that is
sound by itself never requires another. A file that looks for something missing whenever it is imported fails in a way
that neither end does, if it is imported at all, as a file of tests is not: once a trial has shown that it is, sets that
break it so are INVALID too (of 75 trials on BookWyrm's 84 atoms 61 had failed like that).

The repair is by identifier: atoms that mention the missing name are joined to the set (Zeller, "Why Programs
Fail", ch. 13; in research/delta-debugging.md it made 376 of 376 broken subsets of Celery's commits clean).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from bisect_celery.core import names
from bisect_celery.core.atoms import Entry, plan, splice
from bisect_celery.core.edges import transitive, turned
from bisect_celery.core.isolate import Atoms, Static
from bisect_celery.core.modules import SUFFIX, Modules, View, overlay, stem
from bisect_celery.model import Atom

Live = tuple[names.Import, tuple[str, ...]]
Compose = Callable[[Atoms], Mapping[str, bytes | None]]
ROUNDS = 12  # repairs tried for one atom, each for another missing name
SINGLES = 24  # helpers tried one by one for one missing name
CHECKS = 8000  # sets read for repairs; commits of five hundred atoms that need more do not come apart anyway
LIVELY = 1000  # versions of files whose imports are remembered
BOTH_WAYS = 200  # with more atoms than this, what must go together is only what must come together, turned round
_WORD = re.compile(r"[^\W\d]\w*")


class Fault(enum.IntEnum):
    """What is wrong with a file. The most severe comes first."""

    SYNTAX = 0
    MODULE = 1
    IMPORT = 2
    NAME = 3
    PUBLIC = 4


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in one file: `name` is the identifier that is missing, from `module` if imported.

    `early`: it is looked for whenever the file is imported.
    """

    fault: Fault
    path: str
    name: str = ""
    module: str = ""
    early: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Requirements:
    """What static reading says about a commit's atoms, in the words of `isolate`'s parameters.

    `hard[a]`: without them `a` does not parse; `soft[a]`: without them names or imports are missing.
    `removal[a]`: atoms to remove with `a` beside those that require it. `static` judges any set; `learn` is told of one
    that a trial has shown to fail in another way, and returns whether `static` judges otherwise from now on.
    """

    hard: Mapping[int, frozenset[int]]
    soft: Mapping[int, frozenset[int]]
    removal: Mapping[int, frozenset[int]]
    static: Callable[[Atoms], Static]
    problems: Callable[[Atoms], frozenset[Problem]]
    learn: Callable[[Atoms], bool]

    @property
    def requires(self) -> dict[int, frozenset[int]]:
        """Hard and soft together."""
        return {a: self.hard[a] | self.soft[a] for a in self.hard}


def requirements(atoms: Sequence[Atom], parent: Mapping[str, bytes], compose: Compose) -> Requirements:
    """Read `atoms` of a commit against its parent.

    `parent` are the parent's files by path: all Python files, where imports between files are to count (it may
    read lazily; files that nothing in the commit can break are looked at once as text and not parsed).
    `compose(applied)` gives the content of at least every path that those atoms change; None: no such file.
    """
    reader = _Reader(atoms, parent, compose)
    hard = {a: reader.repair(frozenset([a]), reader.apply, syntax=True) for a in reader.numbers}
    soft = {a: reader.repair(hard[a] | {a}, reader.apply) for a in reader.numbers}
    removal: dict[int, frozenset[int]] = {a: frozenset() for a in reader.numbers}
    if len(atoms) <= BOTH_WAYS:
        gone = turned(transitive(reader.numbers, hard, soft))
        removal = {a: reader.repair(gone[a] | {a}, reader.remove) for a in reader.numbers}
    return Requirements(hard, soft, removal, reader.static, reader.problems, reader.learn)


def composer(atoms: Sequence[Atom], entries: Mapping[str, Entry], blobs: Mapping[str, bytes]) -> Compose:
    """A `compose` that asks nobody: for hundreds of sets that are only read, never tried.

    `entries` are the parent's entries of the touched paths, `blobs` the contents of every blob that they or the
    atoms' whole-file changes name; what is not there (a submodule) counts as no file.
    """
    by_number = {atom.number: atom for atom in atoms}

    def compose(applied: Atoms) -> dict[str, bytes | None]:
        targets = plan(entries, [by_number[number] for number in sorted(applied)])
        return {
            path: splice(blobs[target.sha], target.edits) if target and target.sha in blobs else None
            for path, target in targets.items()
        }

    return compose


class _Reader:
    def __init__(self, atoms: Sequence[Atom], parent: Mapping[str, bytes], compose: Compose) -> None:
        self.atoms = {atom.number: atom for atom in atoms}
        self.numbers = tuple(self.atoms)
        self.everything = frozenset(self.numbers)
        self.parent = parent
        self.compose = compose
        self.culprit = compose(self.everything)
        self.words = {number: self._words(atom) for number, atom in self.atoms.items()}
        self.modules = Modules(path for path in {*parent, *self.culprit} if path.endswith(SUFFIX))
        self.changed = sorted(path for path in self.culprit if path.endswith(SUFFIX))
        self._lively: dict[tuple[str, bytes], tuple[Live, ...]] = {}
        ends = tuple(View(self.modules, overlay(parent, changes)) for changes in ({}, self.culprit))
        candidates = [*self.changed, *self._importers(ends)]
        self.checked = [path for path in candidates if self._parses(path, ends)]
        self.known = frozenset(problem for end in ends for problem in self._faults(end))
        self._found: dict[Atoms, frozenset[Problem]] = {}
        self._imported: set[str] = set()

    # --- the state of a set ---------------------------------------------------------------------------

    def static(self, applied: Atoms) -> Static:
        problems = self.problems(applied)
        if any(one.fault is Fault.SYNTAX or (one.early and one.path in self._imported) for one in problems):
            return Static.INVALID
        return Static.DOUBTFUL if problems else Static.CLEAN

    def learn(self, applied: Atoms) -> bool:
        """Where only one file of a set breaks at its import, that is what the trial has met."""
        broken = {problem.path for problem in self.problems(applied) if problem.early}
        if len(broken) != 1 or broken <= self._imported:
            return False
        self._imported |= broken
        return True

    def problems(self, applied: Atoms) -> frozenset[Problem]:
        """What is wrong with these atoms on the parent that is not wrong at an end."""
        if applied not in self._found:
            view = View(self.modules, overlay(self.parent, self.compose(applied)))
            self._found[applied] = frozenset(self._faults(view)) - self.known
        return self._found[applied]

    def _faults(self, view: View) -> Iterable[Problem]:
        for path in self.checked:
            text = view.content(path)
            if text is None:
                continue
            source = names.read(text)
            if source is None:
                yield Problem(Fault.SYNTAX, path)
            else:
                yield from self._unbound(path, source, view)
                yield from self._unresolved(path, source, self._live(path, text), view)

    def _unbound(self, path: str, source: names.Source, view: View) -> Iterable[Problem]:
        missing = source.free
        listed = (source.public or frozenset()) - source.bound
        if source.dynamic or not (missing or listed):
            return
        starred = view.starred(path, source)
        if starred is None:
            return
        yield from (Problem(Fault.NAME, path, name, early=name in source.early) for name in missing - starred)
        folder = stem(path)
        for name in listed - starred:
            if not view.exists(f"{folder}/{name}"):
                yield Problem(Fault.PUBLIC, path, name)

    def _unresolved(
        self, path: str, source: names.Source, imports: Iterable[Live], view: View
    ) -> Iterable[Problem]:  # fmt: skip
        for what, meant in imports:
            early = what in source.early_imports
            there = [module for module in meant if view.exists(module)]
            dotted = "." * what.level + what.module
            if not there:
                yield Problem(Fault.MODULE, path, PurePosixPath(meant[0]).name, dotted, early)
            elif what.name not in (None, "*") and not self._finds(there, str(what.name), view):
                yield Problem(Fault.IMPORT, path, str(what.name), dotted, early)

    def _live(self, path: str, text: bytes) -> tuple[Live, ...]:
        """The imports of a file that atoms can make or break, each with the modules that it may mean."""
        if (path, text) not in self._lively:
            if len(self._lively) > LIVELY:
                self._lively.clear()
            source = names.read(text)
            imports = (*source.imports, *source.stars) if source else ()
            found = ((what, self.modules.meant(path, what)) for what in imports)
            self._lively[path, text] = tuple((what, meant) for what, meant in found if any(map(self._changes, meant)))
        return self._lively[path, text]

    def _changes(self, module: str) -> bool:
        """Whether atoms can change what a module offers: it is touched, holds what is, or stars may bring it in."""
        files = (f"{module}{SUFFIX}", f"{module}/__init__{SUFFIX}")
        if any(path == file or path.startswith(f"{module}/") for path in self.changed for file in files):
            return True
        texts = [self.parent[file] for file in files if file in self.parent]
        return any(b"import *" in text for text in texts)

    def _finds(self, modules: Iterable[str], name: str, view: View) -> bool:
        for module in modules:
            offered = view.offers(module)
            if offered is None or name in offered or view.exists(f"{module}/{name}".lstrip("/")):
                return True
        return False

    def _parses(self, path: str, ends: Iterable[View]) -> bool:
        """Whether the file parses wherever it is: else it is for another Python, and nothing is said of it."""
        texts = [text for end in ends if (text := end.content(path)) is not None]
        return all(names.read(text) is not None for text in texts)

    def _importers(self, ends: Sequence[View]) -> list[str]:
        """Unchanged files that import something which a mixture of the two ends may lack."""
        risks = {stem(path): self._risk(path, ends) for path in self.changed}
        risks = {module: risk for module, risk in risks.items() if risk is None or risk}
        return [
            path
            for path in sorted(self.parent)
            if path.endswith(SUFFIX) and path not in self.culprit and self._leans(path, self.parent[path], risks)
        ]

    def _risk(self, path: str, ends: Sequence[View]) -> frozenset[str] | None:
        """The names of a changed module that atoms touch; None: the module itself is not at both ends."""
        if len({end.exists(stem(path)) for end in ends}) > 1:
            return None
        before, after = (end.offers(stem(path)) or frozenset() for end in ends)
        touched = frozenset[str]().union(*(self.words[a] for a in self.numbers if path in self._paths(a)))
        return (before ^ after) | (before & touched)

    def _leans(self, path: str, text: bytes, risks: Mapping[str, frozenset[str] | None]) -> bool:
        """Whether a file imports anything at risk. Most are put aside by their bytes, without being parsed."""
        near = {module: risk for module, risk in risks.items() if PurePosixPath(module).name.encode() in text}
        source = names.read(text) if near and b"import" in text else None
        for what in (*source.imports, *source.stars) if source else ():
            for module in self.modules.meant(path, what):
                risk = near.get(module, frozenset())
                if risk is None or what.name in risk or (risk and what.name == "*"):
                    return True
                if what.name and near.get(f"{module}/{what.name}".lstrip("/"), frozenset()) is None:
                    return True
        return False

    # --- repairs --------------------------------------------------------------------------------------

    def apply(self, moved: Atoms) -> Atoms:
        return moved

    def remove(self, moved: Atoms) -> Atoms:
        return self.everything - moved

    def repair(self, start: Atoms, side: Callable[[Atoms], Atoms], *, syntax: bool = False) -> Atoms:
        """The atoms to move with `start` so that what is composed reads clean, as far as that can be had.

        `side` says what is applied when a set is moved. `syntax`: only until everything parses.
        """
        moved, hopeless = start, set[Problem]()
        for _ in range(ROUNDS):
            left = self.problems(side(moved)) - hopeless
            mendable = [problem for problem in left if problem.fault is Fault.SYNTAX or not syntax]
            if not mendable or len(self._found) > CHECKS:
                break
            problem = min(mendable)
            helpers = self._helpers(problem, start, moved)
            chosen = self._enough(problem, moved, helpers, side)
            if chosen:
                moved |= chosen
            else:
                hopeless.add(problem)
        return moved - start

    def _helpers(self, problem: Problem, start: Atoms, moved: Atoms) -> list[int]:
        """Atoms that may mend `problem`, the nearest to `start` first."""
        if problem.fault is Fault.SYNTAX:
            mending = [a for a in self.numbers if problem.path in self._paths(a)]
        else:
            mending = [a for a in self.numbers if problem.name in self.words[a]]
        return sorted(set(mending) - moved, key=lambda a: (*self._distance(problem, start, a), a))

    def _distance(self, problem: Problem, start: Atoms, a: int) -> tuple[bool, int]:
        elsewhere = problem.path not in self._paths(a)
        return elsewhere, min(abs(self._line(a) - self._line(b)) if not elsewhere else abs(a - b) for b in start)

    def _enough(
        self, problem: Problem, moved: Atoms, helpers: Sequence[int], side: Callable[[Atoms], Atoms]
    ) -> Atoms | None:
        """One helper that mends the problem, or as few as can be found, or None when all of them do not."""

        def left(extra: Iterable[int]) -> frozenset[Problem]:
            return self.problems(side(moved.union(extra)))

        before = left([])
        mended: dict[int, tuple[int, int]] = {}
        for a in helpers[:SINGLES]:
            after = left([a])
            if problem not in after:
                mended[a] = _weigh(after)
                if after < before:
                    break
        if mended:
            return frozenset([min(mended, key=mended.__getitem__)])
        if len(helpers) < 2 or problem in left(helpers):
            return None
        chosen = list(helpers)
        for a in reversed(helpers[:SINGLES]):
            fewer = [b for b in chosen if b != a]
            if problem not in left(fewer):
                chosen = fewer
        return frozenset(chosen)

    # --- atoms ----------------------------------------------------------------------------------------

    def _paths(self, number: int) -> frozenset[str]:
        atom = self.atoms[number]
        return frozenset([atom.path, *(path for path, _ in atom.changes)])

    def _line(self, number: int) -> int:
        edit = self.atoms[number].edit
        return edit.start if edit else 0

    def _words(self, atom: Atom) -> frozenset[str]:
        """The identifiers that an atom's lines mention; a whole file's are all in it, and its own name."""
        if atom.edit is not None:
            texts = [*atom.edit.removed, *atom.edit.added]
        else:
            texts = [PurePosixPath(stem(path)).name.encode() for path, _ in atom.changes]
            texts += [text for path, _ in atom.changes for text in self._versions(path)]
        return frozenset(word for text in texts for word in _WORD.findall(text.decode("utf-8", "replace")))

    def _versions(self, path: str) -> list[bytes]:
        return [text for text in (self.parent.get(path), self.culprit.get(path)) if text is not None]


def _weigh(problems: frozenset[Problem]) -> tuple[int, int]:
    return sum(problem.fault is Fault.SYNTAX for problem in problems), len(problems)
