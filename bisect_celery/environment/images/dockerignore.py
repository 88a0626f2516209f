"""`.dockerignore`: which files of a folder a build never sees. Pure.

Rules of https://docs.docker.com/build/concepts/context/#dockerignore-files : Go's `filepath.Match` and `**`, the last
line that fits decides, `!` takes back, and what fits a folder fits all that is in it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

Ignored = Callable[[str], bool]


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    takes_back: bool


def ignored(text: str) -> Ignored:
    """Whether a path (POSIX style, from the context's root) is left out of the context."""
    rules = [rule for line in text.removeprefix("\ufeff").splitlines() if (rule := _rule(line)) is not None]

    def is_ignored(path: str) -> bool:
        parts = path.split("/")
        fits = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        out = False
        for rule in rules:
            if rule.takes_back == out and any(rule.pattern.fullmatch(one) for one in fits):
                out = not rule.takes_back
        return out

    return is_ignored


def _rule(line: str) -> _Rule | None:
    if line.startswith("#"):
        return None
    line = line.strip()
    takes_back = line.startswith("!")
    path = line.removeprefix("!").strip()
    if not path:
        return None
    clean = posixpath.normpath(path).lstrip("/")
    return None if clean == "." else _Rule(re.compile(expression(clean, deep=True)), takes_back)


def expression(pattern: str, *, deep: bool = False) -> str:
    """A regular expression for Go's `filepath.Match`; with `deep`, `**` stands for any number of folders."""
    out, index = "", 0
    while index < len(pattern):
        char = pattern[index]
        if deep and pattern.startswith("**", index):
            index += 2
            if pattern[index : index + 1] == "/":
                out, index = out + "(?:.*/)?", index + 1
            else:
                out += ".*"
            continue
        if char == "[" and (end := pattern.find("]", index + 2)) > 0:
            inner = pattern[index + 1 : end].replace("\\", "\\\\")
            out, index = out + f"[{inner}]", end + 1
            continue
        if char == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        index += 1
    return out
