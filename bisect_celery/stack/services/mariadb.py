"""MariaDB: a private server from the installed programs, and the SQL that is the same wherever a server runs.

A trial has a database of its own. What migrations filled is kept as a dump: the server copies no databases itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel
from bisect_celery.stack.local_server import LOOPBACK, remove_folder, write_private
from bisect_celery.stack.services.database_server import INIT_DEADLINE, DatabaseServer
from bisect_celery.stack.services.protocol import MARIADB, USER

SQL_DEADLINE = 300.0
# Nothing of it needs to survive a crash: it goes with the session.
SETTINGS = (
    "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=128M", "--skip-log-bin", "--skip-name-resolve", "--performance-schema=OFF",
    "--max-connections=300", "--character-set-server=utf8mb4",
)  # fmt: skip
DUMP = ("--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--skip-comments")


class Databases:
    """A server's databases by name: made, dropped, kept, copied.

    `ask` runs statements on the server, `dump` gives a database as SQL, `fill` runs such SQL in a database.
    """

    def __init__(
        self, ask: Callable[[str], str], dump: Callable[[str], bytes], fill: Callable[[str, bytes], None]
    ) -> None:
        self._ask, self._dump, self._fill = ask, dump, fill
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def make(self, name: str) -> None:
        self.drop(name)
        self._ask(f"CREATE DATABASE `{name}`")

    def drop(self, name: str) -> None:
        """Whoever is connected goes first: a query of theirs would hold the tables."""
        visitors = f"SELECT id FROM information_schema.processlist WHERE db = '{name}' AND id <> connection_id()"
        for visitor in self._ask(visitors).split():
            with contextlib.suppress(InfraError):  # gone by itself meanwhile; if it is the server, the next one tells
                self._ask(f"KILL {visitor}")
        self._ask(f"DROP DATABASE IF EXISTS `{name}`")

    def keep(self, name: str, key: str) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._dump(name)

    def copy(self, name: str, key: str) -> bool:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            return False
        self.make(name)
        self._fill(name, kept)
        return True


def initial(password: str) -> str:
    """What a server runs before it lets anybody in: the one user, and no way in without a password."""
    return (
        "DELETE FROM mysql.global_priv WHERE User = '';\nFLUSH PRIVILEGES;\n"
        f"ALTER USER IF EXISTS 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        f"CREATE OR REPLACE USER '{USER}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
    )


# --- of this machine ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installation:
    """A server's programs: itself, what makes its first tables, the client, and what dumps."""

    server: str
    install: str
    client: str
    dump: str


def find_mariadb() -> Installation | None:
    """The installed MariaDB server, None where it is missing or not whole."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    names = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
    found = [shutil.which(name, path=path) for name in names]
    return Installation(*map(str, found)) if all(found) else None


class MariaDBService(DatabaseServer):
    """MariaDB of this machine, for a session. MySQL is asked in the same words (`stack.services.mysql`)."""

    kind = MARIADB
    _settings: tuple[str, ...] = SETTINGS
    _dumping: tuple[str, ...] = DUMP
    _way: tuple[str, ...] = ("--skip-ssl",)

    def __init__(self, folder: Path, installation: Installation) -> None:
        super().__init__(folder)
        self._installation = installation
        self._databases = Databases(self._ask, self._dump, self._fill)

    def _make_data(self, cancel: Cancel) -> None:
        remove_folder(self._folder)
        self._folder.mkdir(parents=True, mode=0o700)
        words = [*self._initialising(), *_as_root()]
        done = proc.run(words, deadline=INIT_DEADLINE, cwd=self._folder, env=self._environment(), check=False,
                        cancel=cancel)  # fmt: skip
        if done.code != 0:
            said = (done.text() + done.error_text()).strip()[-400:]
            raise self._broken(f"{Path(words[0]).name} ended with status {done.code}: {said}")
        write_private(self._folder / "initial.sql", self._initial())

    def _initialising(self) -> list[str]:
        """The command that makes a server's first tables."""
        return [
            self._installation.install, "--no-defaults", f"--datadir={self._data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--innodb-log-file-size=16M",
        ]  # fmt: skip

    def _initial(self) -> str:
        return initial(self._password)

    def _begin(self) -> proc.Process:
        words = [
            self._installation.server, "--no-defaults", f"--datadir={self._data}", f"--bind-address={LOOPBACK}",
            f"--port={self._port}", "--socket=socket",  # in its data folder: a path of ours may be too long for one
            f"--init-file={self._folder / 'initial.sql'}", *self._settings, *_as_root(),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            return proc.start(words, cwd=self._folder, env=self._environment(), stdout=log, stderr=log)

    def _answers(self) -> bool:
        return self._client((self._installation.client, "-BN", "-e", "SELECT 1")).code == 0

    def _told_version(self) -> str:
        return self._ask("SELECT version()").strip().partition("-")[0]

    # --- talking to it

    def _ask(self, statements: str) -> str:
        return self._done((self._installation.client, "-BN", "-e", statements)).text()

    def _dump(self, name: str) -> bytes:
        return self._done((self._installation.dump, *self._dumping, name)).out

    def _fill(self, name: str, sql: bytes) -> None:
        self._done((self._installation.client, "-BN", name), sql)

    def _done(self, words: Sequence[str], sql: bytes | None = None) -> proc.Finished:
        return self._checked(self._client(words, sql))

    def _client(self, words: Sequence[str], sql: bytes | None = None) -> proc.Finished:
        program, *rest = words
        at = ("--no-defaults", f"--host={LOOPBACK}", f"--port={self._port}", f"--user={USER}", *self._way)
        env = self._environment({"MYSQL_PWD": self._password})
        return proc.run([program, *at, *rest], deadline=SQL_DEADLINE, cwd="/", env=env, input=sql, check=False)

    def _environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return proc.clean_environment({"HOME": str(self._folder), **(extra or {})})


def _as_root() -> tuple[str, ...]:
    """It runs as root only when told to; then its data stays where ours is."""
    return ("--user=root",) if os.geteuid() == 0 else ()
