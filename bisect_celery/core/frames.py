"""Stack frames as dumps tell them: which are a library's, which the project's own, and what a hang waits in. Pure.

A frame is `function (file:line)`. Files of installed packages keep their `/site-packages/`, so that a library is
never taken for the project.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from bisect_celery.model import Dump

# What every Celery worker stands in, and what wraps tasks to watch them; a hang inside is still shown,
# as the frames within the project's own.
CELERY = frozenset({"celery", "billiard", "kombu", "amqp", "vine", "click", "click_didyoumean", "click_plugins"})
WRAPPERS = frozenset({"django", "sentry_sdk", "newrelic", "ddtrace", "opentelemetry", "elasticapm", "wrapt"})
MACHINERY = CELERY | WRAPPERS | sys.stdlib_module_names
ENTRANCES = frozenset({"<module>", "main", "execute_from_command_line"})
# A frame that is anything else, say one with local variables behind it, is not looked at at all.
FRAME = re.compile(r"(?P<name>[\w.<>]{1,120}) \((?P<file>[^()\n]{1,400}):(?P<line>-?\d{1,9}|None)\)")
INSTALLED = ("/site-packages/", "/dist-packages/")
OWN_CODE = "its own code"
# The function in which Celery runs a task, body and signals and all, from 2.5 (celery/execute) to today (celery/app).
_TRACE = re.compile(r"(?:^|\.)_*(?:fast_)?trace_task\w*$|(?:^|\.)execute_and_trace$")

Frame = re.Match[str]


def parse(frames: Iterable[str]) -> list[Frame]:
    """The frames that are written as frames are, innermost first. Groups: name, file, line."""
    return [found for frame in frames if (found := FRAME.fullmatch(frame))]


def is_machinery(frame: Frame) -> bool:
    """Whether a frame is one that every worker has, and tells nothing of this project."""
    file = frame["file"]
    if file.startswith("<") or ("/lib/python" in file and not _is_installed(file)):
        return True
    return short(file).split("/")[0].removesuffix(".py") in MACHINERY


def is_own(frame: Frame) -> bool:
    """Whether a frame is the project's own: no machinery, and of no installed package."""
    return not is_machinery(frame) and not _is_installed(frame["file"])


def _is_installed(file: str) -> bool:
    return any(marker in file for marker in INSTALLED)


def short(path: str) -> str:
    """Without where it is installed, which tells about a machine and not about the hang."""
    for marker in INSTALLED:
        if marker in path:
            return path.rsplit(marker, 1)[1]
    if path.startswith("/"):
        library = re.search(r"/lib/python\d[\d.]*/(.+)", path)
        return library[1] if library else "/".join(path.split("/")[-2:])
    return path


# --- what a hang waits in ----------------------------------------------------------------------------


def tasks_wait_in(dumps: Iterable[Dump]) -> str | None:
    """What the processes that hold a task wait in, most of them: `get (celery/result.py)`, or "its own code".

    Told in names that no revision of the project changes. None where no process was seen to hold a task.
    """
    return _most(place for dump in dumps if (place := _within_task(parse(dump.frames))) is not None)


def parent_waits_in(dumps: Iterable[Dump]) -> str | None:
    """The same of the worker's main thread, where that stands in the project's code instead of Celery's loop."""
    main = (dump for dump in dumps if dump.role == "parent" and dump.thread in ("", "MainThread"))
    return _most(place for dump in main if (place := _called_by_own(_without_entrance(parse(dump.frames)))))


def _most(places: Iterable[str]) -> str | None:
    """The most frequent; of equals always the same one."""
    counted = Counter(places)
    return min(counted, key=lambda place: (-counted[place], place)) if counted else None


def _within_task(frames: Sequence[Frame]) -> str | None:
    traced = [index for index, frame in enumerate(frames) if _TRACE.search(frame["name"]) and _of_celery(frame)]
    if not traced or not traced[0]:
        return None
    inside = frames[: traced[0]]
    return _called_by_own(inside) or _told(inside[-1])


def _of_celery(frame: Frame) -> bool:
    return short(frame["file"]).startswith("celery/")


def _called_by_own(frames: Sequence[Frame]) -> str | None:
    """The function that the innermost frame of the project's own called; None where no frame is its own."""
    own = next((index for index, frame in enumerate(frames) if is_own(frame)), None)
    if own is None:
        return None
    return _told(frames[own - 1]) if own else OWN_CODE


def _told(frame: Frame) -> str:
    """Without its line, and without its class, which Python before 3.11 does not tell. An import is one, however it is
    written: how Python goes about it depends on that."""
    if frame["file"].startswith("<frozen importlib"):
        return "import (importlib)"
    return f"{frame['name'].rpartition('.')[2]} ({short(frame['file'])})"


def _without_entrance(frames: list[Frame]) -> list[Frame]:
    end = outermost_entrance(frames)
    return frames[:end]


def outermost_entrance(frames: Sequence[Frame]) -> int:
    """Where the frames of the script begin that started it all; what is before them is what it does."""
    end = len(frames)
    while end and frames[end - 1]["name"] in ENTRANCES:
        end -= 1
    return end
