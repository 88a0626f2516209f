"""Variables in a compose file's values, replaced as Compose defines it (compose-spec, 12-interpolation.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bisect_celery.stack.compose.refused import refusal

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_]\w*)(?P<default>:?-)?|(?P<bad>))")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`${NAME}`, `${NAME:-default}`, `${NAME-default}` and `$$`, as Compose defines them; defaults may nest."""
    value, end = _until(text, 0, environment, nested=False)
    assert end == len(text)
    return value


def _until(text: str, at: int, environment: Mapping[str, str], nested: bool) -> tuple[str, int]:
    """The value of `text` from `at` on, up to its end or, `nested`, the brace that closes; and where that is."""
    parts: list[str] = []
    while at < len(text):
        if nested and text[at] == "}":
            return "".join(parts), at
        found = _VARIABLE.match(text, at)
        if found is None:
            parts.append(text[at])
            at += 1
        elif found["escaped"]:
            parts.append("$")
            at = found.end()
        elif found["name"]:
            value, at = _variable(text, found, environment)
            parts.append(value)
        else:
            raise refusal(f"the value {text!r}", "has a `$` that is neither `$$` nor `${NAME}`")
    if nested:
        raise refusal(f"the value {text!r}", "has a `${` without its `}`")
    return "".join(parts), at


def _variable(text: str, found: re.Match[str], environment: Mapping[str, str]) -> tuple[str, int]:
    default, end = "", found.end()
    if found["default"]:
        default, end = _until(text, end, environment, nested=True)
    if text[end : end + 1] != "}":
        raise refusal(f"the value {text!r}", "uses a form of variable other than `${NAME}` and `${NAME:-default}`")
    value = environment.get(found["name"])
    missing = not value if found["default"] == ":-" else value is None
    return (default if missing else value or ""), end + 1


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, environment)
    if isinstance(value, list):
        return [interpolated(item, environment) for item in value]
    if isinstance(value, dict):
        return {key: interpolated(item, environment) for key, item in value.items()}
    return value
