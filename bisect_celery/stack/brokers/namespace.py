"""What a place has of the session's broker: a namespace of its own, its counts, and, if it is alone, its stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote

from bisect_celery.errors import InfraError
from bisect_celery.model import BrokerTraits, Cancel, Credentials, QueueCount
from bisect_celery.stack.brokers.management import Management

AMQP = BrokerTraits("amqp")


class Space(Protocol):
    """What of a broker is one trial's own. `broker_url` is how its programs reach it, `harness_url` how we do;
    `bindings` are placeholders of what it serves as beside, with their values.

    Every method raises InfraError when the broker does not answer; what they do is said in `model.Place`.
    """

    traits: BrokerTraits
    vhost: str
    broker_url: str
    harness_url: str
    bindings: Mapping[str, str]

    def queues(self) -> tuple[QueueCount, ...]: ...
    def healthy(self) -> bool: ...
    def stop_broker(self) -> None: ...
    def start_broker(self) -> None: ...
    def definitions(self) -> bytes: ...
    def define(self, definitions: bytes) -> None: ...


class Broker(Protocol):
    """A broker that stays for the session, or what gives each trial its own. `kind` is "rabbitmq", "embedded", "redis".

    The version is known once `start` has returned. `serves`: kinds of services that it is as well.
    """

    kind: str
    emulated: bool
    version: str
    serves: frozenset[str]

    def start(self, cancel: Cancel) -> None:
        """Come up and be healthy. Raises InfraError with the last log lines, and then nothing of it is left."""
        ...

    def stop(self) -> None:
        """End every process of it and remove its data. Idempotent, from any thread."""
        ...

    def namespace(self, name: str, cancel: Cancel, *, alone: bool) -> AbstractContextManager[Space]:
        """A fresh one for the trial `name`, gone when it is left. `alone`: nobody else uses this broker meanwhile.

        Raises InfraError where the broker is gone, HeldBack where an alarm of its stays.
        """
        ...


class Serving(Protocol):
    """Of a `node.BrokerNode` that runs what a namespace needs."""

    amqp_host: str
    amqp_port: int
    management_url: str
    admin_user: str
    admin_password: str

    def inside(self) -> tuple[str, int]:
        """Host and port by which programs of trials reach it."""
        ...

    def alive(self) -> bool: ...

    def shut_down(self) -> None: ...

    def bring_up(self) -> None: ...


def url_of(credentials: Credentials, host: str, port: int) -> str:
    parts = (credentials.user, credentials.password, credentials.vhost)
    user, password, vhost = (quote(part, safe="") for part in parts)
    return f"amqp://{user}:{password}@{host}:{port}/{vhost}"


class OverAmqp:
    """What gives a `Serving` node its part of a `Broker`."""

    amqp_host: str
    amqp_port: int
    serves: frozenset[str] = frozenset()

    def inside(self) -> tuple[str, int]:
        return self.amqp_host, self.amqp_port

    def namespace(self: Serving, name: str, cancel: Cancel, *, alone: bool) -> AbstractContextManager[Space]:
        return Namespace.made(self, name, cancel, alone=alone)


class Namespace:
    """A `Space` over AMQP, from `made`: a virtual host and its user."""

    traits = AMQP
    bindings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, broker: Serving, credentials: Credentials, management: Management, alone: bool) -> None:
        """`alone`: nobody else uses this broker meanwhile."""
        self.vhost = credentials.vhost
        self.broker_url = url_of(credentials, *broker.inside())
        self.harness_url = url_of(credentials, broker.amqp_host, broker.amqp_port)
        self._broker, self._management, self._alone = broker, management, alone
        self._down = False

    @classmethod
    @contextlib.contextmanager
    def made(cls, broker: Serving, name: str, cancel: Cancel, *, alone: bool) -> Iterator[Namespace]:
        """`Broker.namespace`. Left, the broker serves again, whatever was done to it."""
        if not broker.alive():
            raise InfraError("The broker of this session is gone.", "`bisect-celery resume` starts a new one.")
        vhost = f"bisect-celery-{name}"
        with contextlib.ExitStack() as leaving:
            management = Management(broker.management_url, broker.admin_user, broker.admin_password)
            leaving.callback(management.close)
            management.await_health(cancel)
            leaving.callback(management.delete_namespace, vhost)
            namespace = cls(broker, management.create_namespace(vhost), management, alone)
            leaving.callback(namespace.serve_again)
            yield namespace

    def serve_again(self) -> None:
        if self._down:
            self.start_broker()

    # --- the part of a `model.Place`

    def queues(self) -> tuple[QueueCount, ...]:
        return tuple(self._management.queues(self.vhost))

    def healthy(self) -> bool:
        return self._management.healthy()

    def stop_broker(self) -> None:
        if not self._alone:
            raise InfraError("A broker that others use cannot be shut down.")
        self._down = True
        self._broker.shut_down()

    def start_broker(self) -> None:
        self._broker.bring_up()
        self._down = False

    def definitions(self) -> bytes:
        return self._management.definitions(self.vhost)

    def define(self, definitions: bytes) -> None:
        self._management.define(self.vhost, definitions)


class InNamespace:
    """The part of a `model.Place` that is its namespace's: for the places of every stack."""

    def __init__(self, namespace: Space) -> None:
        self.broker = namespace.traits
        self.vhost = namespace.vhost
        self.broker_url, self.harness_url = namespace.broker_url, namespace.harness_url
        self.queues = namespace.queues
        self.healthy = namespace.healthy
        self.stop_broker = namespace.stop_broker
        self.start_broker = namespace.start_broker
        self.definitions = namespace.definitions
        self.define = namespace.define
