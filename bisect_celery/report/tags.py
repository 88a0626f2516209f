"""The filters of the report's templates. Every value in a template goes through one of them (a test looks)."""

from __future__ import annotations

from collections.abc import Iterable

from django import template

from bisect_celery.report import escape, words
from bisect_celery.report.model import Piece

register = template.Library()
MOST = {"title": 120, "text": 600, "code": 200, "line": 240, "command": 2000}


@register.filter
def text(value: object) -> str:
    return escape.text(escape.clip(str(value), MOST["text"]))


@register.filter
def title(value: object) -> str:
    return escape.text(escape.clip(str(value), MOST["title"]))


@register.filter
def prose(value: object) -> str:
    return escape.prose(escape.clip(str(value), MOST["text"]))


@register.filter
def code(value: object) -> str:
    return escape.code(escape.clip(str(value), MOST["code"]))


@register.filter
def codecell(value: object) -> str:
    return escape.code(escape.clip(str(value), MOST["code"]), cell=True)


@register.filter
def day(value: str) -> str:
    """The date of an ISO 8601 time."""
    return escape.text(value[:10])


@register.filter
def count(value: int, what: str) -> str:
    """So many of something: `1 trial`, `2 trials`."""
    return f"{value} {what}" if value == 1 else f"{value} {what}s"


@register.filter
def seconds(value: float) -> str:
    return words.seconds(value)


@register.filter
def percent(value: float) -> str:
    """A probability as people say it; what is not quite sure is not said to be."""
    return "more than 99 %" if 0.99 < value < 1 else "less than 1 %" if 0 < value < 0.01 else f"{100 * value:.0f} %"


@register.filter
def numbers(values: Iterable[int]) -> str:
    """Trial numbers, runs of them as `3-7`."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@register.filter
def fence(value: str | Iterable[str], language: str = "") -> str:
    lines = value.split("\n") if isinstance(value, str) else list(value)
    return escape.fence([escape.clip(line, MOST["line"]) for line in lines], language)


@register.filter
def command(value: str) -> str:
    return escape.fence([escape.clip(value, MOST["command"])], "sh")


@register.filter
def diff(pieces: Iterable[Piece]) -> str:
    """Pieces as one diff: a path once, then each piece under git's header for it."""
    lines: list[str] = []
    path = None
    for piece in pieces:
        if piece.path != path:
            path = piece.path
            lines.append(f"--- {path}")
        lines += [*([piece.header] if piece.header else ()), *piece.lines]
    return escape.fence([escape.clip(line, MOST["line"]) for line in lines], "diff")
