"""What a worker's log tells of its tasks: pure parsing of lines, any Celery from 2.5 to today.

The formats are those of `celery.app.trace` and `celery.worker.strategy` (read in 3.1, 4.4, 5.x): projects may
replace them, which is why the log is one of three sources and never the only one that counts. From 4.0 on a task's
end is written by the pool process, before signals and acknowledgement; until 3.1 by the main process, after both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

UUID = r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_TASK = rf"[Tt]ask:? (?P<name>\S+?)\[{UUID}\]"
_RAISED = r"(?P<raised>\S.*)$"
_PROCESS = re.compile(r"/(?P<process>(?:Fork|Spawn)?PoolWorker-[\d:]+|MainProcess|Worker-\d+)\]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Where loggers that write JSON put what was said, and the traceback (python-json-logger, structlog and others).
_MESSAGE, _TRACE = ("message", "msg", "event"), ("exc_info", "exception", "traceback")
_RETRY = re.compile(r"Retry (?:in -?[\d.]+s|at [\d :.T+-]+?)(?:: (?P<raised>\S.*))?$")
_CALL = re.compile(r"[^\W\d][\w.]*\(")
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("received", re.compile(rf"{_TASK} received")),
    ("received", re.compile(rf"(?:Received|Got) task(?: from broker)?: (?P<name>\S+?)\[{UUID}\]")),
    ("succeeded", re.compile(rf"{_TASK} succeeded in ")),
    ("failed", re.compile(rf"{_TASK} raised (?:unexpected|expected|exception): {_RAISED}")),
    ("failed", re.compile(rf"{_TASK} INTERNAL ERROR: {_RAISED}")),
    # 5.7 catches what `on_success` and `after_return` raise, and then says "succeeded" all the same.
    ("failed", re.compile(rf"{_TASK} \w+ handler raised: {_RAISED}")),
    ("retry", re.compile(rf"{_TASK} retry: {_RAISED}")),
    ("ignored", re.compile(rf"{_TASK} ignored")),
    ("rejected", re.compile(rf"{_TASK} reject requeue=False")),  # with True it comes back: no end
    ("revoked", re.compile(rf"(?:Discarding|Skipping) revoked task: (?P<name>\S+?)\[{UUID}\]")),
)
# What the main process throws away unread (`celery.worker.consumer`, read in 3.1, 4.4, 5.7; the second tells a `repr`).
_REFUSED = (
    re.compile(r"Received invalid task message: (?P<words>\S.*)$"),
    re.compile(r"Can't decode message body: (?P<words>\S.*?) \[type:"),
    re.compile(r"(?P<words>Received and deleted unknown message)"),
)
# Before 5.0 on Python 2 the name is written as u'name'.
_UNREGISTERED = re.compile(r"Received unregistered task of type u?'?(?P<name>[^'\s]+?)'?\.$")
# The banner, and the consumer's own words, which begin a line or follow a log line's prefix: a project's tasks
# may well tell that they are connected to something.
_BROKER = re.compile(r"(?:\.> transport:\s+|\. broker:\s+|^(?:\[[^\]]*\] )?Connected to )(?P<url>\w[\w+.-]*://\S+)")
_BROKER_SCHEMES = frozenset({"amqp", "amqps", "pyamqp", "librabbitmq"})
_LOST = re.compile(r"Process u?'?(?:Fork|Spawn)?(?:Pool)?Worker-[\d:]+'? pid:\d+ exited with ")
# billiard's (read in 4.2), when `worker_max_memory_per_child` is passed.
_OUTGROWN = re.compile(r"child process exiting after exceeding memory limit \(\d+KiB")
_READY = re.compile(r"(?:^|[\s\]])\S+@\S+ (?:ready|has started)\.$")
_ERROR = re.compile(r"\[[^\]]*?(?:ERROR|CRITICAL)/\w+")
_UNRECOVERABLE = re.compile(r"Unrecoverable error: (?P<raised>\S.*)$")
# How a line of a log begins, Celery's own or one that is JSON: what stands behind it was logged, not printed.
_PREFIX = re.compile(r"^(?:\[[^\]]*\b[A-Z]+/\w|\{\")")
_TRACEBACK = re.compile(r"^(?P<indent>\s*)Traceback \(most recent call last\):")
_WORDS = re.compile(r"^(?P<type>[^\W\d][\w.]*)(?:: (?P<message>.*)|:?$)")
_NAMED = re.compile(
    r"^(?:\w+\.)*(?P<type>\w+(?:Error|Exception|Exit|Warning|NotRegistered|Lost\w*|ImproperlyConfigured))"
    r"(?:: (?P<message>.*)|:?$)"
)


@dataclass(frozen=True)
class LogSign:
    """One thing a log line says.

    `what`: received, succeeded, failed, retry, ignored, rejected, revoked, unregistered, lost (a pool process died),
    outgrown (one ended for its memory limit), refused (a message was thrown away unread), ready, error. `raised` is
    what follows: for a failure the `repr` of its exception, for a retry or a refusal the reason.
    """

    what: str
    id: str | None = None
    raised: str | None = None
    process: str | None = None


def plain(line: str) -> str:
    """Without the colours that Celery (`worker_log_color`) and projects put into a log."""
    return _COLOUR.sub("", line).rstrip("\r")


def said(line: str) -> list[str]:
    """The lines that a plain line of a log stands for: itself; of JSON the message and the traceback."""
    if not line.startswith("{"):
        return [line]
    try:
        written = json.loads(line)
    except (ValueError, RecursionError):
        return [line]
    first = next((text for key in _MESSAGE if isinstance(text := written.get(key), str)), None)
    if first is None:
        return [line]
    traces = [text for key in _TRACE if isinstance(text := written.get(key), str)]
    return [part for text in (first, *traces) for part in text.splitlines()] or [""]


def retry_reason(words: str) -> str | None:
    """The exception for which a task asks to be run again, or its own words (`celery.exceptions.Retry`)."""
    found = _RETRY.match(words)
    return found["raised"] if found else words


def _exception(line: str, raised: str) -> str:
    """Celery's own format ends with the `repr`, whatever that is. Another one may go on behind it."""
    call = None if _PREFIX.match(line) else _CALL.match(raised)
    return raised[: _end_of_call(raised, call.end())] if call else raised


def _end_of_call(text: str, at: int) -> int:
    """Where the parenthesis closes that was opened before `at`; the end where none does."""
    depth = 1
    while depth and at < len(text):
        quoted = _STRING.match(text, at)
        depth += (text[at] == "(") - (text[at] == ")")
        at = quoted.end() if quoted else at + 1
    return at if not depth else len(text)


def read_line(line: str) -> LogSign | None:
    """What one line of a worker's log says of a task or its pool; None for everything else."""
    process = _PROCESS.search(line)
    where = process.group("process") if process else None
    for what, pattern in _RULES:
        if found := pattern.search(line):
            groups = found.groupdict()
            raised = groups.get("raised")
            return LogSign(what, groups.get("id"), raised and _exception(line, raised), where)
    for what, pattern in (
        ("unregistered", _UNREGISTERED),
        ("lost", _LOST),
        ("outgrown", _OUTGROWN),
        ("ready", _READY),
    ):
        if pattern.search(line):
            return LogSign(what)
    if words := _refused(line):
        return LogSign("refused", raised=words, process=where)
    if _ERROR.search(line):
        return LogSign("error", process=where)
    return None


def _refused(line: str) -> str | None:
    """Why the main process threw a message away, if that is what the line says."""
    found = next((found for pattern in _REFUSED if (found := pattern.search(line))), None)
    return found["words"] if found is not None else None


def exception_of(line: str, words: str) -> str | None:
    """The type, if the line is the end of a traceback with just these words."""
    found = _WORDS.match(line)
    same = found is not None and (found["message"] or "").strip() == words.strip()
    return found["type"].rpartition(".")[2] if found is not None and same else None


def not_emulated(line: str) -> str | None:
    """The feature that the embedded broker refused, which a worker goes on asking for every second."""
    found = re.search(r"embedded broker does not emulate ([^:;]+):", line)
    return found.group(1) if found else None


def broker_refusal(lines: Sequence[str]) -> str | None:
    """The last thing that the broker refused a client, without the virtual host's name, which is a trial's own."""
    for line in reversed(lines):
        if found := re.search(r"\(\d{3}\) ([A-Z_]+ - .+)", line):
            return re.sub(r" in vhost '[^']*'", "", found[1]).strip()
    return None


def broker_in(line: str) -> str | None:
    """The broker's address in a worker's banner or connection line, without credentials."""
    found = _BROKER.search(line)
    if found is None:
        return None
    url = found.group("url")
    if "transport:" not in line and "broker:" not in line and url.partition("://")[0] not in _BROKER_SCHEMES:
        return None
    return re.sub(r"//[^@/]*@", "//", url)


def connected(line: str) -> bool:
    """Whether the main process says that it is connected, which it does only where its log is at INFO."""
    return (found := _BROKER.search(line)) is not None and "Connected to " in found[0]


def last_exception(lines: Sequence[str]) -> tuple[str, str] | None:
    """(type, message) of the last traceback's last line in a log, which is why a worker did not boot."""
    for index in range(len(lines) - 1, -1, -1):
        if found := _TRACEBACK.match(lines[index]):
            return _after_traceback(lines[index + 1 :], found.group("indent"))
    for line in reversed(lines):
        if found := _NAMED.match(line.strip()):
            return found.group("type"), found.group("message") or ""
    return None


def _after_traceback(lines: Sequence[str], indent: str) -> tuple[str, str] | None:
    """The words a traceback ends with: its first line that is not indented further than its head."""
    for line in lines:
        rest = line.removeprefix(indent)
        if rest.strip() and not rest.startswith((" ", "\t")):
            found = _WORDS.match(rest.rstrip())
            return (found.group("type").rpartition(".")[2], found.group("message") or "") if found else None
    return None


def last_words(lines: Sequence[str]) -> str | None:
    """Why a worker that had been ready ended, as its log says: an unrecoverable error's `repr`, or the traceback that
    the log ends with as `Type: message`. None when it says nothing; a task's traceback is followed by other lines."""
    for line in reversed(lines):
        if found := _UNRECOVERABLE.search(line):
            return found.group("raised")
    heads = [index for index, line in enumerate(lines) if _TRACEBACK.match(line)]
    if not heads or any(_PREFIX.match(line) for line in lines[heads[-1] :]):
        return None
    if heads[-1] and _PREFIX.match(lines[heads[-1] - 1]):
        return None  # the traceback belongs to a log line: it was caught
    found_last = last_exception(lines[heads[-1] :])
    return ": ".join(filter(None, found_last)) if found_last else None
