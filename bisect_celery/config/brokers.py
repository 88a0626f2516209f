"""Which kind of broker a revision's files name: what starts production first, then the settings. Read, never run.

Only the kind is taken, by a URL's scheme or by the name of the variable that a URL is read from; addresses are nobody's
business. What the environment alone says in production cannot be found here: `--broker` says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bisect_celery.config.apps import ASIDE
from bisect_celery.config.commands import rank
from bisect_celery.config.listing import Cached

_SCHEME = re.compile(
    r"(?<![\w+])(?P<scheme>rediss?|sentinel|amqps?|pyamqp|librabbitmq|sqs|confluentkafka|gcpubsub|azure\w+)://"
)
_NAMED = r"\w*?broker(?:_(?:read|write|url|uri|dsn|transport|backend))*"
_IN_FILES = re.compile(rf"^[\s\-\"']*(?:export\s+|ENV\s+)?{_NAMED}[\"']?\s*[:=][ \t]*", re.I | re.M)
# A name, an item of a mapping, an argument or an annotated attribute; or a variable's name, before its default.
_IN_CODE = re.compile(rf"(?<!\w){_NAMED}(?:[\"']\s*,|[\"']?\]?\s*(?::\s*[\w\[\]., |]+)?[=:](?!=))[ \t]*", re.I)
_LONGEST = 400
_VARIABLES = re.compile(r"^(?:.*/)?(?:\.env(?:\.\w+)*|[\w.-]*\.env)$")
_LESS = re.compile(r"(?:^|[/_.-])(?:test\w*|local|dev\w*|ci|example|sample)(?=[/_.-])", re.I)


def named_broker(files: Cached) -> tuple[str, str] | None:
    """(scheme, place in words) of the broker that the files name first; None where none does."""
    starting = [path for path in files.paths if rank(path) is not None or _VARIABLES.match(path)]
    settings = [path for path in files.paths if path.endswith(".py") and not ASIDE.search(path)]
    starting.sort(key=lambda path: (_LESS.search(path) is not None, rank(path) if rank(path) is not None else 99, path))
    settings.sort(key=lambda path: (_LESS.search(path) is not None, path))
    files.prefetch((*starting, *settings))
    for paths, pattern in ((starting, _IN_FILES), (settings, _IN_CODE)):
        for path in paths:
            for scheme, line in _in(files.text(path), pattern):
                return scheme, f"{path}:{line}"
    return None


def _in(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    for found in pattern.finditer(text):
        commented = "#" in text[: found.start()].rpartition("\n")[2]
        if not commented and (scheme := _kind(_value(text[found.end() : found.end() + _LONGEST]))) is not None:
            yield scheme, text.count("\n", 0, found.end()) + 1


def _value(text: str) -> str:
    """What is set: to the end of the line or the next argument, or where a bracket closes that was open before."""
    depth, quote = 0, ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        if depth < 0 or (not depth and not quote and letter in ",\n"):
            return text[:at]
    return text


def _kind(value: str) -> str | None:
    """What is set says it by its scheme; by its word, where that is all; else by the names it is made of."""
    if found := _SCHEME.search(value):
        return found["scheme"]
    redis, rabbit = (re.search(pattern, value, re.I) is not None for pattern in ("redis", "rabbit|amqp"))
    return None if redis == rabbit else "redis" if redis else "amqp"
