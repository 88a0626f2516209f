"""Services in containers: a Redis in the slot of each trial, a database server of the session on the trials' network.

Each is started by a command of ours, which needs nothing but the server's own programs: official images and stand-ins
serve alike. We reach them through the engine alone: no port is published, and trials have no way out through them.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Owner
from bisect_celery.stack.compose.described import Service as Described
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.files import archive_of
from bisect_celery.stack.services import mariadb, mysql, postgres
from bisect_celery.stack.services.protocol import (
    ALIASES,
    MARIADB,
    MYSQL,
    NAMES,
    POSTGRES,
    REDIS,
    USER,
    Bindings,
    OfDatabases,
    database_name,
    gone,
)

START_DEADLINE = 120.0
PORTS = {REDIS: 6379, POSTGRES: 5432, MARIADB: 3306, MYSQL: 3306}
# Where everybody may write in every image; the file of a password is put in beside.
DATA, _SECRETS = "/var/tmp/data", "var/tmp/bisect-celery"
_NUMBERS = itertools.count(1)

_POSTGRES = f"""
set -e
PATH="$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)"
initdb -D {DATA} -U {USER} --pwfile=/{_SECRETS} --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
echo 'host all all all scram-sha-256' >> {DATA}/pg_hba.conf
exec postgres -D {DATA} -c listen_addresses='*' -c unix_socket_directories=/var/tmp {
    " ".join(f"-c {name}={value}" for name, value in postgres.SETTINGS.items())
}
"""
_MARIADB = f"""
set -e
PATH="$PATH:/usr/sbin"
mariadb-install-db --no-defaults --datadir={DATA} --skip-test-db --auth-root-authentication-method=normal >/dev/null
exec mariadbd --no-defaults --datadir={DATA} --bind-address=0.0.0.0 --socket=/var/tmp/socket \
    --init-file=/{_SECRETS} {" ".join(mariadb.SETTINGS)}
"""
_MYSQL = f"""
set -e
PATH="$PATH:/usr/sbin"
mysqld --no-defaults --datadir={DATA} --initialize-insecure
exec mysqld --no-defaults --datadir={DATA} --bind-address=0.0.0.0 --socket=/var/tmp/socket \
    --init-file=/{_SECRETS} {" ".join(mysql.SETTINGS)}
"""
# What asks it from inside, what dumps, and how.
_CLIENTS = {
    MARIADB: ("mariadb", ("mariadb-dump", mariadb.DUMP)),
    MYSQL: ("mysql", ("mysqldump", mysql.DUMP)),
}
_INITIAL = {MARIADB: mariadb.initial, MYSQL: mysql.initial}
_REDIS = f"exec redis-server --port {PORTS[REDIS]} --bind 127.0.0.1 --save '' --appendonly no --dir /tmp"
_SCRIPTS = {REDIS: _REDIS, POSTGRES: _POSTGRES, MARIADB: _MARIADB, MYSQL: _MYSQL}


@dataclass(frozen=True)
class Yard:
    """What containers of services are made from: `names` and `prefix` are the session's, `cpus` the engine's."""

    engine: Engine
    owner: Owner
    prefix: str
    names: Mapping[str, str]
    cpus: float

    def create(
        self,
        engine: Engine,
        role: str,
        described: Described,
        command: Sequence[str],
        *,
        slot: str = "",
        environment: Mapping[str, str] | None = None,
        entrypoint: Sequence[str] = (),
        hosts: Mapping[str, str] | None = None,
    ) -> str:
        return engine.create(
            described,
            name=f"{self.prefix}-{role}-{next(_NUMBERS)}",
            labels=labels(self.owner, role),
            names=self.names,
            command=command,
            environment=environment,
            entrypoint=entrypoint,
            shared={"slot": slot},
            cpus_at_most=self.cpus,
            hosts=hosts,
        )


class Server:
    """One container of a service, started, and asked by the programs inside it. `name` is how messages call it."""

    def __init__(self, yard: Yard, kind: str, described: Described, *, name: str = "", hint: str = "") -> None:
        self.kind, self._yard, self._described = kind, yard, described
        self._name, self._hint = name or NAMES[kind], hint or _HINT
        self.container: str | None = None

    def start(
        self, engine: Engine, cancel: Cancel, ready: Sequence[str], *, secret: str = "", slot: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """By our own command, until `ready`, a command inside it, ends well. Raises InfraError as `serve` does."""
        container = self._yard.create(engine, self.kind, self._described, ("sh", "-c", _SCRIPTS[self.kind]), slot=slot)
        files = {_SECRETS: secret.encode()} if secret else {}
        self.serve(engine, cancel, container, lambda: engine.run_inside(container, ready, environment)[0] == 0, files)

    def serve(
        self,
        engine: Engine,
        cancel: Cancel,
        container: str,
        ready: Callable[[], bool],
        files: Mapping[str, bytes] = MappingProxyType({}),
        *,
        may_end: bool = False,
    ) -> None:
        """Start a container that was made for it, with these files in it, and wait until it is `ready`. `may_end`: one
        that has done its work and ended well is ready, too. Raises InfraError with the last lines of its log."""
        self.container = container
        if files:
            engine.put(container, "/", archive_of(files))
        engine.start(container)

        def ended() -> bool:
            state = engine.state(container)
            return state is None or not (state.running or (may_end and state.code == 0))

        def done() -> bool:
            state = engine.state(container)
            return state is None or not state.running or ready()

        if not cancel.wait(done, START_DEADLINE, poll=0.1) or ended():
            log = engine.logs(container)
            self.remove(engine)
            raise InfraError(f"{self._name} ({self._described.image}) did not start:\n{log}", self._hint)

    def alive(self, engine: Engine) -> bool:
        state = engine.state(self.container) if self.container is not None else None
        return state is not None and state.running

    def ask(self, words: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})) -> str:
        """What a program inside says. Raises InfraError where it fails, or the server is gone."""
        with self._yard.engine.fresh() as engine:
            if self.container is None or not self.alive(engine):
                raise gone(self._name, engine.logs(self.container) if self.container else "")
            code, said = engine.run_inside(self.container, words, environment)
        if code != 0:
            raise InfraError(f"{self._name} refused what we need: {said.strip()[-400:]}")
        return said

    def remove(self, engine: Engine) -> None:
        container, self.container = self.container, None
        if container is not None:
            engine.remove(container)


_HINT = "BISECT_CELERY_REDIS_IMAGE, …_POSTGRES_IMAGE, …_MARIADB_IMAGE and …_MYSQL_IMAGE name other images."


class ContainerDatabase(OfDatabases):
    """A `services.Database`: PostgreSQL, MariaDB or MySQL in a container of the session."""

    def __init__(self, yard: Yard, kind: str, described: Described) -> None:
        self.kind, self.version = kind, ""
        self.address = ""
        self._yard, self._described = yard, described
        self._server = Server(yard, kind, described)
        self._password = secrets.token_urlsafe(24)
        self._dumps = itertools.count(1)
        self._databases = (
            postgres.Databases(self._psql)
            if kind == POSTGRES
            else mariadb.Databases(self._mariadb, self._dump, self._fill)
        )

    def start(self, cancel: Cancel) -> None:
        ready = self._words(("SELECT 1",)) if self.kind == POSTGRES else self._client("-e", "SELECT 1")
        secret = self._password if self.kind == POSTGRES else _INITIAL[self.kind](self._password)
        with self._yard.engine.fresh() as engine:
            try:
                self._server.start(engine, cancel, ready, secret=secret, environment=self._credentials)
                assert self._server.container is not None
                self.address = engine.address(self._server.container, self._yard.names["trial"])
                said = (
                    self._psql(("SHOW server_version",)) if self.kind == POSTGRES else self._mariadb("SELECT version()")
                )
                self.version = re.split(r"[\s-]", said.strip())[0]
            except BaseException:
                self._server.remove(engine)
                raise

    def stop(self) -> None:
        with self._yard.engine.fresh() as engine:
            self._server.remove(engine)

    def hosts(self) -> dict[str, str]:
        """The names that lead there, for programs of trials."""
        return dict.fromkeys(ALIASES[self.kind], self.address)

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        cancel.check()
        self.empty(name)
        host = ALIASES[self.kind][0]
        return Bindings(self.kind, host, PORTS[self.kind], database_name(name), USER, self._password)

    # --- talking to it, from inside it

    def _psql(self, statements: Sequence[str]) -> str:
        return self._server.ask(self._words(statements))

    def _words(self, statements: Sequence[str]) -> list[str]:
        return postgres.psql_words("psql", statements, "-h", "/var/tmp", "-U", USER)

    @property
    def _credentials(self) -> dict[str, str]:
        return {"MYSQL_PWD": self._password}

    def _mariadb(self, statements: str) -> str:
        return self._server.ask(self._client("-e", statements), self._credentials)

    def _client(self, *words: str) -> tuple[str, ...]:
        return (_CLIENTS[self.kind][0], *self._way, "-BN", *words)

    _way = ("--no-defaults", "--socket=/var/tmp/socket", f"--user={USER}")

    def _dump(self, name: str) -> bytes:
        """The dump stays in the container; what is handed on is where."""
        path = f"/var/tmp/kept-{next(self._dumps)}.sql"
        program, options = _CLIENTS[self.kind][1]
        dump = (program, *self._way, *options, name)
        self._server.ask(("sh", "-c", f'"$@" > {path}', "sh", *dump), self._credentials)
        return path.encode()

    def _fill(self, name: str, sql: bytes) -> None:
        self._server.ask(("sh", "-c", f'"$@" < {sql.decode()}', "sh", *self._client(name)), self._credentials)


class SlotRedis:
    """A `services.Service` for one trial: a Redis on the loopback of the trial's slot, which nobody else reaches."""

    kind = REDIS

    def __init__(self, yard: Yard, described: Described, slot: str, version: str = "") -> None:
        self.version = version
        self._yard, self._described, self._slot = yard, described, slot
        self._server = Server(yard, REDIS, described)

    def start(self, cancel: Cancel) -> None:
        """Nothing of it stays for the session."""

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        with self._yard.engine.fresh() as engine:
            ready = ("sh", "-c", 'test PONG = "$(redis-cli -h 127.0.0.1 ping)"')
            self._server.start(engine, cancel, ready, slot=self._slot)
        return Bindings(REDIS, "127.0.0.1", PORTS[REDIS], "0")

    def drop(self, name: str) -> None:
        if self._server.container is None:
            return
        try:
            self._server.ask(("true",))
        finally:
            self.stop()

    def stop(self) -> None:
        with self._yard.engine.fresh() as engine:
            self._server.remove(engine)


def hosts_of(kinds: Sequence[str], databases: Sequence[ContainerDatabase]) -> dict[str, str]:
    """Names that programs of trials find without a resolver."""
    hosts = dict.fromkeys(ALIASES[REDIS], "127.0.0.1") if REDIS in kinds else {}
    for database in databases:
        hosts |= database.hosts()
    return hosts
