"""What a worker's log tells of its tasks: pure parsing of lines, any Celery from 2.5 to today.

The formats are those of `celery.app.trace` and `celery.worker.strategy` (read in 3.1, 4.4, 5.x): projects may
replace them, which is why the log is one of three sources and never the only one that counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UUID = r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_TASK = rf"[Tt]ask:? (?P<name>\S+?)\[{UUID}\]"
_PROCESS = re.compile(r"/(?P<process>(?:Fork)?PoolWorker-[\d:]+|MainProcess|Worker-\d+)\]")
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("received", re.compile(rf"{_TASK} received")),
    ("received", re.compile(rf"(?:Received|Got) task(?: from broker)?: (?P<name>\S+?)\[{UUID}\]")),
    ("succeeded", re.compile(rf"{_TASK} succeeded in ")),
    ("failed", re.compile(rf"{_TASK} raised (?:un)?expected: (?P<exception>\w+)\(")),
    ("failed", re.compile(rf"{_TASK} raised exception: (?P<exception>\w+)\(")),
    ("failed", re.compile(rf"{_TASK} INTERNAL ERROR: (?P<exception>\w+)\(")),
    ("retry", re.compile(rf"{_TASK} retry: ")),
    ("discarded", re.compile(rf"{_TASK} (?:ignored|discarded|rejected)")),
)
_UNREGISTERED = re.compile(r"Received unregistered task of type '?(?P<name>[^'\s]+?)'?\.$")
_BROKER = re.compile(r"(?:Connected to|transport:\s+)\s*(?P<url>\w+://\S+)")
_LOST = re.compile(r"WorkerLostError|Process '?(?:Fork)?PoolWorker-\S+'? .*exited with|exitcode:? ?-?\d+ \(SIG")
_ERROR = re.compile(r"\[[^\]]*?(?:ERROR|CRITICAL)/\w+")
_RAISED = re.compile(
    r"^(?P<type>(?:\w+\.)*(?P<exception>\w+(?:Error|Exception|Exit|Warning|NotRegistered|Lost\w*)))(?::|$)"
)


@dataclass(frozen=True)
class LogSign:
    """One thing a log line says. `what`: received, succeeded, failed, retry, discarded, unregistered, lost, error."""

    what: str
    id: str | None = None
    exception: str | None = None
    process: str | None = None


def read_line(line: str) -> LogSign | None:
    """What one line of a worker's log says of a task or its pool; None for everything else."""
    process = _PROCESS.search(line)
    where = process.group("process") if process else None
    for what, pattern in _RULES:
        if found := pattern.search(line):
            groups = found.groupdict()
            return LogSign(what, groups.get("id"), groups.get("exception"), where)
    if _UNREGISTERED.search(line):
        return LogSign("unregistered")
    if _LOST.search(line):
        return LogSign("lost")
    if _ERROR.search(line):
        return LogSign("error", process=where)
    return None


def broker_in(line: str) -> str | None:
    """The broker's address in a worker's banner or connection line, without credentials."""
    found = _BROKER.search(line)
    return re.sub(r"//[^@/]*@", "//", found.group("url")) if found else None


def last_exception(lines: list[str]) -> tuple[str, str] | None:
    """(type, message) of the last traceback's last line in a log, which is why a worker did not boot."""
    for line in reversed(lines):
        if found := _RAISED.match(line.strip()):
            return found.group("exception"), line.strip()[found.end("type") :].lstrip(": ")
    return None
