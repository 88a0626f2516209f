"""The way in: clean our own environment before anything that reads it is imported (DESIGN 6), then the commands."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

INTERRUPTED = 130
# Celery, kombu and Django read these at import or at any later time: with CELERY_BROKER_URL exported,
# `Celery(broker=ours)` publishes to theirs.
DROPPED = ("CELERY", "DJANGO_", "PYTHON")


def scrub() -> dict[str, str]:
    """Drop what would change our libraries' behaviour; returns the caller's environment as it was."""
    caller = dict(os.environ)
    for name in caller:
        if name.startswith(DROPPED):
            del os.environ[name]
    foreign = {os.path.abspath(path) for path in caller.get("PYTHONPATH", "").split(os.pathsep) if path}
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) not in foreign]
    return caller


def main() -> None:
    """Run the command line and exit with its status: 0, 1 (a crash of ours), 2, 3, 4, 5 or 130."""
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's
                signal.signal(number, signal.default_int_handler)
        caller = scrub()
        from bisect_celery.cli.app import run

        status = run(sys.argv[1:], caller)
    except KeyboardInterrupt:  # while we were still importing
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("Interrupted.\n")
        status = INTERRUPTED
    # CPython remembers an interrupt that came inside an exec() (a dataclass being made), and would end by SIGINT
    # instead of with our status; any other exec() makes it forget.
    exec("")
    sys.exit(status)


if __name__ == "__main__":
    main()
