"""Where the workers stood: of all frames the few that tell something. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bisect_celery.core.frames import FRAME, Frame, is_machinery, outermost_entrance, parse, short
from bisect_celery.model import Dump
from bisect_celery.report.model import Place

INNER = 4
IDLE = 3


def places(dumps: Iterable[Dump]) -> tuple[tuple[Place, ...], int]:
    """Processes that stood alike as one place, and how many threads were left out as idle machinery.

    The parent comes first, then children. The main thread of a process is always shown.
    """
    threads = [(dump, shorten(dump.frames)) for dump in dumps]
    shown = [one for one in threads if _is_main(one[0], threads) or _tells(one[0].frames)]
    groups: dict[tuple[str, str, tuple[str, ...]], list[tuple[int, int]]] = {}
    for dump, (frames, left_out) in shown:
        groups.setdefault((dump.role, _thread(dump), frames), []).append((dump.pid, left_out))
    children = len({dump.pid for dump, _ in threads if dump.role == "child"})
    found = [
        Place(_who(role, thread, len({pid for pid, _ in members}), children), frames, members[0][1])
        for (role, thread, frames), members in groups.items()
        if frames
    ]
    return tuple(sorted(found, key=lambda place: not place.who.startswith("parent"))), len(threads) - len(shown)


def shorten(frames: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The telling frames, innermost first, and how many were left out."""
    parsed = parse(frames)
    outermost = _outermost(parsed)
    if outermost is None:
        kept = parsed[:IDLE]
    else:
        first = next(index for index, frame in enumerate(parsed) if not is_machinery(frame))
        # what it waits in, how the project came to that, and one frame beyond: how the project was called
        inner = parsed[:first] if first <= 2 * INNER else [*parsed[:INNER], *parsed[first - INNER : first]]
        kept = inner + parsed[first : outermost + 2]
    return tuple(map(_show, kept)), len(parsed) - len(kept)


def _outermost(frames: list[Frame]) -> int | None:
    """The index of the outermost frame that is the project's own, but for the script that started it all."""
    own = [index for index in range(outermost_entrance(frames)) if not is_machinery(frames[index])]
    return own[-1] if own else None


def _tells(frames: Iterable[str]) -> bool:
    return any((found := FRAME.fullmatch(frame)) and not is_machinery(found) for frame in frames)


def _show(frame: Frame) -> str:
    line = "" if frame["line"] in ("None", "0") or frame["line"].startswith("-") else f":{frame['line']}"
    return f"{frame['name']} ({short(frame['file'])}{line})"


def _thread(dump: Dump) -> str:
    return "" if dump.thread in ("", "MainThread") else dump.thread


def _is_main(dump: Dump, threads: list[tuple[Dump, tuple[tuple[str, ...], int]]]) -> bool:
    """Its process' main thread, or the only thread known of it."""
    return not _thread(dump) or sum(other.pid == dump.pid for other, _ in threads) == 1


def _who(role: str, thread: str, count: int, children: int) -> str:
    if role != "child":
        who = role or "worker"
    elif count == 1 and children == 1:
        who = "the pool child"
    else:
        who = f"{count} of {children} pool children"
    return f"{who}, thread {thread}" if thread else who
