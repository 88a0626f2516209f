"""The guardian: a process of its own that outlives a session, however that dies, and takes everything down.

It holds the reading end of a pipe. When the session says goodbye it leaves; when the pipe breaks without a word, it
kills every process that carries the session's label, removes its containers and its temporary folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from bisect_celery import proc
from bisect_celery.model import Owner

GOODBYE = b"goodbye\n"


class Guardian:
    """The session's side: start it first, dismiss it last."""

    def __init__(self, owner: Owner, scratch: Path, *, containers: bool) -> None:
        """`scratch` is the session's temporary folder; `containers`: whether there may be any to remove."""
        words = [sys.executable, "-m", "bisect_celery.lab.guardian", owner.label(), str(scratch)]
        environment = proc.clean_environment({"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "HOME"):
            if containers and name in os.environ:
                environment[name] = os.environ[name]
        self._process = proc.start([*words, *(["containers"] if containers else [])], env=environment, stdin=True)

    def dismiss(self) -> None:
        """The session has taken everything down itself."""
        self._process.write(GOODBYE)
        self._process.close_input()


def clean_up(owner: Owner, scratch: Path, containers: bool) -> None:
    """Everything that belongs to a dead session: programs first, then containers, then folders."""
    proc.kill_labelled(owner)
    if containers:
        from bisect_celery.stack.container_sweep import remove_session

        with contextlib.suppress(Exception):  # the engine may be gone: the next start sweeps
            remove_session(owner)
    shutil.rmtree(scratch, ignore_errors=True)


def main(arguments: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner = Owner.parse(arguments[0])
    last_words = sys.stdin.buffer.read()
    if owner is not None and last_words != GOODBYE:
        clean_up(owner, Path(arguments[1]), "containers" in arguments[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
