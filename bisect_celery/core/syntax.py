"""Python's own parser, as several threads may use it. Pure."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Each try meets another moment of the other threads.
MOST_TRIES = 20


def module(source: str | bytes) -> ast.Module:
    """`ast.parse`. Raises what it does: SyntaxError, ValueError, RecursionError, MemoryError."""
    return undisturbed(lambda: ast.parse(source))


def literal(text: str) -> object:
    """`ast.literal_eval`, which parses as well. Raises what it does: TypeError beside the errors of `module`."""
    return undisturbed(lambda: ast.literal_eval(text))


def undisturbed(parse: Callable[[], T]) -> T:
    """Once more where Python 3.11 fails because another thread parses too: it counts how deep it is in one place for
    all threads ("AST constructor recursion depth mismatch"), so that failing is chance and not the source's."""
    for _ in range(MOST_TRIES):
        try:
            return parse()
        except SystemError:
            continue
    raise ValueError("the source could not be parsed")
