"""What a project's compose file has beside its worker, for one slot: its images, its names, none of its data.

A database server stays and gets its databases as new (`companion_databases`); everything else is a container that each
trial gets anew. A project writes addresses down, so that they must stay while containers come and go: each such service
has a small container that holds its network, as slots have (`slots`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Companion
from bisect_celery.stack.compose.described import Service as Described
from bisect_celery.stack.containers.companion_databases import HINT, CompanionDatabase
from bisect_celery.stack.containers.services import PORTS, Server, Yard
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.services.protocol import DATABASES, REDIS, Bindings, Service, gone

REGISTRY_DEADLINE = 4.0
# How /proc/net/tcp writes it.
_LISTENS = "0A"


@dataclass(frozen=True)
class Cast:
    """What is the same for all slots: `companions` in their order, each with the image to take; how containers of
    servers, of other `companion`s and of what holds a network (`slot`) are described; and names of the broker."""

    yard: Yard
    companions: Sequence[Companion]
    described: Mapping[str, Described]
    hosts: Mapping[str, str]

    def made(self) -> Mates:
        return Mates(self)


class Mates:
    """The companions of one slot. `hosts` are names and addresses, `services` what trials get, `known` host:port."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._holders: list[str] = []
        self.services: list[Service] = []
        self.hosts: dict[str, str] = dict(cast.hosts)
        self.known: set[str] = set()

    def start(self, engine: Engine, cancel: Cancel) -> None:
        """Bring up what stays for the session. Raises InfraError, and then nothing of it is left."""
        try:
            for one in self._cast.companions:
                address, ports = self._database(one, cancel) if one.kind in DATABASES else self._other(engine, one)
                self.hosts |= dict.fromkeys(one.names, address)
                self.known |= {f"{name}:{port}" for name in one.names for port in ports}
        except BaseException:
            self.stop(engine)
            raise

    def _database(self, one: Companion, cancel: Cancel) -> tuple[str, Sequence[int]]:
        described = replace(self._cast.described[one.kind], image=one.image)
        database = CompanionDatabase(self._cast.yard, described, one)
        self.services.append(database)
        database.start(cancel)
        return database.address, (PORTS[one.kind],)

    def _other(self, engine: Engine, one: Companion) -> tuple[str, Sequence[int]]:
        yard, slot = self._cast.yard, self._cast.described["slot"]
        holder = yard.create(engine, "companion", slot, slot.command, hosts=self.hosts)
        self._holders.append(holder)
        engine.start(holder)
        described = replace(self._cast.described["companion"], image=one.image, user=one.user)
        ports = ports_of(engine, one)
        self.services.append(CompanionProgram(yard, described, one, holder, ports))
        return engine.address(holder, yard.names["trial"]), ports

    def stop(self, engine: Engine) -> None:
        """Remove all. Idempotent."""
        holders, self._holders = self._holders, []
        services, self.services = self.services, []
        with contextlib.ExitStack() as stops:
            for holder in holders:
                stops.callback(engine.remove, holder)
            for service in services:
                stops.callback(service.stop)


def ports_of(engine: Engine, one: Companion) -> tuple[int, ...]:
    """What it listens on, as the file, the image, or everybody knows."""
    config = (engine.image(one.image) or {}).get("Config") or {}
    exposed = [int(port) for port in map(_number, config.get("ExposedPorts") or ()) if port]
    usual = [PORTS[one.kind]] if one.kind in PORTS else []
    return tuple(dict.fromkeys((*one.ports, *exposed, *usual)))


def _number(port: str) -> str:
    found = re.fullmatch(r"(\d+)/tcp", port)
    return found[1] if found else ""


class CompanionProgram:
    """A `services.Service` of one slot that begins anew in each trial: a Redis, a search engine, a mail catcher.

    One that ends well has done its work (a bucket is made): that is as good as running.
    """

    def __init__(
        self, yard: Yard, described: Described, companion: Companion, holder: str, ports: Sequence[int]
    ) -> None:  # fmt: skip
        self.kind, self.version = companion.kind or companion.name, companion.image
        self._yard, self._described, self._companion = yard, described, companion
        self._holder, self._ports = holder, ports
        self._server = Server(yard, companion.kind, described, name=f"{companion.name} of the compose file", hint=HINT)
        self._password = _password(companion)

    def start(self, cancel: Cancel) -> None:
        """Nothing of it stays for the session but its network."""

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        one = self._companion
        with self._yard.engine.fresh() as engine:
            self._server.remove(engine)
            container = self._yard.create(
                engine, one.kind or "companion", self._described, _command(one), slot=self._holder,
                environment=dict(one.environment), entrypoint=one.entrypoint,
            )  # fmt: skip
            files = {path.lstrip("/"): content for path, content in one.files}
            self._server.serve(engine, cancel, container, self._ready(engine, container), files, may_end=True)
        return Bindings(self.kind, one.name, PORTS.get(one.kind, 0), "0", password=self._password)

    def _ready(self, engine: Engine, container: str) -> Callable[[], bool]:
        """By its healthcheck, the file's or the image's; else when it listens, where somebody knows on what."""
        config = (engine.image(self._described.image) or {}).get("Config") or {}
        test = self._companion.health or tuple((config.get("Healthcheck") or {}).get("Test") or ())
        words = ("sh", "-c", *test[1:]) if test[:1] == ("CMD-SHELL",) else test[1:]
        if words and test[0] != "NONE":
            return lambda: engine.run_inside(container, words)[0] == 0
        return (lambda: self._listens(engine)) if self._ports else (lambda: True)

    def _listens(self, engine: Engine) -> bool:
        """Seen from the container that holds its network: an image need not have a shell."""
        code, said = engine.run_inside(self._holder, ("cat", "/proc/net/tcp", "/proc/net/tcp6"))
        rows = [line.split() for line in said.splitlines()]
        listening = {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENS}
        return code != 0 or bool(listening & set(self._ports))

    def drop(self, name: str) -> None:
        """Raises InfraError where it died meanwhile; one that had done its work and ended has not."""
        container = self._server.container
        if container is None:
            return
        with self._yard.engine.fresh() as engine:
            state = engine.state(container)
            died = state is None or not (state.running or state.code == 0)
            log = engine.logs(container) if died else ""
            self._server.remove(engine)
        if died:
            raise gone(f"{self._companion.name} of the compose file", log)

    def stop(self) -> None:
        with self._yard.engine.fresh() as engine:
            self._server.remove(engine)


_SERVER = re.compile(r"(?:^|/)(?:redis|valkey)-server$")
# Reached by others than its own loopback, and nothing on a disk: words that win over those before them.
_OF_REDIS = ("--port", "6379", "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp")


def _command(one: Companion) -> tuple[str, ...]:
    """The project's own; a Redis listens for others also where it is not the official image, which sees to that."""
    if one.kind != REDIS:
        return one.command
    if one.command and not _SERVER.search(one.command[0]) and not one.command[0].startswith("-"):
        return one.command
    program = one.command[:1] if one.command and _SERVER.search(one.command[0]) else ()
    given = one.command[len(program) :]
    return (*(program or ("redis-server",)), *given, *_OF_REDIS)


def _password(one: Companion) -> str:
    if one.kind == REDIS and "--requirepass" in one.command[:-1]:
        return one.command[one.command.index("--requirepass") + 1]
    return ""


def broker_hosts(companions: Sequence[Companion], address: str) -> dict[str, str]:
    """The names under which a project knows its RabbitMQ lead to ours."""
    return {name: address for one in companions if one.kind == "rabbitmq" for name in one.names}


# Those that we know, of the official image (our `docker-compose.yml` says why not later).
_USABLE = re.compile(
    r"^(?P<name>(?:.+/)?rabbitmq):(?P<version>3|3\.1[0-3](?:\.\d+)?|4\.[0-2](?:\.\d+)?)(?P<rest>-.+)?$"
)


def broker_image(companions: Sequence[Companion]) -> str | None:
    """The project's RabbitMQ, in the flavour that can be asked for counts; None where it is none that we know."""
    for one in companions:
        found = _USABLE.match(one.image) if one.kind == "rabbitmq" else None
        if found is not None:
            rest = (found["rest"] or "").replace("-management", "")
            return f"{found['name']}:{found['version']}-management{rest}"
    return None


def with_broker_of(environ: Mapping[str, str], companions: Sequence[Companion]) -> Mapping[str, str]:
    """The environment with the project's own RabbitMQ as the image to take, where nobody chose one and it is there."""
    image = broker_image(companions)
    if image is None or environ.get("BISECT_CELERY_RABBITMQ_IMAGE"):
        return environ
    with contextlib.suppress(InfraError), Engine.connect(REGISTRY_DEADLINE) as engine:
        if engine.image(image) is not None or engine.obtainable(image):
            return {**environ, "BISECT_CELERY_RABBITMQ_IMAGE": image}
    return environ


def need_images(
    engine: Engine, companions: Sequence[Companion], cancel: Cancel, stand_ins: Mapping[str, str]
) -> tuple[tuple[Companion, ...], tuple[str, ...]]:
    """The companions with the images that the engine has, got from a registry where need be, and the names of those
    whose image cannot be had; a server of a kind of ours then runs from a stand-in."""
    found, absent = [], []
    for one in companions:
        if engine.image(one.image) is None and not _got(engine, one.image, cancel):
            stand_in = stand_ins.get(one.kind, "")
            if not stand_in or engine.image(stand_in) is None:
                absent.append(one.name)
                continue
            one = replace(one, image=stand_in)
        found.append(one)
    return tuple(found), tuple(absent)


def _got(engine: Engine, image: str, cancel: Cancel) -> bool:
    with engine.fresh(REGISTRY_DEADLINE) as asking:
        if not asking.obtainable(image):
            return False
    with contextlib.suppress(InfraError):
        engine.pull(image, cancel)
        return True
    return False
