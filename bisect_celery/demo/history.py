"""The demo project's history as data: one patch a commit (history/), read and applied without git.

A patch here is a mail's head (From, Date, Subject, and Parents where they are not just the patch before),
a body, a line of three dashes, and a unified diff against the first parent as git prints it, without its
`index` lines. Reading is strict: a hunk that does not stand exactly where it says raises ValueError, so that
a damaged file can never become a slightly different incident.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

FOLDER = Path(__file__).parent / "history"
FILE = re.compile(r"diff --git a/(\S+) b/\1")
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
MODES = ("new file mode ", "deleted file mode ", "new mode ")
HEADERS = (*MODES, "old mode ", "--- ", "+++ ")


@dataclass(frozen=True)
class File:
    """A file of a tree: git's mode ("100644", "100755") and its text."""

    mode: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """One commit: who, when, why, after which chapters (numbers, first parent first), and all files it has."""

    number: int
    author: str
    date: datetime
    parents: tuple[int, ...]
    message: str
    files: dict[str, File]


def chapters(folder: Path = FOLDER) -> tuple[Chapter, ...]:
    """The whole history, oldest first. Raises ValueError when a patch does not fit."""
    told: list[Chapter] = []
    for number, path in enumerate(sorted(folder.glob("*.patch")), 1):
        try:
            told.append(_chapter(number, path.read_text(encoding="utf-8"), told))
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"{path.name}: {error}") from error
    return tuple(told)


def _chapter(number: int, text: str, told: list[Chapter]) -> Chapter:
    letter, _, diff = text.partition("\n---\n")
    head, _, body = letter.partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.rstrip("\n").split("\n"))
    before = (number - 1,) if number > 1 else ()
    parents = tuple(int(parent) for parent in fields["Parents"].split()) if "Parents" in fields else before
    return Chapter(
        number,
        fields["From"],
        datetime.fromisoformat(fields["Date"]),
        parents,
        "\n\n".join(part for part in (fields["Subject"], body.strip("\n")) if part) + "\n",
        apply(diff, told[parents[0] - 1].files if parents else {}),
    )


def apply(diff: str, files: dict[str, File]) -> dict[str, File]:
    """The files after a unified diff. Raises ValueError when a hunk does not stand exactly where it says."""
    after = dict(files)
    for path, lines in _split(diff):
        before = files.get(path)
        if any(line.startswith("deleted file mode ") for line in lines):
            del after[path]
            continue
        modes = [line.removeprefix(start) for line in lines for start in MODES if line.startswith(start)]
        if before is None and not modes:
            raise ValueError(f"{path} is changed but not there")
        mode = modes[0] if modes else before.mode if before else ""
        after[path] = File(mode, _patched(path, before.text if before else "", lines))
    return after


def _split(diff: str) -> Iterator[tuple[str, list[str]]]:
    """The parts of a diff: a path, and the lines of its headers and hunks."""
    path, lines = "", list[str]()
    for line in diff.removesuffix("\n").split("\n"):
        if found := FILE.fullmatch(line):
            if path:
                yield path, lines
            path, lines = found[1], []
        else:
            lines.append(line)
    if path:
        yield path, lines


def _patched(path: str, text: str, lines: list[str]) -> str:
    old = text.split("\n")[:-1]
    new: list[str] = []
    done = 0
    rest = iter(lines)
    for line in rest:
        if line.startswith(HEADERS):
            continue
        found = HUNK.match(line)
        if not found:
            raise ValueError(f"{path}: not a hunk: {line!r}")
        start, removed, added = int(found[1]), int(found[2] or 1), int(found[3] or 1)
        here = start - 1 if removed else start
        new += old[done:here]
        gone, put = _hunk(rest, removed, added)
        if old[here : here + removed] != gone:
            raise ValueError(f"{path}: {line} does not stand there")
        new += put
        done = here + removed
    new += old[done:]
    return "".join(f"{line}\n" for line in new)


def _hunk(rest: Iterator[str], removed: int, added: int) -> tuple[list[str], list[str]]:
    """What a hunk expects and what it puts there. An empty line is an empty context line."""
    gone: list[str] = []
    put: list[str] = []
    while len(gone) < removed or len(put) < added:
        line = next(rest, None)
        if line is None or line[:1] not in ("", " ", "-", "+"):
            raise ValueError(f"the hunk ends early, at {line!r}")
        if line[:1] != "+":
            gone.append(line[1:])
        if line[:1] != "-":
            put.append(line[1:])
    return gone, put
