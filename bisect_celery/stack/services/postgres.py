"""PostgreSQL: a private cluster from the installed server, and the SQL that is the same wherever a cluster runs.

A trial has a database of its own. What migrations filled is kept as a database and copied by
`CREATE DATABASE … TEMPLATE`, which copies files. What a cluster has for all its databases (roles, tablespaces) stays
within a session: a project's own tests need migrations that bear that, too.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.model import Cancel
from bisect_celery.stack.local_server import LOOPBACK, remove_folder, write_private
from bisect_celery.stack.services.database_server import INIT_DEADLINE, DatabaseServer
from bisect_celery.stack.services.protocol import POSTGRES, USER

SQL_DEADLINE = 120.0
_PROGRAMS = ("initdb", "postgres", "pg_ctl", "psql")
# Nothing of it needs to survive a crash: it goes with the session. Shared memory in files goes with the folder.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "dynamic_shared_memory_type": "mmap",
}


class Databases:
    """A cluster's databases by name: made, dropped, kept, copied. `ask` runs statements, each on its own.

    One thing at a time: a template must have no visitors while it is copied.
    """

    def __init__(self, ask: Callable[[Sequence[str]], str]) -> None:
        self._ask = ask
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()

    def make(self, name: str) -> None:
        with self._lock:
            self._ask((*_dropped(name), f'CREATE DATABASE "{name}"'))

    def drop(self, name: str) -> None:
        with self._lock:
            self._ask(_dropped(name))

    def keep(self, name: str, key: str) -> None:
        with self._lock:
            if key not in self._kept:
                kept = f"kept_{len(self._kept) + 1}"
                self._ask((_without_visitors(name), f'CREATE DATABASE "{kept}" TEMPLATE "{name}"'))
                self._kept[key] = kept

    def copy(self, name: str, key: str) -> bool:
        with self._lock:
            if key not in self._kept:
                return False
            self._ask((*_dropped(name), f'CREATE DATABASE "{name}" TEMPLATE "{self._kept[key]}"'))
            return True


def _without_visitors(name: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


def _dropped(name: str) -> tuple[str, ...]:
    """Whoever is connected, or would just connect; `WITH (FORCE)` is of version 13."""
    closed = f"UPDATE pg_database SET datallowconn = false WHERE datname = '{name}'"
    return closed, _without_visitors(name), f'DROP DATABASE IF EXISTS "{name}"'


# --- of this machine ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installation:
    """The folder of the server's programs, and its version as the folder tells it."""

    bin: Path
    version: tuple[int, ...] = ()

    def program(self, name: str) -> str:
        return str(self.bin / name)


def find_postgres() -> Installation | None:
    """The latest PostgreSQL server that is installed; None where none is whole."""
    found = (Installation(folder, _version_in(folder)) for folder in _candidates())
    whole = [one for one in found if all((one.bin / name).is_file() for name in _PROGRAMS)]
    return max(whole, key=lambda one: one.version, default=None)


def _candidates() -> Iterator[Path]:
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from Path("/").glob(pattern)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _version_in(folder: Path) -> tuple[int, ...]:
    found = re.search(r"(\d+(?:\.\d+)*)$", folder.parent.name)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


class PostgresService(DatabaseServer):
    """PostgreSQL of this machine, for a session."""

    kind = POSTGRES
    _poll = 0.05

    def __init__(self, folder: Path, installation: Installation) -> None:
        super().__init__(folder, ".".join(map(str, installation.version)))
        self._installation = installation
        self._databases = Databases(self._ask)

    def _make_data(self, cancel: Cancel) -> None:
        remove_folder(self._data)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._data.mkdir(mode=0o700)
        if (uid := _other_user()) is not None:
            os.chown(self._data, *uid)
        secret = self._folder / "password"
        write_private(secret, self._password)
        words = [
            self._installation.program("initdb"), "--pgdata", str(self._data), "--username", USER, "--pwfile",
            str(secret), "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync",
        ]  # fmt: skip
        if self._installation.version >= (11,):
            words.append("--wal-segsize=1")
        for locale in ("C.UTF-8", "C"):  # the first is not everywhere, and knows letters beyond ASCII
            done = proc.run(
                [*as_other_user(), *words, f"--locale={locale}"],
                deadline=INIT_DEADLINE, cwd=self._folder, env=self._environment(), check=False, cancel=cancel,
            )  # fmt: skip
            if done.code == 0 or "locale" not in done.error_text():
                break
        secret.unlink()
        if done.code != 0:
            raise self._broken(f"PostgreSQL's initdb ended with status {done.code}: {done.error_text()[-400:]}")

    def _begin(self) -> proc.Process:
        settings = {
            **SETTINGS, "listen_addresses": LOOPBACK, "port": str(self._port), "unix_socket_directories": ""
        }  # fmt: skip
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            return proc.start(
                [*as_other_user(), self._installation.program("postgres"), "-D", str(self._data), *given],
                cwd=self._folder, env=self._environment(), stdout=log, stderr=log,
            )  # fmt: skip

    def _answers(self) -> bool:
        return self._psql(("SELECT 1",)).code == 0

    def _told_version(self) -> str:
        return self._ask(("SHOW server_version",)).split()[0]

    def _end(self) -> None:
        """In order, if at once: killed, it would leave a segment of shared memory behind."""
        if self._process is not None and self._process.alive():
            words = [self._installation.program("pg_ctl"), "stop", "-D", str(self._data), "-m", "immediate", "-t", "5"]
            proc.run([*as_other_user(), *words], deadline=10, cwd="/", env=self._environment(), check=False)
        super()._end()

    # --- talking to it

    def _ask(self, statements: Sequence[str]) -> str:
        return self._checked(self._psql(statements)).text()

    def _psql(self, statements: Sequence[str]) -> proc.Finished:
        words = psql_words(self._installation.program("psql"), statements)
        env = {"PGHOST": LOOPBACK, "PGPORT": str(self._port), "PGUSER": USER, "PGPASSWORD": self._password}
        return proc.run(words, deadline=SQL_DEADLINE, cwd="/", env=self._environment(env), check=False)

    def _environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return proc.clean_environment({"HOME": str(self._folder), "LC_ALL": "C.UTF-8", **(extra or {})})


def psql_words(program: str, statements: Sequence[str], *way: str, database: str = "postgres") -> list[str]:
    """psql that reads nobody's settings and stops at the first statement that fails; `way` leads to the server."""
    words = [program, *way, "-X", "-q", "-A", "-t", "-d", database, "-v", "ON_ERROR_STOP=1"]
    return words + [word for statement in statements for word in ("-c", statement)]


def _other_user() -> tuple[int, int] | None:
    """(uid, gid) of whom the server runs as where we are root, which it refuses; None where we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    return 65534, 65534


def as_other_user() -> tuple[str, ...]:
    """Words that start a program as that user. It keeps the right to come by our folders, which are closed to others:
    so its data stays where ours is, and goes with it."""
    found = _other_user()
    if found is None:
        return ()
    capabilities = "-all,+dac_override"
    return (
        "setpriv", f"--reuid={found[0]}", f"--regid={found[1]}", "--clear-groups",
        f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", "--",
    )  # fmt: skip
