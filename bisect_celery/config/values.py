"""From what stands in a flag, a variable or a TOML file to a typed value, or one sentence about why not."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bisect_celery.config import message
from bisect_celery.core import scenario
from bisect_celery.errors import UserError
from bisect_celery.model import Match, Script, Step


@dataclass(frozen=True)
class Given:
    """One raw value: `label` names it in a sentence ("--count", "`count` in bisect-celery.toml"), `source` in a table.

    `folder` is what relative paths are relative to; `text` says that it came as text (a flag, a variable).
    """

    raw: object
    label: str
    source: str
    folder: Path
    text: bool


def string(given: Given) -> str:
    if not isinstance(given.raw, str):
        raise _wrong(given, "a text")
    if not given.raw.strip():
        raise UserError(f"{given.label} is empty.", "Leave it out, or give it a value.")
    return given.raw.strip()


def app(given: Given) -> str:
    value = string(given)
    if re.search(r"[\s/]|\.py$", value):
        raise UserError(
            f"{given.label} is not a module: {value}.",
            "It is what `celery -A` takes: `--app shop` or `--app shop.tasks:app`.",
        )
    return value


def python(given: Given) -> str:
    if isinstance(given.raw, (int, float)):
        raise UserError(
            f"{given.label} is a number, and as a number 3.10 is 3.1.", f'Write it as a text: python = "{given.raw}".'
        )
    return string(given)


def integer(given: Given) -> int:
    raw = given.raw
    if given.text and isinstance(raw, str) and re.fullmatch(r"\s*\d+\s*", raw):
        raw = int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 0:
        raise _wrong(given, "a whole number, 0 or more")
    return raw


def number(given: Given) -> float:
    raw = given.raw
    if given.text and isinstance(raw, str) and re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", raw):
        raw = float(raw)
    if not isinstance(raw, (int, float)) or isinstance(raw, bool) or not 0 < raw < 1e9:
        raise _wrong(given, "a number above 0")
    return float(raw)


def rate(given: Given) -> float:
    """How often, of 1: `1/5`, `20%`, `0.2`, or 1 for always."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:(%)|/\s*([1-9]\d*))?\s*", str(given.raw))
    value = float(found[1]) / (100 if found[2] else int(found[3] or 1)) if found else 0.0
    if not 0 < value <= 1 or isinstance(given.raw, bool):
        raise _wrong(given, "how often it fails, more than 0 and at most 1: 1/5, 20%, 0.2")
    return value


def confidence(given: Given) -> float:
    value = number(given)
    if not 0.5 < value < 1:
        raise _wrong(given, "between 0.5 and 1")
    return value


def boolean(given: Given) -> bool:
    if isinstance(given.raw, bool):
        return given.raw
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if given.text and isinstance(given.raw, str) and given.raw.strip().lower() in words:
        return words[given.raw.strip().lower()]
    raise _wrong(given, "true or false")


def one_of(*choices: str) -> Callable[[Given], str]:
    def parse(given: Given) -> str:
        if given.raw in choices:
            return str(given.raw)
        near = difflib.get_close_matches(str(given.raw), choices, 1)
        raise UserError(
            f"{given.label} is {' or '.join(choices)}, not {given.raw}.", f"Did you mean {near[0]}?" if near else ""
        )

    return parse


def match(given: Given) -> Match:
    return Match(one_of(*Match)(given))


def pattern(given: Given) -> str:
    value = string(given)
    try:
        re.compile(value)
    except re.error as error:
        raise UserError(
            f"{given.label} is not a regular expression: {error}.", "Put a backslash before what is meant literally."
        ) from None
    return value


def expression(given: Given) -> str:
    """A Python expression about `value`. It is evaluated by the project's own Python, so only its form is looked at."""
    text = string(given)
    example = "Quote it for the shell: --check 'value[\"total\"] > 3'."
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        raise UserError(f"{given.label} is not a Python expression: {text}.", example) from None
    if not any(isinstance(node, ast.Name) and node.id == "value" for node in ast.walk(tree)):
        raise UserError(f"{given.label} says nothing about `value`, which is what a task returned.", example)
    return text


def script(given: Given) -> Script:
    """A file of the user's: its content now, so that every trial of a session has the same."""
    return Script(path(given).name, _content(given))


def stuck(given: Given) -> message.Stuck:
    """A message that somebody copied out of a queue."""
    return message.parse(_content(given), path(given).name)


def steps(given: Given) -> tuple[Step, ...]:
    """A scenario: a list of steps in a TOML file of the settings, or the name of a TOML file that has one."""
    raw = given.raw
    if isinstance(raw, str):
        try:
            raw = tomllib.loads(_content(given)).get("scenario")
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{given.label} {path(given).name} is not TOML: {error}.", scenario.EXAMPLE) from None
    try:
        return scenario.parse(raw)
    except scenario.NotAStep as refused:
        raise UserError(f"{given.label}: {refused}", scenario.EXAMPLE) from None


def _content(given: Given) -> str:
    where = path(given)
    try:
        return where.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{given.label} {where.name} cannot be read: {why}.", f"Looked at {where}.") from None


JUDGES = ("latency", "memory")


def judges(given: Given) -> tuple[str, ...]:
    """What is held against the good end, as a list or with commas."""
    if isinstance(given.raw, (list, tuple)):
        names = [str(name) for name in given.raw]
    else:
        names = [name.strip() for name in string(given).split(",")]
    for name in names:
        one_of(*JUDGES)(dataclasses.replace(given, raw=name))
    return tuple(dict.fromkeys(names))


SERVICES = {
    "redis": "redis",
    "postgres": "postgres",
    "postgresql": "postgres",
    "mariadb": "mariadb",
    "mysql": "mysql",
}


KINDS = tuple(dict.fromkeys(SERVICES.values()))


def services(given: Given) -> tuple[str, ...]:
    """What stands beside the broker, as a list or with commas, of databases one; any other name is that of a service
    of the project's compose file."""
    texts = given.raw if isinstance(given.raw, (list, tuple)) else [string(given)]
    names = [name for text in texts for name in re.split(r"[,\s]+", str(text).strip()) if name]
    for name in names:
        if name not in SERVICES and (near := difflib.get_close_matches(name, SERVICES, 1, 0.85)):
            raise UserError(f"{given.label} is {', '.join(KINDS)} or a service of the compose file, not {name}.",
                            f"Did you mean {near[0]}?")  # fmt: skip
    found = tuple(dict.fromkeys(SERVICES.get(name, name) for name in names))
    if len(set(found) & set(KINDS) - {"redis"}) > 1:
        raise UserError(f"{given.label} names two databases, and a trial has one.", "Leave one of them out.")
    return found


def compose(given: Given) -> tuple[Path, ...]:
    """The project's compose files; none of them, where it is to be left alone."""
    texts = given.raw if isinstance(given.raw, (list, tuple)) else [given.raw]
    if all(str(text).strip().lower() in ("none", "false", "no", "off", "0") for text in texts):
        return ()
    return tuple(path(dataclasses.replace(given, raw=text)) for text in texts)


def path(given: Given) -> Path:
    return (given.folder / Path(string(given)).expanduser()).absolute()


def words(given: Given) -> tuple[str, ...]:
    """A command line, as one text or as a list of words."""
    if isinstance(given.raw, (list, tuple)) and all(isinstance(word, str) for word in given.raw):
        return tuple(given.raw)
    try:
        return tuple(shlex.split(string(given)))
    except ValueError as error:
        raise UserError(
            f"{given.label} has a quote that is not closed ({error}).", "Quote it: --worker '-c 2'."
        ) from None


def lines(given: Given) -> tuple[tuple[str, ...], ...]:
    """Command lines: one text, or a list of texts."""
    texts = given.raw if isinstance(given.raw, (list, tuple)) else [given.raw]
    return tuple(words(dataclasses.replace(given, raw=text)) for text in texts)


def several(given: Given) -> tuple[str, ...]:
    """Several texts: a flag given more than once, a TOML list, or one text taken apart as a shell does."""
    if isinstance(given.raw, (list, tuple)) and all(isinstance(one, str) for one in given.raw):
        return tuple(given.raw)
    if given.text:
        return words(given)
    return (string(given),)


def arguments(given: Given) -> tuple[tuple[str, str | None], ...]:
    """NAME=VALUE, or NAME alone for the value it has here; in a TOML file also a table."""
    if isinstance(given.raw, dict):
        return tuple((str(name), str(value)) for name, value in given.raw.items())
    found = [text.partition("=") for text in several(given)]
    for name, _, _ in found:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise _wrong(given, "NAME=VALUE or NAME")
    return tuple((name, value if equals else None) for name, equals, value in found)


# --- JSON --------------------------------------------------------------------------------------------

_EXAMPLES = {"args": "'[1, \"a\"]'", "kwargs": '\'{"name": "a"}\'', "expect": "'\"ok\"'"}


def json_list(given: Given) -> str:
    return _json(given, "args", list, "a list")


def json_object(given: Given) -> str:
    return _json(given, "kwargs", dict, "an object")


def json_any(given: Given) -> str:
    return _json(given, "expect", object, "a value")


def _json(given: Given, key: str, kind: type, said: str) -> str:
    """JSON text of a value, checked. A text is JSON already, also in TOML; other TOML values are written as JSON."""
    shell = f"Quote it for the shell, the texts in it with double quotes: --{key} {_EXAMPLES[key]}."
    example = shell if given.text else f"Write {key} = {_EXAMPLES[key]}: JSON, between single quotes."
    if isinstance(given.raw, str):
        try:
            value = json.loads(given.raw, parse_constant=_refuse)
        except ValueError as error:
            where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            raise UserError(f"{given.label} is not JSON{where}{_why(given.raw, given.text)}.", example) from None
    else:
        value = given.raw
    if not isinstance(value, kind):
        raise UserError(f"{given.label} is JSON, but not {said}.", example)
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise UserError(f"{given.label} holds something that JSON has no word for.", example) from None


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _why(raw: str, typed: bool) -> str:
    if "'" in raw:
        return ": JSON knows only double quotes"
    if typed and re.search(r"[A-Za-z]", re.sub(r"\b(?:true|false|null)\b", "", raw)) and '"' not in raw:
        return ": the shell took the double quotes away"
    return ""


def _wrong(given: Given, wanted: str) -> UserError:
    return UserError(f"{given.label} must be {wanted}, not {given.raw!r}.", "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    found: Sequence[str] = difflib.get_close_matches(name, list(known), 1, 0.6)
    return found[0] if found else None
