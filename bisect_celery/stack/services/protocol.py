"""Services beside the broker: databases and Redis, each started once a session, with a namespace of its own a trial.

One protocol for all of them, whoever runs them: a program of ours on this machine (the files beside), or a container
(`stack.containers.services`). They are private as the broker is: the loopback or the trials' network only, a
password made for the session, data in a folder that goes with it, our label on every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel

REDIS, POSTGRES, MARIADB, MYSQL = "redis", "postgres", "mariadb", "mysql"
DATABASES = (POSTGRES, MARIADB, MYSQL)
KINDS = (REDIS, *DATABASES)
NAMES = {REDIS: "Redis", POSTGRES: "PostgreSQL", MARIADB: "MariaDB", MYSQL: "MySQL"}
SCHEMES = {REDIS: "redis", POSTGRES: "postgresql", MARIADB: "mysql", MYSQL: "mysql"}
# The one user of a session's databases; it owns them all, since a copied database belongs to whom the first one did.
USER = "bisect_celery"


@dataclass(frozen=True)
class Bindings:
    """How programs of a trial reach what is theirs of a service. `name` is the database's. Never printed."""

    kind: str
    host: str
    port: int
    name: str
    user: str = ""
    password: str = ""

    @property
    def login(self) -> str:
        """As it stands in a URL, before the host."""
        known = self.user or self.password
        return f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if known else ""

    @property
    def url(self) -> str:
        return f"{SCHEMES.get(self.kind, self.kind)}://{self.login}{self.host}:{self.port}/{self.name}"

    def filled(self) -> dict[str, str]:
        """By the names of the placeholders: `database_url`, `database_host` …, or `redis_url`, `redis_host` …"""
        if self.kind not in KINDS:
            return {}  # a project's own affair: its settings know it
        what = "redis" if self.kind == REDIS else "database"
        parts = {"url": self.url, "host": self.host, "port": str(self.port), "name": self.name}
        parts |= {"user": self.user, "password": self.password, "login": self.login}
        return {f"{what}_{part}": value for part, value in parts.items()}


class Service(Protocol):
    """Something that stays for the session, beside the broker. Safe to use from several threads once it is started."""

    kind: str
    version: str

    def start(self, cancel: Cancel) -> None:
        """Come up and be healthy. Raises InfraError with the last log lines, and then nothing of it is left."""
        ...

    def stop(self) -> None:
        """End every process of it and remove its data. Idempotent, from any thread."""
        ...

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        """An empty namespace for the trial `name`. Raises InfraError."""
        ...

    def drop(self, name: str) -> None:
        """Remove that namespace, whoever is still connected. Raises InfraError when the service has gone meanwhile:
        then what the trial showed is no evidence."""
        ...


class Database(Service, Protocol):
    """A service whose namespaces can be kept and copied: what took long to fill is filled once."""

    def empty(self, name: str) -> None:
        """Put an empty database in place of the trial's. Raises InfraError."""
        ...

    def keep(self, name: str, key: str) -> None:
        """Keep what the trial's database holds now under `key`; nobody is connected to it. Raises InfraError."""
        ...

    def copy(self, name: str, key: str) -> bool:
        """Put a copy of what was kept under `key` in place of the trial's database; False when nothing was."""
        ...


class Databases(Protocol):
    """One server's statements about databases, by their names there."""

    def make(self, name: str) -> None: ...
    def drop(self, name: str) -> None: ...
    def keep(self, name: str, key: str) -> None: ...
    def copy(self, name: str, key: str) -> bool: ...


class OfDatabases:
    """What a `Database` is asked for a trial: the same of every server, wherever it runs. Sets none of its own."""

    _databases: Databases

    def drop(self, name: str) -> None:
        self._databases.drop(database_name(name))

    def empty(self, name: str) -> None:
        self._databases.make(database_name(name))

    def keep(self, name: str, key: str) -> None:
        self._databases.keep(database_name(name), key)

    def copy(self, name: str, key: str) -> bool:
        return self._databases.copy(database_name(name), key)


@dataclass(frozen=True)
class Taken:
    """A trial's namespaces on all services of its session: what is bound, and how to give them back."""

    services: Sequence[Service]
    bindings: Sequence[Bindings]
    name: str

    @classmethod
    def of(cls, services: Sequence[Service], name: str, cancel: Cancel) -> Taken:
        """Raises InfraError, and then none of them is taken."""
        made = cls(services, bindings := [], name)
        try:
            for service in services:
                bindings.append(service.fresh(name, cancel))
        except BaseException:
            made.drop(quietly=True)
            raise
        return made

    @property
    def filled(self) -> Mapping[str, str]:
        return {key: value for one in self.bindings for key, value in one.filled().items()}

    def databases(self) -> list[Database]:
        """The services that hold the trial's databases, none where that is a file."""
        return [one for one in self.services if one.kind in DATABASES]  # type: ignore[misc]

    def copy_databases(self, key: str) -> bool:
        """What was kept under `key`, in all of them; False where one of them has none, and then they are empty."""
        databases = self.databases()
        copied = [one.copy(self.name, key) for one in databases]
        if not all(copied):
            self.empty_databases()
        return bool(databases) and all(copied)

    def empty_databases(self) -> None:
        for one in self.databases():
            one.empty(self.name)

    def keep_databases(self, key: str) -> None:
        for one in self.databases():
            one.keep(self.name, key)

    def drop(self, *, quietly: bool = False) -> None:
        """Give all of them back, whatever fails first. Raises the first InfraError, unless `quietly`."""
        failed: list[InfraError] = []
        for service in self.services[: len(self.bindings) + 1]:
            try:
                service.drop(self.name)
            except InfraError as error:
                failed.append(error)
        if failed and not quietly:
            raise failed[0]


# Names under which projects know their services; the trials' network answers to them, where it is one of ours.
ALIASES = {
    REDIS: ("redis", "cache", "valkey"),
    POSTGRES: ("postgres", "postgresql", "db", "database", "pgsql"),
    MARIADB: ("mariadb", "mysql", "db", "database"),
    MYSQL: ("mysql", "mariadb", "db", "database"),
}


# Under this name a place tells the addresses of all that a project's compose file has beside its worker.
COMPANIONS = "companions"


def addresses(bindings: Mapping[str, str], walled: bool) -> frozenset[str]:
    """host:port of every service that is a trial's own, by each name that leads there: behind a wall names are ours."""
    found = set(bindings.get(COMPANIONS, "").split())
    for what, kinds in (("redis", (REDIS,)), ("database", DATABASES)):
        if f"{what}_host" in bindings:
            port = bindings[f"{what}_port"]
            found.add(f"{bindings[f'{what}_host']}:{port}")
            if walled:
                found |= {f"{alias}:{port}" for kind in kinds for alias in ALIASES[kind]}
    return frozenset(found)


def versions(services: Sequence[Service]) -> tuple[tuple[str, str], ...]:
    return tuple((service.kind, service.version) for service in services)


def database_name(trial: str) -> str:
    """A trial's name as databases may be named without quotes."""
    return "trial_" + "".join(letter if letter.isalnum() else "_" for letter in trial.lower())


def gone(kind: str, log: str) -> InfraError:
    told = f":\n{log}" if log else "."
    name = NAMES.get(kind, kind)
    return InfraError(f"The {name} of this session is gone{told}", "`bisect-celery resume` starts a new one.")
