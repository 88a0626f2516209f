"""What is not secret and still nobody's business: task arguments, environment values, hidden characters. Pure."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bisect_celery.model import Redact, Request

ELLIPSIS = "…"
ARGUMENT_FLAGS = ("--args", "--kwargs", "--expect", "--check")
HARMLESS = ("[]", "{}", "null", "true", "false")
# Below this a value is also a word of the report itself.
SHORTEST = 5
PLACEHOLDER = re.compile(
    r"(?:\{(?:result_url|work_dir|(?:broker|database|redis)_(?:url|host|port|name|user|password|vhost))\}"
    r"[/:.\w-]{0,20})+"
)
# Controls, and marks that turn the direction of text, which can make code read as what it is not.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


@dataclass(frozen=True)
class Clean:
    """Makes the strings of a report: `line` and `block` for any text, `message` for texts of exceptions.

    Every one redacts first: a secret that was cut in two is not recognised.
    """

    redact: Redact
    private: tuple[tuple[str, str], ...]
    values: tuple[str, ...]

    @classmethod
    def of(cls, request: Request, redact: Redact) -> Clean:
        return cls(redact, _private(request), tuple(sorted(set(_values(request)), key=len, reverse=True)))

    def line(self, text: str) -> str:
        """A text on one line."""
        return " ".join(self.block(text).split())

    def code(self, text: str) -> str:
        """One line of code: its spaces stay."""
        return self.block(text).replace("\n", " ")

    def block(self, text: str) -> str:
        """A text that may have lines."""
        return visible(_without(self.redact(text), self.private))

    def message(self, text: str) -> str:
        """What an exception said, without what the tasks were given."""
        return self.line(_without_words(self.redact(text), self.values))

    def maybe(self, text: str | None, how: Callable[[str], str]) -> str | None:
        return None if text is None else how(text)


def visible(text: str) -> str:
    """Without characters that cannot be seen: hidden ones by their number, line ends as \\n."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return HIDDEN.sub(lambda found: f"<U+{ord(found.group()):04X}>", text)


def command(text: str, request: Request) -> tuple[str, bool]:
    """The command without task arguments and environment values, and whether anything was left out."""
    try:
        words = shlex.split(text)
    except ValueError:
        return _without(text, _private(request)), True
    kept = list(_kept_words(words))
    return " ".join(map(_quoted, kept)), kept != words


def _kept_words(words: Iterable[str]) -> Iterator[str]:
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        if flag:
            yield _kept_value(flag, word)
            flag = ""
        elif name in (*ARGUMENT_FLAGS, "--env") and equals:
            yield f"{name}={_kept_value(name, value)}"
        else:
            flag = word if word in (*ARGUMENT_FLAGS, "--env") else ""
            yield word


def _kept_value(flag: str, value: str) -> str:
    if flag in ARGUMENT_FLAGS:
        return value if value in HARMLESS else ELLIPSIS
    name, _, text = value.partition("=")
    return value if not text or PLACEHOLDER.fullmatch(text) else f"{name}={ELLIPSIS}"


def _quoted(word: str) -> str:
    """As a shell takes it; our own mark of something left out needs no quotes to be replaced by hand."""
    return word if re.fullmatch(rf"[\w@%+=:,./~^{ELLIPSIS}-]+", word) else shlex.quote(word)


def _private(request: Request) -> tuple[tuple[str, str], ...]:
    """Whole texts that may stand in any string, with what to put instead: arguments' JSON, `NAME=value`."""
    probe = request.probe
    found: dict[str, str] = {}
    for text in (probe.args, probe.kwargs, probe.expect or ""):
        if len(text) >= SHORTEST and text not in HARMLESS:
            found |= dict.fromkeys((text, shlex.quote(text)), ELLIPSIS)
    for name, value in request.environment:
        if value and not PLACEHOLDER.fullmatch(value):
            pair = f"{name}={value}"
            found |= dict.fromkeys((pair, shlex.quote(pair), f"{name}={shlex.quote(value)}"), f"{name}={ELLIPSIS}")
    return tuple(sorted(found.items(), key=lambda item: -len(item[0])))


def _values(request: Request) -> Iterator[str]:
    probe = request.probe
    for text in (probe.args, probe.kwargs, probe.expect or ""):
        try:
            leaves = list(_leaves(json.loads(text or "null")))
        except ValueError:
            leaves = [text]
        yield from (leaf for leaf in leaves if len(leaf) >= SHORTEST)
    yield from _literals(probe.check or "")
    yield from (value for _, value in request.environment if len(value) >= SHORTEST)


def _literals(expression: str) -> Iterator[str]:
    """The texts that a predicate compares values with; its names and keys are names of the code's."""
    with contextlib.suppress(SyntaxError, ValueError):
        tree = ast.parse(expression, mode="eval")
        keys = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
                yield from (text for text in (node.value,) if len(text) >= SHORTEST)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _without(text: str, private: tuple[tuple[str, str], ...]) -> str:
    for one, instead in private:
        text = text.replace(one, instead)
    return text


def _without_words(text: str, values: tuple[str, ...]) -> str:
    for value in values:
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", ELLIPSIS, text)
    return text
