"""What every server that we start on this machine needs: ports of the loopback, private files, its last words."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, all different. Somebody else may take one before it is used."""
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.socket())
            sockets[-1].bind((LOOPBACK, 0))
        return [bound.getsockname()[1] for bound in sockets]
    finally:
        for bound in sockets:
            bound.close()


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file nobody else may read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log, empty when there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-count:])


def remove_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
