"""Commits made of texts, and a searcher's other half: what tests of narrowing share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bisect_celery.core.atoms import Hunk, PathChange, splice, split_lines, take_apart
from bisect_celery.core.isolate import Isolation, Outcome, Question, moot
from bisect_celery.model import Atom, FileChange

Atoms = frozenset[int]


@dataclass(frozen=True)
class Commit:
    """A parent's files, the atoms of a commit on it, and the files that any of them make."""

    parent: dict[str, bytes]
    culprit: dict[str, bytes]
    atoms: tuple[Atom, ...]

    def compose(self, applied: Atoms) -> Mapping[str, bytes | None]:
        chosen = [atom for atom in self.atoms if atom.number in applied]
        result: dict[str, bytes | None] = {}
        for path in {atom.path for atom in chosen if atom.edit}:
            edits = [atom.edit for atom in chosen if atom.path == path and atom.edit]
            result[path] = splice(self.parent[path], edits)
        for atom in chosen:
            for path, _ in atom.changes:
                result[path] = self.culprit.get(path)
        return result

    def numbers(self, *texts: str) -> Atoms:
        """The atoms with a shown line that ends in one of `texts`; each must name at least one."""
        found = {text: {a.number for a in self.atoms if any(line.endswith(text) for line in a.lines)} for text in texts}
        assert all(found.values()), (found, [a.lines for a in self.atoms])
        return frozenset[int]().union(*found.values())


def commit(parent: Mapping[str, str], culprit: Mapping[str, str]) -> Commit:
    """The commit between two sets of files; paths that are the same in both are left alone."""
    before = {path: text.encode() for path, text in parent.items()}
    after = {path: text.encode() for path, text in culprit.items()}
    changes = [
        _change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
    return Commit(before, after, take_apart(changes))


def _change(path: str, old: bytes | None, new: bytes | None) -> PathChange:
    def mode(content: bytes | None) -> str | None:
        return None if content is None else "100644"

    def name(content: bytes | None) -> str | None:
        return None if content is None else str(hash(content))

    change = FileChange(mode(old), name(old), mode(new), name(new))
    if old is None or new is None:
        return PathChange(path, change, old or b"", new or b"")
    return PathChange(path, change, old, new, hunks(old, new))


def hunks(old: bytes, new: bytes) -> tuple[Hunk, ...]:
    matcher = difflib.SequenceMatcher(None, split_lines(old), split_lines(new), autojunk=False)
    return tuple(Hunk(a, b - a, c, d - c) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal")


Oracle = Callable[[Atoms], Outcome]


@dataclass
class Trials:
    """Answers a search from `oracle`, keeping it honest: no question twice, none of the ends, no batch too big."""

    oracle: Oracle
    everything: Atoms
    slots: int = 1
    cancel: bool = False
    questions: list[Question] = field(default_factory=list)
    outcomes: dict[Atoms, Outcome] = field(default_factory=dict)
    rounds: int = 0

    def answer(self, batch: Sequence[Question]) -> tuple[Outcome | None, ...]:
        assert 0 < len(batch) <= self.slots
        told: list[tuple[Question, Outcome]] = []
        answers: list[Outcome | None] = []
        for question in batch:
            assert question.applied not in self.outcomes
            assert frozenset() < question.applied < self.everything
            assert question.why
            if self.cancel and moot(question, told):
                answers.append(None)
                continue
            outcome = self.oracle(question.applied)
            self.questions.append(question)
            self.outcomes[question.applied] = outcome
            told.append((question, outcome))
            answers.append(outcome)
        self.rounds += 1
        return tuple(answers)


def drive(search: Generator[tuple[Question, ...], Any, Isolation], trials: Trials) -> Isolation:
    """Run a search to its end."""
    try:
        batch = next(search)
        while True:
            batch = search.send(trials.answer(batch))
    except StopIteration as end:
        result: Isolation = end.value
        return result
