"""What stands beside the broker in containers: services, a compose file's companions, slots that know them all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Companion
from bisect_celery.stack.brokers.namespace import Broker
from bisect_celery.stack.compose.described import Service as Described
from bisect_celery.stack.containers.available import RABBITMQ, STAND_INS
from bisect_celery.stack.containers.companions import Cast, broker_hosts, need_images
from bisect_celery.stack.containers.rabbitmq import ContainerBroker
from bisect_celery.stack.containers.services import ContainerDatabase, SlotRedis, Yard, hosts_of
from bisect_celery.stack.containers.slots import Slots
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.services.protocol import COMPANIONS, REDIS, Service


class Beside:
    """A session's, on the engine of its `yard`. `kinds` are of services, and may grow; `absent` are the companions
    whose image cannot be had."""

    def __init__(self, yard: Yard, kinds: Sequence[str], companions: Sequence[Companion]) -> None:
        self.kinds = list(kinds)
        self.databases: list[ContainerDatabase] = []
        self.absent: tuple[str, ...] = ()
        self._yard = yard
        self._companions = tuple(companions)
        self._versions: dict[str, str] = {}
        self._described: Mapping[str, Described] = {}
        self._slots: Slots | None = None

    def has(self, kind: str) -> bool:
        return kind in self.kinds or any(one.kind == kind for one in self._companions)

    def told(self) -> tuple[tuple[str, str], ...]:
        """Each service with its version; what the project's compose file has by kind or name, with its image."""
        ours = tuple((kind, self._versions.get(kind, "")) for kind in self.kinds)
        theirs = [(one.kind or one.name, one.image) for one in self._companions if one.kind != RABBITMQ]
        return (*ours, *theirs, *((name, "not there: its image cannot be had") for name in self.absent))

    def start(self, described: Mapping[str, Described], broker: Broker, cancel: Cancel) -> None:
        """`described` are the compose file's services. Raises InfraError for what cannot be started."""
        self._described = described
        for kind in self.kinds:
            self._start(kind, cancel)
        theirs = [one for one in self._companions if one.kind != RABBITMQ]
        brokers = [one for one in self._companions if one.kind == RABBITMQ]
        found, self.absent = need_images(self._yard.engine, theirs, cancel, STAND_INS)
        self._companions = (*brokers, *found)
        slots = self._slots = self._new_slots(broker)
        if found:
            with slots.taken(self._yard.engine, cancel):
                """What cannot be started is told before anything is built."""

    def join(self, kind: str, described: Mapping[str, Described], broker: Broker, cancel: Cancel) -> None:
        """A service that comes in later, one of `kinds` by now."""
        self._described = described
        self._start(kind, cancel)
        if self._slots is not None:
            self._slots.close(self._yard.engine)  # the next ones know its name
        self._slots = self._new_slots(broker)

    def stop(self) -> None:
        """Everything is tried, whatever fails first."""
        with contextlib.ExitStack() as stops:
            if self._slots is not None:
                stops.callback(self._slots.close, self._yard.engine)
            for database in self.databases:
                stops.callback(database.stop)

    # --- a trial's

    @contextlib.contextmanager
    def taken(self, engine: Engine, cancel: Cancel) -> Iterator[str]:
        """The container of a slot, for one trial. Raises InfraError before `start`."""
        if self._slots is None:
            raise InfraError("The container stack has not been started.")
        with self._slots.taken(engine, cancel) as slot:
            yield slot

    def services(self, slot: str) -> list[Service]:
        """All that a trial in this slot takes a namespace of."""
        redis = [SlotRedis(self._yard, self._described[REDIS], slot)] if REDIS in self.kinds else []
        mates = self._slots.mates(slot) if self._slots is not None else None
        return [*redis, *self.databases, *(mates.services if mates is not None else ())]

    def bindings(self, slot: str) -> dict[str, str]:
        """What a place in this slot tells of the companions, where there are any."""
        mates = self._slots.mates(slot) if self._slots is not None else None
        return {COMPANIONS: " ".join(sorted(mates.known))} if mates is not None else {}

    # --- starting

    def _start(self, kind: str, cancel: Cancel) -> None:
        """A database now; a Redis comes with each trial."""
        described = self._described[kind]
        if kind == REDIS:
            self._versions[kind] = described.image
            return
        database = ContainerDatabase(self._yard, kind, described)
        self.databases.append(database)
        database.start(cancel)
        self._versions[kind] = database.version

    def _new_slots(self, broker: Broker) -> Slots:
        hosts = hosts_of(self.kinds, self.databases)
        if isinstance(broker, ContainerBroker):
            hosts = {broker.inside_host: broker.inside_address, **hosts}
            hosts |= broker_hosts(self._companions, broker.inside_address)
        theirs = [one for one in self._companions if one.kind != RABBITMQ]
        yard, described = self._yard, self._described
        cast = Cast(yard, theirs, described, hosts) if theirs else None
        return Slots(described["slot"], yard.owner, yard.prefix, yard.names, hosts, cast)
