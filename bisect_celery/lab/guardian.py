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

# The file in a session's folder that says who works on it; its lock is held as long.
OWNER = "owner"
# What finding the container engine again takes.
ENGINE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
          "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")  # fmt: skip
MODULE = "bisect_celery.lab.guardian"
GOODBYE = b"goodbye"
CONTAINERS = b"containers"


class Guardian:
    """The session's side: start it before anything that must not be left, dismiss it last."""

    def __init__(self, owner: Owner, scratch: Path) -> None:
        """`scratch` is the session's temporary folder, which need not be there yet."""
        words = [sys.executable, "-m", MODULE, owner.label(), str(scratch)]
        environment = proc.clean_environment({"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
        for name in ENGINE:
            if name in os.environ:
                environment[name] = os.environ[name]
        self._process = proc.start(words, env=environment, stdin=True)
        self.pid = self._process.pid

    def expect_containers(self) -> None:
        """From now on there may be containers to remove."""
        self._process.write(CONTAINERS + b"\n")

    def dismiss(self) -> None:
        """The session has taken everything down itself."""
        self._process.write(GOODBYE + b"\n")
        self._process.close_input()


def clean_up(owner: Owner, scratch: Path, containers: bool) -> None:
    """Everything that belongs to a dead session: programs first, then containers, then folders."""
    proc.kill_labelled(owner)
    if containers:
        from bisect_celery.stack.containers.sweep import remove_session

        with contextlib.suppress(Exception):  # the engine may be gone: the next start sweeps
            remove_session(owner)
    remove_folders(owner, scratch)


def remove_folders(owner: Owner, scratch: Path) -> None:
    """What a dead session left on the disk: `scratch`, and the short folder of its socket, noted in its repository.

    Where another owner has gone on with the session meanwhile, they are that owner's.
    """
    from bisect_celery.repo.bisect import remove_noted

    if owner_of(scratch.parent) not in (owner, None):
        return
    remove_noted(scratch.parent / "git" / "tmp" / "socket-folder")
    shutil.rmtree(scratch, ignore_errors=True)


def guarded(owner: Owner) -> Path | None:
    """The temporary folder that the owner's guardian is to remove; None where no guardian lives."""
    for pid, _ in proc.labelled(owner):
        words = proc.command_line(pid)
        if MODULE in words:
            return Path(words[-1])
    return None


def owner_of(folder: Path) -> Owner | None:
    """Who works, or worked last, on the session that is kept in `folder`; None when it came to its end."""
    with contextlib.suppress(OSError):
        return Owner.parse((folder / OWNER).read_text())
    return None


def main(arguments: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner = Owner.parse(arguments[0])
    said = sys.stdin.buffer.read().split()
    if owner is not None and GOODBYE not in said:
        clean_up(owner, Path(arguments[1]), CONTAINERS in said)


if __name__ == "__main__":
    main(sys.argv[1:])
