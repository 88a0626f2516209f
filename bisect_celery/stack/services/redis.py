"""A private Redis for each trial, from the installed server: it starts in milliseconds, so none is ever shared.

An own server, not a number in a shared one: keys of several databases, what is published (Celery's results are, and
that knows no databases), scripts and settings are all a trial's own. It has a password, which its URL carries: others
on this machine could leave pickles in a cache.
"""

from __future__ import annotations

import re
import secrets
import shutil
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel
from bisect_celery.stack.local_server import LOOPBACK, free_ports, last_lines, remove_folder, write_private
from bisect_celery.stack.services.protocol import REDIS, Bindings, gone

PROGRAMS = ("redis-server", "valkey-server")
START_DEADLINE = 20.0
ASK_DEADLINE = 10.0
ANSWER_DEADLINE = 5.0  # on another machine each look is a command that its engine has to start
_ATTEMPTS = 3
_HINT = "Mend the installed server, or do without it: `--broker rabbitmq`, no `--service redis`."
# Redis writes its title over its environment, our label with it. A shell that waits for it keeps the label, and whoever
# kills by labels takes the shell's session with it (`proc.kill_labelled`).
_BESIDE_ITS_LABEL = '"$0" "$1"; exit $?'
_VERSION = re.compile(r"\bv=(\d[\w.]*)")


def find_redis() -> Path | None:
    """The installed server, None where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return Path(found) if found else None


@dataclass(frozen=True)
class _Server:
    process: proc.Process
    folder: Path
    bindings: Bindings


class RedisService:
    """A `services.Service`. What stays for the session is only where the server is, and its version."""

    kind = REDIS

    def __init__(self, folder: Path, program: Path) -> None:
        """`folder` is its own, made if need be."""
        self.version = ""
        self._folder, self._program = folder.absolute(), program
        self._servers: dict[str, _Server] = {}
        self._down: set[str] = set()  # by our own will
        self._lock = threading.Lock()

    def start(self, cancel: Cancel) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = proc.run([str(self._program), "--version"], deadline=ASK_DEADLINE, cancel=cancel).text()
        found = _VERSION.search(said)
        self.version = found[1] if found else ""

    def stop(self) -> None:
        with self._lock:
            names = list(self._servers)
        for name in names:
            self._remove(name)
        remove_folder(self._folder)

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        self._remove(name)
        for attempt in range(1, _ATTEMPTS + 1):
            server = self._made(name)
            with self._lock:
                self._servers[name] = server
            if _serves(server, cancel):
                return server.bindings
            log = last_lines(server.folder / "redis.log")
            self._remove(name)
            if attempt == _ATTEMPTS or "Address already in use" not in log:
                break
        raise InfraError(f"Redis did not start:\n{log}", _HINT)

    # --- where it is the broker: going away for a while

    def reached(self, name: str) -> Bindings:
        with self._lock:
            return self._servers[name].bindings

    def shut_down(self, name: str, cancel: Cancel) -> None:
        """What it holds comes back with it, as that of a server whose disk is written to."""
        with self._lock:
            server = self._servers[name]
            self._down.add(name)
        told_to(server.bindings, "SHUTDOWN SAVE")
        if not cancel.wait(lambda: not server.process.alive(), ASK_DEADLINE):
            raise InfraError("Redis did not end when it was told to.")

    def bring_up(self, name: str, cancel: Cancel) -> None:
        with self._lock:
            server = self._servers[name]
        server.process.stop()
        again = _started(self._program, server.folder, server.bindings)
        with self._lock:
            self._servers[name] = again
            self._down.discard(name)
        if not _serves(again, cancel):
            raise InfraError(f"Redis did not come back:\n{last_lines(again.folder / 'redis.log')}", _HINT)

    # --- servers

    def _made(self, name: str) -> _Server:
        folder = self._folder / name
        folder.mkdir(parents=True, mode=0o700)
        bindings = Bindings(REDIS, LOOPBACK, free_ports(1)[0], "0", password=secrets.token_urlsafe(24))
        write_private(folder / "redis.conf", settings(bindings, bind=LOOPBACK, folder=str(folder)))
        return _started(self._program, folder, bindings)

    def drop(self, name: str) -> None:
        with self._lock:
            server = self._servers.get(name)
        if server is None:
            return
        # Asked at its port: the shell beside it is still there for the moment in which it learns of the server's end.
        here = name in self._down or (server.process.alive() and _answers_yet(server.bindings))
        log = None if here else last_lines(server.folder / "redis.log")
        self._remove(name)
        if log is not None:
            raise gone(REDIS, log)

    def _remove(self, name: str) -> None:
        with self._lock:
            server = self._servers.pop(name, None)
            self._down.discard(name)
        if server is not None:
            server.process.stop()
            remove_folder(server.folder)


def settings(bindings: Bindings, *, bind: str, folder: str) -> str:
    """The configuration of a server that keeps nothing unless it is told to."""
    lines = (
        f"port {bindings.port}", f"bind {bind}", f"requirepass {bindings.password}", f'dir "{folder}"',
        'save ""', "appendonly no", "daemonize no",
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _started(program: Path, folder: Path, bindings: Bindings) -> _Server:
    with (folder / "redis.log").open("ab") as log:
        words = ["/bin/sh", "-c", _BESIDE_ITS_LABEL, str(program), str(folder / "redis.conf")]
        return _Server(proc.start(words, cwd=folder, stdout=log, stderr=log), folder, bindings)


def _serves(server: _Server, cancel: Cancel) -> bool:
    """Wait until it does, or cannot."""
    cancel.wait(lambda: not server.process.alive() or speaks(server.bindings), START_DEADLINE, poll=0.005)
    return server.process.alive() and speaks(server.bindings)


def _answers_yet(bindings: Bindings) -> bool:
    """Whether a server is at the port, be it too busy to answer: a dying one's port still takes us, then hangs up."""
    try:
        return _exchanged(bindings, "PING") != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def speaks(bindings: Bindings) -> bool:
    """Whether it lets us in and answers: somebody else's server on the port would not know the password."""
    return told_to(bindings, "PING") == b"+OK\r\n+PONG\r\n"


def told_to(bindings: Bindings, command: str) -> bytes:
    """What it answers to our password and a command; b"" where it does not listen or answer."""
    try:
        return _exchanged(bindings, command)
    except OSError:
        return b""


def _exchanged(bindings: Bindings, command: str) -> bytes:
    """As much as it says before it closes. Raises OSError where it does not listen, TimeoutError where it is silent.

    By hand, because a client of its own would wait and try again.
    """
    heard = b""
    with socket.create_connection((bindings.host, bindings.port), timeout=ANSWER_DEADLINE) as connection:
        connection.sendall(f"AUTH {bindings.password}\r\n{command}\r\n".encode())
        while heard.count(b"\n") < 2 and (some := connection.recv(256)):
            heard += some
    return heard
