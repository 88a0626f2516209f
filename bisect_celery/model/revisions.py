"""Commits and what can be made of them: trees, and the atoms that a commit is taken apart into."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Revision:
    """A commit. `date` is the committer's, ISO 8601 with offset; `title` its first line."""

    sha: str
    tree: str
    title: str
    author: str
    date: str
    parents: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.sha[:10]


@dataclass(frozen=True)
class Tree:
    """The git tree a trial runs. `label` says where it comes from: `a1b2c3d`, `a1b2c3d minus atom 3`."""

    sha: str
    label: str
    title: str = ""


class AtomKind(enum.StrEnum):
    HUNK = "hunk"
    IMPORT = "import"
    FILE = "file"
    MODE = "mode"


@dataclass(frozen=True)
class Edit:
    """Replace `removed` at line index `start` (0-based, lines split on \\n only, ends kept) by `added`.

    `start` counts in the parent's blob. A pure insertion has `removed` empty and stands before line `start`.
    `rank` orders edits that share a `start`.
    """

    start: int
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]
    rank: int = 0


@dataclass(frozen=True)
class FileChange:
    """A whole-file change: mode and blob id before and after; None where the path does not exist."""

    old_mode: str | None
    old_sha: str | None
    new_mode: str | None
    new_sha: str | None


@dataclass(frozen=True)
class Atom:
    """The smallest piece of a commit that narrowing moves: a hunk, one import statement, a whole-file change.

    `number` counts from 1 in the order of the diff. `lines` is what a person is shown, each beginning with
    `-` or `+`. Exactly one of `edit` and `changes` says what is done: an edit of the file at `path`, or
    changes of whole paths that only make sense together (a file that becomes a folder).
    """

    number: int
    kind: AtomKind
    path: str
    header: str
    lines: tuple[str, ...]
    edit: Edit | None = None
    changes: tuple[tuple[str, FileChange], ...] = ()
