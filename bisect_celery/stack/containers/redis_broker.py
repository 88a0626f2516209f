"""Redis as broker in containers: one container for the session, in which each trial's own server is a process.

A container for each trial would take most of a second, a process takes a tenth, and its port can be published only from
the container's beginning: so a number of ports is, and each server takes one. It stands on the trials' network and on
that of the broker, as RabbitMQ does; whoever else is on it does not know a trial's password.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Owner
from bisect_celery.stack.compose.described import Port, Service
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.door import Ways
from bisect_celery.stack.engine.files import NOBODY, archive_of
from bisect_celery.stack.services.protocol import REDIS, Bindings, gone
from bisect_celery.stack.services.redis import settings, speaks, told_to

START_DEADLINE = 60.0
SERVER_DEADLINE = 20.0
PORTS = range(6379, 6379 + 8)
_HINT = "BISECT_CELERY_REDIS_IMAGE names another image; `--broker rabbitmq` does without."
_VERSION = re.compile(r"\bv=(\d[\w.]*)")


@dataclass(frozen=True)
class _Spot:
    """A port of a container of ours: where it is for trials, and where for us."""

    container: str
    inside: str
    port: int
    host: str
    published: int


@dataclass(frozen=True)
class _Server:
    spot: _Spot
    inside: Bindings
    reached: Bindings

    @property
    def folder(self) -> str:
        return f"/var/tmp/redis-{self.spot.port}"


class ContainerRedis:
    """`brokers.redis.Servers` in containers of the compose file's `redis-broker` service. Safe to use from threads."""

    kind = REDIS

    def __init__(
        self, engine: Engine, service: Service, owner: Owner, prefix: str, names: Mapping[str, str], cpus: float
    ) -> None:
        """`names` maps the compose file's networks to their names in this session; `cpus` are the engine's."""
        self.version = ""
        address = next((port.address for port in service.ports), "127.0.0.1")
        self._ways = Ways(engine, replace(service, ports=tuple(Port(address, port) for port in PORTS)))
        self._service = self._ways.service
        self._engine, self._owner, self._prefix, self._names, self._cpus = engine, owner, prefix, names, cpus
        self._lock = threading.Lock()
        self._containers: list[str] = []
        self._free: list[_Spot] = []
        self._servers: dict[str, _Server] = {}
        self._down: set[str] = set()  # by our own will

    def start(self, cancel: Cancel) -> None:
        with self._lock, self._engine.fresh() as engine:
            self._more(engine)
            code, said = engine.run_inside(self._containers[0], ("redis-server", "--version"))
        if code != 0:
            self.stop()
            raise InfraError(f"The image {self._service.image} has no Redis: {said.strip()[-200:]}", _HINT)
        found = _VERSION.search(said)
        self.version = found[1] if found else ""

    def _more(self, engine: Engine) -> None:
        """One more container, with ports that are free."""
        container = engine.create(
            self._service,
            name=f"{self._prefix}-{self._service.name}-{len(self._containers) + 1}",
            labels=labels(self._owner, "broker"),
            names=self._names,
            cpus_at_most=self._cpus,
        )
        self._containers.append(container)
        engine.start(container)
        inside = engine.address(container, self._names["trial"])
        self._free += [_Spot(container, inside, port, *self._ways.to(engine, container, port)) for port in PORTS]

    def stop(self) -> None:
        self._ways.close()
        with self._lock, self._engine.fresh() as engine:
            containers, self._containers, self._free = self._containers, [], []
            for container in containers:
                engine.remove(container)

    # --- a server of a trial

    def fresh(self, name: str, cancel: Cancel) -> Bindings:
        with self._engine.fresh() as engine:
            with self._lock:
                if not self._free:
                    self._more(engine)
                spot = self._free.pop(0)
            password = secrets.token_urlsafe(24)
            inside = Bindings(REDIS, spot.inside, spot.port, "0", password=password)
            server = _Server(spot, inside, replace(inside, host=spot.host, port=spot.published))
            with self._lock:
                self._servers[name] = server
            written = settings(inside, bind="0.0.0.0", folder=server.folder) + f'logfile "{server.folder}/log"\n'
            files = {f"{server.folder[1:]}": None, f"{server.folder[1:]}/redis.conf": written.encode()}
            engine.put(spot.container, "/", archive_of(files, uid=NOBODY, mode=0o600))
            self._run(engine, server, cancel)
        return inside

    def _run(self, engine: Engine, server: _Server, cancel: Cancel) -> None:
        """Raises InfraError with the last lines of its log."""
        words = ("redis-server", f"{server.folder}/redis.conf", "--daemonize", "yes")
        code, said = engine.run_inside(server.spot.container, words)
        if code != 0 or not cancel.wait(lambda: speaks(server.reached), SERVER_DEADLINE, poll=0.005):
            _, log = engine.run_inside(server.spot.container, ("tail", "-n", "12", f"{server.folder}/log"))
            raise InfraError(f"Redis ({self._service.image}) did not start:\n{said}{log}", _HINT)

    def reached(self, name: str) -> Bindings:
        with self._lock:
            return self._servers[name].reached

    def drop(self, name: str) -> None:
        with self._lock:
            server = self._servers.pop(name, None)
            by_our_will = name in self._down
            self._down.discard(name)
        if server is None:
            return
        well = speaks(server.reached)
        told_to(server.reached, "SHUTDOWN NOSAVE")
        if not speaks(server.reached):  # else its port stays its own
            with self._engine.fresh() as engine:
                engine.run_inside(server.spot.container, ("rm", "-rf", server.folder))
            with self._lock:
                self._free.append(server.spot)
        if not well and not by_our_will:
            raise gone(REDIS, "")

    def shut_down(self, name: str, cancel: Cancel) -> None:
        with self._lock:
            server = self._servers[name]
            self._down.add(name)
        told_to(server.reached, "SHUTDOWN SAVE")
        if not cancel.wait(lambda: not speaks(server.reached), SERVER_DEADLINE):
            raise InfraError("Redis did not end when it was told to.")

    def bring_up(self, name: str, cancel: Cancel) -> None:
        with self._lock:
            server = self._servers[name]
        with self._engine.fresh() as engine:
            self._run(engine, server, cancel)
        with self._lock:
            self._down.discard(name)
