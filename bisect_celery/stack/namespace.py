"""What a place has of the session's broker: a namespace of its own, its counts, and, if it is alone, its stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import quote

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Credentials, QueueCount
from bisect_celery.stack.management import Management


class Serving(Protocol):
    """Of a `node.BrokerNode` that runs what a namespace needs."""

    management_url: str
    admin_user: str
    admin_password: str

    def alive(self) -> bool: ...

    def shut_down(self) -> None: ...

    def bring_up(self) -> None: ...


def url_of(credentials: Credentials, host: str, port: int) -> str:
    parts = (credentials.user, credentials.password, credentials.vhost)
    user, password, vhost = (quote(part, safe="") for part in parts)
    return f"amqp://{user}:{password}@{host}:{port}/{vhost}"


class Namespace:
    """One namespace on a broker, from `made`. Every method raises InfraError when the broker does not answer."""

    def __init__(self, broker: Serving, credentials: Credentials, management: Management, alone: bool) -> None:
        """`alone`: nobody else uses this broker meanwhile."""
        self.vhost = credentials.vhost
        self._credentials, self._broker, self._management, self._alone = credentials, broker, management, alone
        self._down = False

    @classmethod
    @contextlib.contextmanager
    def made(cls, broker: Serving, name: str, cancel: Cancel, *, alone: bool) -> Iterator[Namespace]:
        """A fresh one for the trial `name`; left, it is gone, and the broker serves again whatever was done to it.

        Raises InfraError where the broker is gone, HeldBack where an alarm of its stays.
        """
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

    def url(self, host: str, port: int) -> str:
        """The way into it, for whoever reaches the broker at this address."""
        return url_of(self._credentials, host, port)

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

    def __init__(self, namespace: Namespace) -> None:
        self.vhost = namespace.vhost
        self.queues = namespace.queues
        self.healthy = namespace.healthy
        self.stop_broker = namespace.stop_broker
        self.start_broker = namespace.start_broker
        self.definitions = namespace.definitions
        self.define = namespace.define
