"""MySQL: Oracle's own server, a private one from the installed programs. What MariaDB says alike is its own file's.

Where only MariaDB is installed it may stand in for MySQL, as distributions have it; that is said (`flow.stacks`).
"""

from __future__ import annotations

import os
import re
import shutil

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.stack.services.mariadb import Installation, MariaDBService
from bisect_celery.stack.services.protocol import MYSQL, USER

ASK_DEADLINE = 10.0
# Nothing of it needs to survive a crash: it goes with the session. Its second protocol would take a port of all.
SETTINGS = (
    "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--innodb-buffer-pool-size=128M",
    "--skip-log-bin", "--skip-name-resolve", "--performance-schema=OFF", "--max-connections=300",
    "--character-set-server=utf8mb4", "--mysqlx=OFF", "--secure-file-priv=NULL",
)  # fmt: skip
DUMP = (
    "--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--skip-comments",
    "--no-tablespaces", "--set-gtid-purged=OFF",
)  # fmt: skip


def initial(password: str) -> str:
    """What a server runs before it lets anybody in: the one user, and no way in without a password."""
    return (
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
    )


def find_mysql() -> Installation | None:
    """The installed MySQL server, None where it is missing, not whole, or MariaDB under MySQL's names."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin"))
    server, client, dump = (shutil.which(name, path=path) for name in ("mysqld", "mysql", "mysqldump"))
    if server is None or client is None or dump is None or not _is_mysql(server):
        return None
    return Installation(server, server, client, dump)


def _is_mysql(server: str) -> bool:
    """`mysqld  Ver 8.4.0 for Linux on x86_64 (MySQL Community Server - GPL)`; MariaDB's version names itself."""
    try:
        said = proc.run([server, "--no-defaults", "--version"], deadline=ASK_DEADLINE, check=False).text()
    except InfraError:
        return False
    return re.search(r"\bVer \d", said) is not None and "mariadb" not in said.lower()


class MySQLService(MariaDBService):
    """MySQL of this machine, for a session."""

    kind = MYSQL
    _settings = SETTINGS
    _dumping = DUMP
    _way = ()  # by TLS with a certificate of its own making, as its usual authentication wants it

    def _initialising(self) -> list[str]:
        return [self._installation.install, "--no-defaults", f"--datadir={self._data}", "--initialize-insecure"]

    def _initial(self) -> str:
        return initial(self._password)
