"""Files of variables, as `docker compose`, python-dotenv and a shell's `source` agree on them. Pure.

A line is `NAME=value`, `export NAME=value`, a comment or blank. Single quotes keep everything, double quotes know
backslashes, both may span lines; without quotes ` #` begins a comment. `${NAME}` and `${NAME:-default}` see the
lines above, and nothing of the caller's environment (DESIGN 6).
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?P<equals>=)?[ \t]*")
_SINGLE = re.compile(r"'(?P<value>[^']*)'")
_DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"', re.S)
_BARE = re.compile(r"[^\r\n]*")
_REST = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r|$)")
_BLANK = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r))+|[ \t]*(?:#[^\r\n]*)?$")
_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:?-)(?P<default>[^}]*))?\}")
_ESCAPED_OR_REFERENCE = re.compile(rf"\\(?P<escaped>.)|{_REFERENCE.pattern}", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "'": "'", "`": "`"}


class DotenvError(ValueError):
    """A line that is none of the kinds; `line` counts from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is not NAME=value")
        self.line = line


def parse(text: str) -> dict[str, str | None]:
    """The variables of a file, the last of a name wins. None: a bare name, to be taken from elsewhere.

    Raises DotenvError.
    """
    text = text.removeprefix("\ufeff")
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        if (blank := _BLANK.match(text, at)) and blank.end() > at:
            at = blank.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise DotenvError(text.count("\n", 0, at) + 1)
        value, end = _value(text, name.end(), found) if name["equals"] else (None, name.end())
        rest = _REST.match(text, end)
        if rest is None:
            raise DotenvError(text.count("\n", 0, at) + 1)
        found[name["name"]] = value
        at = rest.end()
    return found


def variables_of(text: str) -> dict[str, str]:
    """Those that have a value; none of a file that is no such file."""
    try:
        return {name: value for name, value in parse(text).items() if value is not None}
    except DotenvError:
        return {}


def _value(text: str, at: int, known: dict[str, str | None]) -> tuple[str, int]:
    if match := _SINGLE.match(text, at):
        if _REST.match(text, match.end()):
            return match["value"], match.end()
    elif (match := _DOUBLE.match(text, at)) and _REST.match(text, match.end()):
        return _unescaped(match["value"], known), match.end()
    bare = _BARE.match(text, at)
    assert bare is not None
    value = re.split(r"(?:^|[ \t])#", bare.group(), maxsplit=1)[0].strip()
    return _filled(value, known), bare.end()


def _unescaped(value: str, known: dict[str, str | None]) -> str:
    """Backslashes and references in one pass, so that `\\${X}` stays as it is written."""

    def put(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return _ESCAPES.get(match["escaped"], match.group())
        return _current(match, known)

    return _ESCAPED_OR_REFERENCE.sub(put, value)


def _filled(value: str, known: dict[str, str | None]) -> str:
    return _REFERENCE.sub(lambda match: _current(match, known), value)


def _current(match: re.Match[str], known: dict[str, str | None]) -> str:
    current = known.get(match["name"])
    if current or (current is not None and match["kind"] != ":-"):
        return current
    return match["default"] or ""
