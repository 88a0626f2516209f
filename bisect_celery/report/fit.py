"""Make a report fit a GitHub comment: leave out first what is needed least, and say so. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bisect_celery.report.model import Found, Line, Piece, Place, Report, Standing

# GitHub refuses comments of more than 65,536 characters; a form sends each line's end as two.
LIMIT = 65_536
T = TypeVar("T")


@dataclass(frozen=True)
class Room:
    """How many of each are shown: lines of git's log and of a diff, trials, frames of a stack, ..."""

    log: int
    trials: int
    versions: int
    skipped: int
    lists: int
    places: int
    frames: int
    diff: int


# What is needed least goes first: git's log, trials that confirm nothing, versions, skipped revisions, ...
ROOMS = (
    Room(log=400, trials=400, versions=60, skipped=60, lists=60, places=12, frames=40, diff=400),
    Room(log=60, trials=400, versions=60, skipped=60, lists=60, places=12, frames=40, diff=400),
    Room(log=60, trials=120, versions=40, skipped=60, lists=60, places=12, frames=40, diff=400),
    Room(log=20, trials=60, versions=20, skipped=30, lists=30, places=6, frames=30, diff=250),
    Room(log=10, trials=30, versions=10, skipped=15, lists=20, places=4, frames=20, diff=120),
    Room(log=0, trials=10, versions=5, skipped=6, lists=8, places=2, frames=10, diff=40),
    Room(log=0, trials=0, versions=0, skipped=3, lists=3, places=1, frames=6, diff=10),
)


def size(rendered: str) -> int:
    return len(rendered) + rendered.count("\n")


def fitted(report: Report, render: Callable[[Report], str], limit: int = LIMIT) -> str:
    """The rendering with the most in it that fits; every text in it is limited, so the smallest room does."""
    rendered = ""
    for room in ROOMS:
        rendered = render(shortened(report, room))
        if size(rendered) <= limit:
            break
    return rendered


def shortened(report: Report, room: Room) -> Report:
    """The report with its lists cut to `room`; `left_out` tells what was cut."""
    notes = Notes()
    return dataclasses.replace(
        report,
        actions=notes.first("things to do", report.actions, room.lists),
        culprit=_culprit(report.culprit, room, notes) if report.culprit else None,
        confirmation=notes.first("confirmed trees", report.confirmation, room.lists),
        standing=_standing(report.standing, room, notes) if report.standing else None,
        candidates=notes.first("candidates", report.candidates, room.lists),
        # one that stands next to the culprit casts a doubt, and is the last to go
        skipped=notes.first("skipped revisions", tuple(sorted(report.skipped, key=_doubtless)), room.skipped),
        differences=notes.first("differences", report.differences, room.lists),
        not_tested=notes.first("things not tested", report.not_tested, room.lists),
        task_candidates=notes.first("tasks", report.task_candidates, room.lists),
        trials=_trials(report, room.trials, notes),
        versions=notes.first("versions", report.versions, room.versions),
        bisect_log="\n".join(notes.last("lines of git's log", tuple(report.bisect_log.split("\n")), room.log)),
        left_out=notes.told(),
    )


class Notes:
    """Cuts lists and remembers what it cut."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def first(self, what: str, items: tuple[T, ...], most: int) -> tuple[T, ...]:
        self._note(what, len(items), most)
        return items[:most]

    def last(self, what: str, items: tuple[T, ...], most: int) -> tuple[T, ...]:
        self._note(what, len(items), most)
        return items[len(items) - most :] if len(items) > most else items

    def told(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def _note(self, what: str, have: int, most: int) -> None:
        if have > most:
            self._notes.append(f"Shortened: {most} of {have} {what} are shown; report.json has all of them.")


def _doubtless(skipped: object) -> bool:
    return not getattr(skipped, "adjoins", False)


def _trials(report: Report, most: int, notes: Notes) -> tuple[Line, ...]:
    """Trials that the report speaks of stay; of the others the last ones, which are nearest to the culprit."""
    named = {number for row in report.confirmation for number in row.trials}
    named |= {end.trial for end in report.ends if end.trial is not None}
    ranked = sorted(report.trials, key=lambda one: (one.number in named, one.number))
    kept = notes.last("trials", tuple(ranked), most)
    return tuple(sorted(kept, key=lambda one: one.number))


def _culprit(found: Found, room: Room, notes: Notes) -> Found:
    return dataclasses.replace(
        found,
        cause=_pieces(found.cause, room.diff, notes),
        fix=_pieces(found.fix, room.diff, notes),
        caveats=notes.first("caveats", found.caveats, room.lists),
    )


def _pieces(pieces: tuple[Piece, ...], most: int, notes: Notes) -> tuple[Piece, ...]:
    """So many lines in all, counting a piece's header as one."""
    total = sum(len(piece.lines) + 1 for piece in pieces)
    notes.first("lines of the diff", tuple(range(total)), most)
    kept, left = [], most
    for piece in pieces:
        if left <= 0:
            break
        kept.append(dataclasses.replace(piece, lines=piece.lines[: left - 1]))
        left -= len(piece.lines) + 1
    return tuple(kept)


def _standing(standing: Standing, room: Room, notes: Notes) -> Standing:
    places = notes.first("places of workers", standing.places, room.places)
    return dataclasses.replace(standing, places=tuple(_place(place, room.frames) for place in places))


def _place(place: Place, most: int) -> Place:
    cut = max(0, len(place.frames) - most)
    return dataclasses.replace(place, frames=place.frames[:most], left_out=place.left_out + cut)
