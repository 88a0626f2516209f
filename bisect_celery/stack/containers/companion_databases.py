"""A database server of a project's compose file: its image, users, passwords and databases, in each trial as new.

One for each slot, since a project writes the database's name down: two trials at once would share it. What its image
makes at the first start (extensions, files of `docker-entrypoint-initdb.d`) is kept, and is what every trial begins
with. Images with the usual entry point start by that, others by our own commands (`services`).
"""

from __future__ import annotations

import abc
import itertools
import re
import secrets
from collections.abc import Callable, Mapping, Sequence

from bisect_celery.model import Cancel, Companion
from bisect_celery.stack.compose.described import Service as Described
from bisect_celery.stack.containers.services import DATA, PORTS, Server, Yard
from bisect_celery.stack.services import mariadb, mysql, postgres
from bisect_celery.stack.services.protocol import MARIADB, MYSQL, POSTGRES, Bindings, Databases

PRISTINE = "as its image makes it"
HINT = "`--compose none` leaves it out, and `--service postgres` or `mariadb` takes one of ours."
_FILE = "var/tmp/bisect-celery"

_MYSQL = f"""
set -e
PATH="$PATH:/usr/sbin"
set -- "$@" --datadir={DATA} --socket=/var/tmp/socket --bind-address=0.0.0.0 --mysqlx=OFF
if command -v docker-entrypoint.sh >/dev/null; then exec docker-entrypoint.sh mysqld "$@"; fi
mysqld --no-defaults --datadir={DATA} --initialize-insecure
exec mysqld --no-defaults "$@" --init-file=/{_FILE} {" ".join(mysql.SETTINGS)}
"""
_SETTINGS = " ".join(f"-c {name}={value}" for name, value in postgres.SETTINGS.items())
# `$@` are the words of the project's own command.
_POSTGRES = f"""
set -e
PATH="$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)"
export PGDATA={DATA}
set -- postgres "$@" -c listen_addresses='*' {_SETTINGS}
if command -v docker-entrypoint.sh >/dev/null; then exec docker-entrypoint.sh "$@"; fi
how=scram-sha-256
if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then how=trust; fi
initdb -U "$POSTGRES_USER" --pwfile=/{_FILE} --auth=$how --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
echo "host all all all $how" >> {DATA}/pg_hba.conf
exec "$@" -c unix_socket_directories=/var/tmp
"""
_MARIADB = f"""
set -e
PATH="$PATH:/usr/sbin"
server=mariadbd
command -v mariadbd >/dev/null || server=mysqld
set -- "$@" --datadir={DATA} --socket=/var/tmp/socket --bind-address=0.0.0.0
if command -v docker-entrypoint.sh >/dev/null; then exec docker-entrypoint.sh "$server" "$@"; fi
mariadb-install-db --no-defaults --datadir={DATA} --skip-test-db --auth-root-authentication-method=normal >/dev/null
exec "$server" --no-defaults "$@" --init-file=/{_FILE} {" ".join(mariadb.SETTINGS)}
"""


# Words and variables of a program inside a server's container, to what it says.
Ask = Callable[[Sequence[str], Mapping[str, str]], str]


class CompanionDatabase:
    """A `services.Database` of one slot: the project's own server, of which every trial gets all databases as new."""

    def __init__(self, yard: Yard, described: Described, companion: Companion) -> None:
        """`described` is how we describe servers of its kind, with the image to take."""
        self.kind, self.version, self.address = companion.kind, "", ""
        self._yard, self._described, self._companion = yard, described, companion
        self._server = Server(yard, companion.kind, described, name=f"{companion.name} of the compose file", hint=HINT)
        self._names: tuple[str, ...] = ()
        self._talk: _Talk = _TALKS[companion.kind](companion, self._server.ask)

    def start(self, cancel: Cancel) -> None:
        talk, one = self._talk, self._companion
        with self._yard.engine.fresh() as engine:
            files = {path.lstrip("/"): content for path, content in one.files} | {_FILE: talk.initial().encode()}
            container = self._yard.create(
                engine, self.kind, self._described, ("sh", "-c", talk.script, "sh", *talk.arguments(one.command)),
                environment=talk.environment,
            )  # fmt: skip
            self._server.serve(
                engine, cancel, container,
                lambda: engine.run_inside(container, talk.ready(), talk.credentials)[0] == 0, files,
            )  # fmt: skip
            try:
                self.address = engine.address(container, self._yard.names["trial"])
                self.version = talk.version()
                self._begin()
            except BaseException:
                self._server.remove(engine)
                raise

    def _begin(self) -> None:
        """Keep what is there before anybody came, as what every trial begins with."""
        if self._talk.main not in self._talk.there():
            self._talk.databases.make(self._talk.main)
        self._names = tuple(self._talk.there())
        for name in self._names:
            self._talk.databases.keep(name, f"{PRISTINE}/{name}")

    def stop(self) -> None:
        with self._yard.engine.fresh() as engine:
            self._server.remove(engine)

    # --- a trial's own

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        cancel.check()
        self.empty(name)
        talk = self._talk
        return Bindings(self.kind, self._companion.name, PORTS[self.kind], talk.main, talk.user, talk.password)

    def drop(self, name: str) -> None:
        """Nothing is left of it before the next trial begins; but the server must still be there."""
        self._server.ask(("true",))

    def empty(self, name: str) -> None:
        self._put(PRISTINE)

    def keep(self, name: str, key: str) -> None:
        for one in self._names:
            self._talk.databases.keep(one, f"{key}/{one}")

    def copy(self, name: str, key: str) -> bool:
        return self._put(key)

    def _put(self, key: str) -> bool:
        """Put what was kept in place of every database, and take away what a trial has made beside them."""
        databases = self._talk.databases
        for other in set(self._talk.there()) - set(self._names):
            databases.drop(other)
        return all([databases.copy(one, f"{key}/{one}") for one in self._names])


_IN_FILE = re.compile(r"((?:POSTGRES|MYSQL|MARIADB)_\w+)_FILE")


def given(companion: Companion) -> dict[str, str]:
    """What a server is told by its variables; those that name a file of its own (a secret) as what is in there."""
    found, files = dict(companion.environment), dict(companion.files)
    for name, path in companion.environment:
        if (match := _IN_FILE.fullmatch(name)) and path in files:
            del found[name]
            found[match[1]] = files[path].decode("utf-8", "replace").rstrip("\n")
    return found


class _Talk(abc.ABC):
    """What a kind of server is told, by programs inside its container. `main` is the project's database; `credentials`
    are variables by which those programs are let in."""

    script: str
    databases: Databases

    def __init__(self, companion: Companion, ask: Ask) -> None:
        self._server_is_asked = ask
        self.given = given(companion)
        self.environment: Mapping[str, str] = self.given
        self.main, self.user, self.password = "", "", ""
        self.credentials: Mapping[str, str] = {}

    def _ask(self, words: Sequence[str]) -> str:
        return self._server_is_asked(words, self.credentials)

    def arguments(self, command: Sequence[str]) -> tuple[str, ...]:
        """The project's own options for the server: its command without the program."""
        words = tuple(command)
        return words if not words or words[0].startswith("-") else words[1:] if self._is(words[0]) else ()

    def _is(self, program: str) -> bool:
        return program.rpartition("/")[2] in ("postgres", "mysqld", "mariadbd")

    @abc.abstractmethod
    def initial(self) -> str:
        """What lies in the file that our own commands make a server by."""

    @abc.abstractmethod
    def ready(self) -> Sequence[str]:
        """Words that end well once the server lets its users in."""

    @abc.abstractmethod
    def version(self) -> str: ...

    @abc.abstractmethod
    def there(self) -> list[str]:
        """The names of its databases, but for those that are the server's own or kept by us."""


class _Postgres(_Talk):
    script = _POSTGRES

    def __init__(self, companion: Companion, ask: Ask) -> None:
        super().__init__(companion, ask)
        self.user = self.given.get("POSTGRES_USER") or "postgres"
        self.password = self.given.get("POSTGRES_PASSWORD") or ""
        self.main = self.given.get("POSTGRES_DB") or self.user
        # Nothing of it needs to survive a crash.
        options = f"{self.given.get('POSTGRES_INITDB_ARGS') or ''} --no-sync".strip()
        self.environment = {**self.given, "POSTGRES_USER": self.user, "POSTGRES_INITDB_ARGS": options}
        self.credentials = {"PGPASSWORD": self.password}
        self.databases = postgres.Databases(self._psql)

    def initial(self) -> str:
        return self.password or secrets.token_urlsafe(24)

    def ready(self) -> Sequence[str]:
        return self._words(("SELECT 1",))

    def version(self) -> str:
        return self._psql(("SHOW server_version",)).split()[0]

    def there(self) -> list[str]:
        found = self._psql(("SELECT datname FROM pg_database WHERE NOT datistemplate",)).splitlines()
        return [name for name in found if not name.startswith("kept_") and (name != "postgres" or self.main == name)]

    def _psql(self, statements: Sequence[str]) -> str:
        return self._ask(self._words(statements))

    def _words(self, statements: Sequence[str]) -> list[str]:
        """By TCP: what an image does before it is up goes by its socket. Not by a database that is made anew."""
        way = ("-h", "127.0.0.1", "-U", self.user)
        return postgres.psql_words("psql", statements, *way, database="template1")


class _MariaDB(_Talk):
    script = _MARIADB
    dump: tuple[str, ...] = mariadb.DUMP
    creates = "CREATE OR REPLACE USER"

    def __init__(self, companion: Companion, ask: Ask) -> None:
        super().__init__(companion, ask)
        root = self._value("ROOT_PASSWORD") or secrets.token_urlsafe(24)
        self._root, self.credentials = root, {"MYSQL_PWD": root}
        self.user = self._value("USER") or "root"
        self.password = self._value("PASSWORD") if self._value("USER") else root
        self.main = self._value("DATABASE") or "app"
        left_out = (
            "RANDOM_ROOT_PASSWORD",
            "EMPTY_PASSWORD",
            "EMPTY_ROOT_PASSWORD",
            "ROOT_PASSWORD_FILE",
            "ROOT_PASSWORD_HASH",
        )
        kept = {name: value for name, value in self.given.items() if not name.endswith(left_out)}
        self.environment = {**kept, "MYSQL_ROOT_PASSWORD": root, "MARIADB_ROOT_PASSWORD": root}
        self._dumps = itertools.count(1)
        self.databases = mariadb.Databases(self._sql, self._dump, self._fill)

    def _value(self, name: str) -> str:
        return self.given.get(f"MARIADB_{name}") or self.given.get(f"MYSQL_{name}") or ""

    def initial(self) -> str:
        """For images that have no entry point of their own."""
        said = [*self._first(), f"{self.creates} 'root'@'%' IDENTIFIED BY '{self._root}';"]
        said += ["GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;"]
        if self.user != "root":
            said += [f"{self.creates} '{self.user}'@'%' IDENTIFIED BY '{self.password}';"]
            said += [f"GRANT ALL PRIVILEGES ON `{self.main}`.* TO '{self.user}'@'%';"]
        return "\n".join(said) + "\n"

    def _first(self) -> Sequence[str]:
        """Nobody comes in without a password."""
        others = "User = '' OR (User = 'root' AND Host <> 'localhost')"
        root = f"ALTER USER IF EXISTS 'root'@'localhost' IDENTIFIED BY '{self._root}';"
        return f"DELETE FROM mysql.global_priv WHERE {others};", "FLUSH PRIVILEGES;", root

    def ready(self) -> Sequence[str]:
        return self._client("-e", "SELECT 1")

    def version(self) -> str:
        return self._sql("SELECT version()").strip().partition("-")[0]

    def there(self) -> list[str]:
        systems = {"information_schema", "performance_schema", "mysql", "sys"}
        return [name for name in self._sql("SHOW DATABASES").split() if name not in systems]

    def _sql(self, statements: str) -> str:
        return self._ask(self._client("-e", statements))

    def _client(self, *words: str) -> tuple[str, ...]:
        return ("sh", "-c", _EITHER.format("mariadb", "mysql"), "sh", *_WAY, *words)

    def _dump(self, name: str) -> bytes:
        """The dump stays in the container; what is handed on is where."""
        path = f"/var/tmp/kept-{next(self._dumps)}.sql"
        program = _EITHER.format("mariadb-dump", "mysqldump")
        self._ask(("sh", "-c", f"{program} > {path}", "sh", *_WAY[:-1], *self.dump, name))
        return path.encode()

    def _fill(self, name: str, sql: bytes) -> None:
        program = f"{_EITHER.format('mariadb', 'mysql')} < {sql.decode()}"
        self._ask(("sh", "-c", program, "sh", *_WAY, name))


class _MySQL(_MariaDB):
    script = _MYSQL
    dump = mysql.DUMP
    creates = "CREATE USER IF NOT EXISTS"

    def _first(self) -> Sequence[str]:
        return (f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self._root}';",)


_TALKS: Mapping[str, type[_Talk]] = {POSTGRES: _Postgres, MARIADB: _MariaDB, MYSQL: _MySQL}
_EITHER = '$(command -v {} || command -v {}) "$@"'
_WAY = ("--no-defaults", "--host=127.0.0.1", "--protocol=TCP", "--user=root", "-BN")
