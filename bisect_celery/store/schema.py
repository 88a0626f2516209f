"""Bring the database file into being and up to date, whoever else does the same at this moment."""

from __future__ import annotations

import os
import pkgutil
import sqlite3
import stat
import time
from pathlib import Path

from bisect_celery.errors import InfraError, UserError
from bisect_celery.store.faults import infra

LABEL = "store"
OUR_TABLE = "store_sessionrow"
RETRY = 0.02


def prepare(path: Path, wait: float) -> bool:
    """Create the file (mode 0600, WAL) if need be; True when migrations are left to apply.

    Raises UserError if a newer version of ours wrote it, InfraError if it is no store or cannot be used.
    sqlite3 itself looks first: Django would silently adopt any database whose tables do not clash.
    """
    _create(path)
    connection = sqlite3.connect(path, timeout=wait)
    try:
        _use_wal(connection, wait)
        applied = _applied(connection, path)
    finally:
        connection.close()
    newer = applied - _known()
    if newer:
        raise UserError(
            f"The store {path} was written by a newer bisect-celery (it has {', '.join(sorted(newer))})",
            "Use that version, or set XDG_STATE_HOME to begin with an empty store.",
        )
    return applied != _known()


def migrate(alias: str) -> None:
    """Apply what is left, as one transaction.

    Django commits a migration and records it in two steps where an index is made; a kill between the two
    would leave a store that can never be opened. The outer transaction also makes two processes take turns.
    """
    from django.db import connections, transaction
    from django.db.migrations.executor import MigrationExecutor

    connection = connections[alias]
    with connection.constraint_checks_disabled(), transaction.atomic(using=alias):
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes(LABEL))


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InfraError(f"The store {path} is not a file")
        # an older umask or a copy may have left it open to others; the -wal and -shm files take its mode
        if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
            path.chmod(0o600)
    except OSError as error:
        raise infra(path, error) from error


def _use_wal(connection: sqlite3.Connection, wait: float) -> None:
    """Switch to WAL, which stays with the file. SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY)


def _applied(connection: sqlite3.Connection, path: Path) -> set[str]:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not names:
        return set()
    if OUR_TABLE not in names:
        raise InfraError(f"{path} is a database, but not a store of ours", "Nothing was changed in it.")
    rows = connection.execute("SELECT name FROM django_migrations WHERE app = ?", (LABEL,))
    return {row[0] for row in rows}


def _known() -> set[str]:
    folder = Path(__file__).with_name("migrations")
    return {module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_")}
