"""A commit taken apart into atoms, and trees put together from them again: bytes in, atoms and bytes out.

Git is asked only for the line coordinates of hunks; contents are spliced here. Subsets of a `-U0` diff given
to `git apply --unidiff-zero --recount` silently build wrong trees, because apply searches from the new
positions, which a subset makes wrong; splicing in the parent's coordinates cannot drift.

What each subset means:
- an edit changes the file's content wherever it stands, in the coordinates of the parent's blob;
- a rename is a whole-file atom that moves the file with what is in it, edited or not;
- a mode atom changes the mode only; any other whole-file atom sets mode and blob;
- a file that becomes a folder, or the reverse, is one atom: git drops one of two paths that exclude each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from bisect_celery.core import imports
from bisect_celery.model import Atom, AtomKind, Edit, FileChange

REGULAR = ("100644", "100755")
_PYTHON = (".py", ".pyi", ".pyw")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Files that only make sense as a whole: half a lock file or half a migration is nobody's state.
_WHOLE = re.compile(
    r"(?:^|/)(?:\.gitattributes|\.gitmodules|Pipfile\.lock|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml"
    r"|conda-lock\.yml|[^/]+\.lock|[Dd]ockerfile[^/]*|[^/]+\.[Dd]ockerfile|migrations/(?:.*/)?[^/]+\.py)$"
)
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)")


class Mismatch(ValueError):
    """Atoms that do not fit the tree or the content they are put on, or that exclude each other."""


@dataclass(frozen=True)
class Hunk:
    """Where a hunk without context stands: 0-based line indexes and counts, old side and new side.

    `section` is what git shows beside the coordinates: the function or class around it.
    """

    old: int
    removed: int
    new: int
    added: int
    section: str = ""

    def header(self) -> str:
        old = f"-{self.old + 1 if self.removed else self.old},{self.removed}"
        new = f"+{self.new + 1 if self.added else self.new},{self.added}"
        return f"@@ {old} {new} @@ {self.section}".rstrip()


@dataclass(frozen=True)
class PathChange:
    """What a commit does to a path. `old`, `new`: contents; `hunks` empty: the path changes as a whole.

    `moved_to`: the file gets another path, and `change` speaks of the old one's before and the new one's after.
    """

    path: str
    change: FileChange
    old: bytes = b""
    new: bytes = b""
    hunks: tuple[Hunk, ...] = ()
    moved_to: str | None = None


@dataclass(frozen=True)
class Entry:
    """A path's mode and blob in a tree."""

    mode: str
    sha: str


@dataclass(frozen=True)
class Target:
    """What a path shall be: the blob `sha` with mode `mode`, after `edits` of its content."""

    mode: str
    sha: str
    edits: tuple[Edit, ...] = ()


# --- lines -------------------------------------------------------------------------------------------


def split_lines(content: bytes) -> tuple[bytes, ...]:
    """Lines as git counts them: split on `\\n` only (never `splitlines`), ends kept."""
    parts = content.split(b"\n")
    return tuple(part + b"\n" for part in parts[:-1]) + ((parts[-1],) if parts[-1] else ())


def parse_hunks(diff: bytes) -> tuple[Hunk, ...]:
    """The hunks of `git diff -U0 BLOB BLOB`. Driven by the counts: content may look like any diff line."""
    lines = diff.split(b"\n")
    hunks = []
    at = next((index for index, line in enumerate(lines) if line.startswith(b"@@ ")), len(lines))
    while at < len(lines) and (match := _HUNK.match(lines[at])):
        old, removed, new, added = (int(number or b"1") for number in match.groups()[:4])
        section = match[5].decode("utf-8", "replace").strip()
        hunks.append(Hunk(old - (removed > 0), removed, new - (added > 0), added, section))
        at = _skip(lines, at + 1, removed, added)
    return tuple(hunks)


def _skip(lines: Sequence[bytes], at: int, *counts: int) -> int:
    """The index after `counts` content lines, each group followed by a note that the last has no newline."""
    for count in counts:
        at += count
        if count and at < len(lines) and lines[at].startswith(b"\\"):
            at += 1
    return at


def splice(old: bytes, edits: Iterable[Edit]) -> bytes:
    """`old` with `edits` made, in any order given. Raises Mismatch when they overlap or do not fit."""
    lines = split_lines(old)
    out: list[bytes] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.rank)):
        if edit.start < at or edit.start > len(lines):
            raise Mismatch(f"The edit at line {edit.start + 1} overlaps another or lies outside the file.")
        out.extend(lines[at : edit.start])
        at = edit.start + len(edit.removed)
        if lines[edit.start : at] != edit.removed:
            raise Mismatch(f"The lines at {edit.start + 1} are not those that the edit replaces.")
        out.extend(edit.added)
    return b"".join(out) + b"".join(lines[at:])


# --- a commit to atoms -------------------------------------------------------------------------------


def splits(path: str, change: FileChange, old: bytes, new: bytes) -> bool:
    """Whether a changed path may be taken apart into hunks: text before and after, and not a file of `_WHOLE`."""
    if change.old_mode not in REGULAR or change.new_mode not in REGULAR or _WHOLE.search(path):
        return False
    return not any(b"\0" in content or content.startswith(_LFS_POINTER) for content in (old, new))


def take_apart(changes: Sequence[PathChange]) -> tuple[Atom, ...]:
    """The atoms of a commit, numbered from 1 in the order of `changes`; whole-file atoms stand before edits."""
    atoms: list[Atom] = []
    for group in _together(changes):
        if len(group) > 1:
            pairs = [pair for change in group for pair in _whole(change)]
            atoms.append(_file_atom(group[0].path, "paths that exclude each other", pairs))
            continue
        (change,) = group
        atoms.extend(_moved_or_mode(change) if change.hunks or change.moved_to else _plain(change))
        if change.hunks:
            atoms.extend(_edits(change))
    return tuple(replace(atom, number=number) for number, atom in enumerate(atoms, 1))


def _together(changes: Sequence[PathChange]) -> list[list[PathChange]]:
    """Changes in groups of one, but those whose paths exclude each other (`a` and `a/x`) together."""
    home = list(range(len(changes)))
    owner = {path: index for index, change in enumerate(changes) for path in _paths(change)}
    for index, change in enumerate(changes):
        for path in _paths(change):
            for parent in PurePosixPath(path).parents:
                other = owner.get(str(parent))
                if other is not None and home[other] != home[index]:
                    old, new = home[index], home[other]
                    home = [new if value == old else value for value in home]
    groups: dict[int, list[PathChange]] = {}
    for index, change in enumerate(changes):
        groups.setdefault(home[index], []).append(change)
    return list(groups.values())


def _paths(change: PathChange) -> tuple[str, ...]:
    return (change.path, change.moved_to) if change.moved_to else (change.path,)


def _whole(change: PathChange) -> list[tuple[str, FileChange]]:
    """A change as whole-file changes, without regard to hunks."""
    what = change.change
    if change.moved_to is None:
        return [(change.path, what)]
    return [
        (change.path, FileChange(what.old_mode, what.old_sha, None, None)),
        (change.moved_to, FileChange(None, None, what.new_mode, what.new_sha)),
    ]


def _plain(change: PathChange) -> list[Atom]:
    what = change.change
    if what.old_mode and what.new_mode and what.old_sha == what.new_sha and _is_mode_change(what):
        return [_mode_atom(change.path, what)]
    header = "added" if what.old_mode is None else "deleted" if what.new_mode is None else "changed as a whole"
    return [_file_atom(change.path, header, [(change.path, what)])]


def _moved_or_mode(change: PathChange) -> list[Atom]:
    """What happens to a path beside its hunks: a move that takes the old content along, or another mode."""
    what = change.change
    if change.moved_to:
        kept = replace(change, change=replace(what, new_sha=what.old_sha)) if change.hunks else change
        return [_file_atom(change.path, f"moved to {change.moved_to}", _whole(kept))]
    return [_mode_atom(change.path, replace(what, new_sha=what.old_sha))] if what.old_mode != what.new_mode else []


def _is_mode_change(what: FileChange) -> bool:
    return what.old_mode in REGULAR and what.new_mode in REGULAR


def _mode_atom(path: str, what: FileChange) -> Atom:
    lines = (f"-mode {what.old_mode}", f"+mode {what.new_mode}")
    return Atom(0, AtomKind.MODE, path, "mode", lines, changes=((path, what),))


def _file_atom(path: str, header: str, changes: Sequence[tuple[str, FileChange]]) -> Atom:
    lines: list[str] = []
    for changed, what in changes:
        if what.old_mode:
            lines.append(f"-{_describe(changed, what.old_mode, what.old_sha)}")
        if what.new_mode:
            lines.append(f"+{_describe(changed, what.new_mode, what.new_sha)}")
    return Atom(0, AtomKind.FILE, path, header, tuple(lines), changes=tuple(changes))


def _describe(path: str, mode: str, sha: str | None) -> str:
    kind = {"120000": "symlink ", "160000": "submodule ", "100755": "executable "}.get(mode, "")
    return f"{kind}{path} ({(sha or '')[:10]})"


def _edits(change: PathChange) -> list[Atom]:
    old, new = split_lines(change.old), split_lines(change.new)
    python = change.path.endswith(_PYTHON)
    outlines = _outlines(old, new) if python else None
    atoms: list[Atom] = []
    for hunk in change.hunks:
        pairs = _pairs(hunk, old, new, outlines) if outlines else ()
        atoms.extend(
            _pieces(change.path, hunk, pairs, old, new) if pairs else [_hunk_atom(change.path, hunk, old, new)]
        )
    return atoms


Outlines = tuple[Sequence[imports.Statement], Sequence[imports.Statement]]


def _outlines(old: Sequence[bytes], new: Sequence[bytes]) -> Outlines:
    before, after = imports.outline(old), imports.outline(new)
    if before is None or after is None:
        return imports.plain_outline(old), imports.plain_outline(new)
    return before, after


def _pairs(hunk: Hunk, old: Sequence[bytes], new: Sequence[bytes], outlines: Outlines) -> tuple[imports.Pair, ...]:
    """How a hunk falls apart into import statements and other code; empty: not at all."""
    removed = imports.segments(outlines[0], old, hunk.old, hunk.old + hunk.removed)
    added = imports.segments(outlines[1], new, hunk.new, hunk.new + hunk.added)
    if not any(segment.key for segment in (*removed, *added)):
        return ()
    pairs = imports.align(removed, added)
    lonely = [one or two for one, two in pairs if one is None or two is None]
    if any(segment is not None and segment.partial for segment in lonely):
        return ()  # half a statement moves only with its other half
    lines = [*old[hunk.old : hunk.old + hunk.removed], *new[hunk.new : hunk.new + hunk.added]]
    if len(pairs) > 1 and not all(line.endswith(b"\n") for line in lines):
        return ()  # a line added behind one without an end would be glued to it
    return pairs


def _pieces(
    path: str, hunk: Hunk, pairs: Sequence[imports.Pair], old: Sequence[bytes], new: Sequence[bytes]
) -> list[Atom]:
    atoms = []
    at, new_at = hunk.old, hunk.new
    for rank, (before, after) in enumerate(pairs):
        removed = before.last - before.first if before else 0
        added = after.last - after.first if after else 0
        piece = Hunk(at, removed, new_at, added, hunk.section)
        is_import = any(segment is not None and segment.key for segment in (before, after))
        atoms.append(_hunk_atom(path, piece, old, new, rank, AtomKind.IMPORT if is_import else AtomKind.HUNK))
        at, new_at = at + removed, new_at + added
    return atoms


def _hunk_atom(
    path: str, hunk: Hunk, old: Sequence[bytes], new: Sequence[bytes], rank: int = 0, kind: AtomKind = AtomKind.HUNK
) -> Atom:
    removed = tuple(old[hunk.old : hunk.old + hunk.removed])
    added = tuple(new[hunk.new : hunk.new + hunk.added])
    shown = (*("-" + _shown(line) for line in removed), *("+" + _shown(line) for line in added))
    return Atom(0, kind, path, hunk.header(), shown, edit=Edit(hunk.old, removed, added, rank))


def _shown(line: bytes) -> str:
    return line.removesuffix(b"\n").decode("utf-8", "replace")


# --- atoms to a tree ---------------------------------------------------------------------------------


def touched(atoms: Iterable[Atom]) -> tuple[str, ...]:
    """The paths whose entries in the base tree `plan` needs, sorted."""
    paths = {atom.path for atom in atoms if atom.edit is not None}
    paths.update(path for atom in atoms for path, _ in atom.changes)
    return tuple(sorted(paths))


def plan(base: Mapping[str, Entry], atoms: Sequence[Atom]) -> dict[str, Target | None]:
    """What becomes of each touched path when `atoms` are put on the tree whose entries are `base`; None: removed.

    The order of `atoms` does not matter. Raises Mismatch when an atom does not fit `base` or stands twice.
    """
    if len({atom.number for atom in atoms}) != len(atoms):
        raise Mismatch("An atom was given twice.")
    edits: dict[str, list[Edit]] = {}
    for atom in atoms:
        if atom.edit is not None:
            edits.setdefault(atom.path, []).append(atom.edit)
    targets: dict[str, Target | None] = {path: _edited(base, path, made) for path, made in edits.items()}
    for atom in sorted(atoms, key=lambda atom: atom.number):
        _change(targets, base, atom.changes)
    return targets


def _edited(base: Mapping[str, Entry], path: str, edits: Iterable[Edit]) -> Target:
    entry = base.get(path)
    if entry is None or entry.mode not in REGULAR:
        raise Mismatch(f"{path!r} is no file that can be edited here.")
    return Target(entry.mode, entry.sha, tuple(sorted(edits, key=lambda edit: (edit.start, edit.rank))))


def _change(
    targets: dict[str, Target | None], base: Mapping[str, Entry], changes: Sequence[tuple[str, FileChange]]
) -> None:
    for path, what in changes:
        entry = base.get(path)
        if (entry.mode if entry else None, entry.sha if entry else None) != (what.old_mode, what.old_sha):
            raise Mismatch(f"{path!r} is not what the atom changes.")
    left = {what.old_sha: targets.get(path) for path, what in changes if what.new_mode is None}
    for path, what in changes:
        if what.new_mode is None or what.new_sha is None:
            targets[path] = None
        elif what.new_sha == what.old_sha or what.old_mode is None:
            # A mode change keeps what was edited here, a move what was edited where the file comes from.
            edited = targets.get(path) if what.old_mode else left.get(what.new_sha)
            targets[path] = Target(what.new_mode, what.new_sha, edited.edits if edited else ())
        else:
            targets[path] = Target(what.new_mode, what.new_sha)
