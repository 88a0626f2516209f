"""The way to a container engine by ssh: its socket, brought to this machine by the user's own `ssh`.

One connection a process and address, made when it is first needed, without questions (agent, keys and known hosts as
the user has them). It holds on to our standard input, so that it ends with us, however we end. Nothing has to be
installed there: `docker system dial-stdio`, which the docker client takes, needs Docker's client on that machine.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bisect_celery import proc
from bisect_celery.errors import InfraError

DEADLINE = 30.0
SOCKET = "/var/run/docker.sock"
# What ssh looks at beside what every program of ours sees.
_PASSED = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK")
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ExitOnForwardFailure=yes", "ServerAliveInterval=15",
            "ServerAliveCountMax=4", "ControlPath=none", "ForwardAgent=no", "ForwardX11=no",
            "LogLevel=ERROR")  # fmt: skip
# Said by the other side once what is forwarded is there; then it waits for our end.
_READY = "bisect-celery-ready"
# A socket's whole path must fit 107 bytes.
_LONGEST = 100

_lock = threading.Lock()
_tunnels: dict[str, Tunnel] = {}


def brought(url: str) -> str:
    """The engine of an ssh:// address as an address of this machine. Raises InfraError with what ssh says."""
    with _lock:
        tunnel = _tunnels.get(url)
        if tunnel is None or not tunnel.alive():
            if tunnel is not None:
                tunnel.close()
            tunnel = _tunnels[url] = Tunnel(url)
        return f"unix://{tunnel.socket}"


@atexit.register
def close_all() -> None:
    with _lock:
        while _tunnels:
            _tunnels.popitem()[1].close()


class Tunnel:
    """One ssh connection that forwards a socket of its own to the engine's."""

    def __init__(self, url: str) -> None:
        """Returns when the socket is there. Raises InfraError, and then nothing is left."""
        self._folder = _short_folder()
        self.socket = self._folder / "s"
        try:
            self._process = self._connected(url)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _connected(self, url: str) -> proc.Process:
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        out, err = self._folder / "out", self._folder / "err"
        with out.open("wb") as said, err.open("wb") as complained:
            process = proc.start(
                words(url, self.socket), env=proc.clean_environment(passed), stdin=True, stdout=said, stderr=complained
            )
        try:
            end = time.monotonic() + DEADLINE
            while _READY not in out.read_text(errors="replace"):
                late = time.monotonic() > end
                if late or not process.alive():
                    why = f"ssh said nothing for {DEADLINE:g} s" if late else err.read_text(errors="replace").strip()
                    host = urlsplit(url).hostname
                    raise InfraError(
                        f"The container engine on {host} cannot be reached by ssh: {_last(why)}.",
                        f"`ssh {host} true` must work without a question (keys, an agent, a known host).",
                    )
                time.sleep(proc.POLL)
        except BaseException:
            process.stop()
            raise
        return process

    def alive(self) -> bool:
        return self._process.alive()

    def close(self) -> None:
        self._process.stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)


def words(url: str, socket: Path) -> list[str]:
    """The command line for an address like ssh://me@build.example:2222/run/user/1000/docker.sock, the socket's path."""
    parts = urlsplit(url)
    there = unquote(parts.path) if parts.path not in ("", "/") else SOCKET
    login = ["-l", unquote(parts.username)] if parts.username else []
    port = ["-p", str(parts.port)] if parts.port else []
    options = [word for option in _OPTIONS for word in ("-o", option)]
    command = f"echo {_READY}; exec cat >/dev/null"
    return ["ssh", "-T", *options, *login, *port, "-L", f"{socket}:{there}", "--", parts.hostname or "", command]


def _short_folder() -> Path:
    for parent in (None, os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="bc-", dir=parent or None))
        if len(str(folder)) + 2 <= _LONGEST:
            break
        folder.rmdir()
    return folder


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "ssh ended without a word"
