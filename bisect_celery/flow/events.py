"""What a flow tells whoever listens: facts in order; how they look is the listener's business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bisect_celery.model import Judged, StackFacts


@dataclass(frozen=True)
class StackTaken:
    """The first line of every run: what trials run in, and why."""

    facts: StackFacts
    session: str


@dataclass(frozen=True)
class Range:
    """What is between the ends: commits, and about how many steps a bisection takes."""

    commits: int
    steps: int
    good: str
    bad: str


@dataclass(frozen=True)
class Doing:
    """What runs now, for the live line: `what` is the trial, `detail` its stage. Both may be empty: nothing runs."""

    what: str
    detail: str = ""


@dataclass(frozen=True)
class Tried:
    """A trial ended and was judged; `replayed` when it came from the store instead of a place."""

    judged: Judged
    replayed: bool = False


@dataclass(frozen=True)
class Remaining:
    """How far it is: revisions or atoms left, steps, and an estimate in seconds (None: nothing is known yet)."""

    phase: str
    left: int
    steps: int
    seconds: float | None


@dataclass(frozen=True)
class Note:
    """One sentence worth a line of its own."""

    text: str


Event = StackTaken | Range | Doing | Tried | Remaining | Note
Listener = Callable[[Event], None]


def nobody(_: Event) -> None:
    """A listener that does not listen."""
