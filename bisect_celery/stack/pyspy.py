"""Where the processes of a worker stand, by py-spy. Explains; never judges: a missing dump changes no verdict."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

from bisect_celery.model import Dump

DEADLINE = 10.0
MAX_FRAMES = 60
_INSTALLED = ("/site-packages/", "/dist-packages/")


def binary() -> Path | None:
    """The py-spy that came with us: a static program, so it can be put into a container as it is."""
    path = Path(sysconfig.get_path("scripts")) / "py-spy"
    return path if path.exists() else None


def arguments(program: str, pid: int) -> tuple[str, ...]:
    """The words that dump one process. Never with locals: they hold other people's data (DESIGN 16).

    py-spy's own `--subprocesses` has no effect on `dump` (0.4.3), so children are dumped one by one.
    """
    return (program, "dump", "--json", "--nonblocking", "--pid", str(pid))


def parse_dump(text: str, parent: int) -> tuple[Dump, ...]:
    """py-spy's JSON as dumps, the parent's threads first; empty when it is not JSON (py-spy was not allowed to look).

    `parent` is the worker's main process as py-spy saw its pid.
    """
    try:
        threads = json.loads(text)
    except ValueError:
        return ()
    if not isinstance(threads, list):
        return ()
    dumps = [_dump(thread, parent) for thread in threads if isinstance(thread, dict)]
    return tuple(sorted(dumps, key=lambda dump: (dump.role != "parent", dump.pid)))


def _dump(thread: dict[str, Any], parent: int) -> Dump:
    frames = [f"{frame.get('name')} ({_file(frame)}:{frame.get('line')})" for frame in thread.get("frames") or ()]
    pid = int(thread.get("pid") or 0)
    return Dump(
        pid, "parent" if pid == parent else "child", tuple(frames[:MAX_FRAMES]), thread.get("thread_name") or ""
    )


def _file(frame: dict[str, Any]) -> str:
    """As short as py-spy tells it, but what is installed says so: a library must not be taken for the project."""
    whole, short = str(frame.get("filename") or ""), frame.get("short_filename")
    for marker in _INSTALLED:
        if marker in whole:
            return marker + whole.rsplit(marker, 1)[1]
    return str(short or whole)
