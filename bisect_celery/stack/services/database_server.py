"""A database server of the session, from programs that are installed here: what is the same of every kind.

A kind says how its first data is made, how it is started and asked; this keeps its folder, its port, its password and
its end.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel
from bisect_celery.stack.local_server import LOOPBACK, free_ports, last_lines, remove_folder
from bisect_celery.stack.services.protocol import NAMES, USER, Bindings, OfDatabases, database_name, gone

INIT_DEADLINE, START_DEADLINE = 120.0, 60.0
# Somebody may take a port between the moment we find it free and the server's.
_ATTEMPTS = 3


class DatabaseServer(OfDatabases, ABC):
    """A `services.Database`: one server a session, listening on the loopback only, with a password."""

    kind: str
    _poll = 0.1  # seconds between two questions whether it serves

    def __init__(self, folder: Path, version: str = "") -> None:
        """`folder` is its own, made if need be; `version` is what is known before it is asked."""
        self.version = version
        self._folder = folder.absolute()
        self._data, self._log = self._folder / "data", self._folder / f"{self.kind}.log"
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._process: proc.Process | None = None

    # --- what a kind says

    @abstractmethod
    def _make_data(self, cancel: Cancel) -> None:
        """Make the folder, and in it the data of a server with our one user. Raises InfraError."""

    @abstractmethod
    def _begin(self) -> proc.Process:
        """Start the server on `_port`; its words go to `_log`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it lets our user in."""

    @abstractmethod
    def _told_version(self) -> str: ...

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    # --- what is the same of all

    def start(self, cancel: Cancel) -> None:
        try:
            self._make_data(cancel)
            for attempt in range(1, _ATTEMPTS + 1):
                cancel.check()
                (self._port,) = free_ports(1)
                self._process = self._begin()
                if self._serves(cancel):
                    break
                why = last_lines(self._log)
                self._end()
                if attempt == _ATTEMPTS or "in use" not in why:
                    raise self._broken(f"{NAMES[self.kind]} did not start:\n{why}")
            self.version = self._told_version()
        except BaseException:
            self.stop()
            raise

    def _serves(self, cancel: Cancel) -> bool:
        up = cancel.wait(lambda: not self.alive() or self._answers(), START_DEADLINE, poll=self._poll)
        return up and self.alive()

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def stop(self) -> None:
        self._end()
        remove_folder(self._folder)

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        cancel.check()
        self.empty(name)
        return Bindings(self.kind, LOOPBACK, self._port, database_name(name), USER, self._password)

    def _checked(self, done: proc.Finished) -> proc.Finished:
        """What a client brought back. Raises InfraError when the server has gone, or refused it."""
        if not self.alive():
            raise gone(self.kind, last_lines(self._log))
        if done.code != 0:
            raise InfraError(f"{NAMES[self.kind]} refused what we need: {done.error_text().strip()[-400:]}")
        return done

    def _broken(self, what: str) -> InfraError:
        return InfraError(what, f"Leave out `--service {self.kind}`, or mend the installed server.")
