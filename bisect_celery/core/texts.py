"""Texts that are compared: exceptions as witnesses tell them, messages without what varies, JSON in one spelling.

Pure. Two trials show the same failure when kind, exception and message template agree, so whatever differs from run
to run must go here, and whatever names another failure must stay.
"""

from __future__ import annotations

import builtins
import json
import re

from bisect_celery.core import syntax

LONGEST_TEMPLATE = 200
LONGEST_REPR = 20_000

# --- messages ----------------------------------------------------------------------------------------

_QUOTED = re.compile(r"(?<!\w)[bBuUrR]{0,2}(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")(?!\w)")
_NUMBER = r"(?:(?<![\w.>)\]-])-)?\d+(?:,\d{3}\b)*(?:\.\d+)?(?:e[-+]?\d+)?"
_VARIABLE = (
    # Paths before numbers and ids, which are often parts of them; an address keeps its scheme.
    (re.compile(r"(?<![\w.])(?:/[\w.@+%~=-]+){2,}/?"), "<path>"),
    # One name for ids and numbers: an id is sometimes all digits, and then must not look different.
    (re.compile(r"\b[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b", re.I), "<n>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<n>"),
    (re.compile(rf"(?<![\w.]){_NUMBER}(?!\w)", re.I), "<n>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", re.I), "<n>"),
    (re.compile(_NUMBER, re.I), "<n>"),
)
# What these quote are names in the code, which no run changes: two of them are two failures. What is not written like
# one, or like an operator, is data.
NAMES_CODE = frozenset(
    {
        "AttributeError",
        "ImportError",
        "ModuleNotFoundError",
        "NameError",
        "NotRegistered",
        "TypeError",
        "UnboundLocalError",
    }
)
_CODE = re.compile(r"(['\"])(?:(?:[^\W\d]|<n>)(?:[\w.]|<n>){0,100}|[-+*/%<>=!&|^@~]{1,3})\1")
# A KeyError quotes a key. One that is written like a name (a setting, a variable, a field) is in the code, and another
# one is another failure; any other is data. A name that is data after all is the same in every trial: one probe, one
# set of arguments.
_KEY = re.compile(r"['\"][^\W\d]{1,40}['\"]")


def message_template(text: str | None, exception: str | None = None) -> str | None:
    """A message without what varies from run to run: ids, numbers, quoted values, paths. None stays None.

    `exception` is the type that carries it: some quote names of code, and those stay.
    """
    if text is None:
        return None
    first = text.strip().splitlines()[0].strip() if text.strip() else ""
    kept = _KEY if exception == "KeyError" else _CODE if exception in NAMES_CODE else None
    first = _QUOTED.sub(lambda found: found[0] if kept and kept.fullmatch(found[0]) else "<text>", first)
    for pattern, name in _VARIABLE:
        first = pattern.sub(name, first)
    return first[:LONGEST_TEMPLATE].strip()


def canonical(text: str) -> str:
    """A JSON text in one spelling, so that two spellings of one value agree; other text as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


# --- exceptions --------------------------------------------------------------------------------------

_CALL = re.compile(r"(?:\w+\.)*(?P<name>[^\W\d]\w*)\((?P<arguments>.*)\)", re.DOTALL)
_RETRY = re.compile(
    r"Retry\(Retry\(\.\.\.\), (?P<reason>.*), (?:None|-?[\d.e+-]+|datetime\.datetime\(.*\))\)", re.DOTALL
)
_NAME = re.compile(r"[^\W\d][\w.]*")
_LAST_LINE = re.compile(r"(?P<name>[^\W\d][\w.]*)(?::(?: |$)|$)")


def told_exception(text: str, traceback: str | None = None) -> tuple[str | None, str | None]:
    """Type and message out of `repr(exception)`, which is what events, results and the log have in common.

    The message is what `str(exception)` would be where that can be known: for Python's own exceptions exactly, for
    others as `Exception.__str__` makes it. A `repr` that is not written like a call gives its type by the
    `traceback` (its text) if there is one, else by the first name in it.
    """
    text = text.strip()[:LONGEST_REPR]
    call = _CALL.fullmatch(text)
    if call is not None:
        return call["name"], _message(call["name"], call["arguments"])
    named = _raised_by(traceback) if traceback else None
    if named is None and (first := _NAME.search(text)):
        named = first.group().strip(".").rpartition(".")[2] or None
    return named, text or None


def retried_for(text: str) -> str:
    """Why a task asks to be run again, as `repr(exception)`, out of what its event says; "None" for no reason.

    A pool of processes hands on the exception itself. In all others (5.x) the event has the `repr` of the request to
    try again, whose arguments are itself, the exception and when.
    """
    found = _RETRY.fullmatch(text.strip())
    return found["reason"] if found else text


def _message(name: str, written: str) -> str:
    arguments = _arguments(written)
    if arguments is None:
        return written
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        try:
            return str(kind(*arguments))
        except Exception:  # arguments that this version of Python does not take
            pass
    return str(arguments[0]) if len(arguments) == 1 else str(arguments) if arguments else ""


def _arguments(written: str) -> tuple[object, ...] | None:
    """The arguments of a call, if they are plain values. Old Pythons write `ValueError('x',)`."""
    written = written.strip().removesuffix(",")
    if not written:
        return ()
    try:
        found = syntax.literal(f"({written},)")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, tuple) else None


def _raised_by(traceback: str) -> str | None:
    """The type in a traceback's last words; a message of several lines stands between them and the end."""
    lines = traceback.rstrip().splitlines()
    places = [index for index, line in enumerate(lines) if line.lstrip().startswith('File "')]
    for line in lines[places[-1] + 1 if places else 0 :]:
        if found := _LAST_LINE.match(line):
            return found["name"].rpartition(".")[2]
    return None
