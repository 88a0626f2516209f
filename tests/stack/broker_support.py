"""A namespace on a real broker, and waiting for what must come: what the broker tests share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import amqp
import pytest

from bisect_celery.lab.cancel import Token
from bisect_celery.model import QueueCount
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.node import BrokerNode

_numbers = itertools.count(1)
KINDS = ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


def eventually(condition: Callable[[], bool], deadline: float = 20.0) -> None:
    assert Token().wait(condition, deadline), "the awaited condition never held"


@dataclass
class Namespace:
    """A virtual host of its own on a real broker, and what was opened on it."""

    node: BrokerNode
    management: Management
    vhost: str
    user: str
    password: str

    def __post_init__(self) -> None:
        self.opened: list[amqp.Connection] = []

    @property
    def url(self) -> str:
        return f"amqp://{self.user}:{self.password}@{self.node.amqp_host}:{self.node.amqp_port}/{self.vhost}"

    def connect(self, **options: object) -> amqp.Connection:
        settings: dict[str, object] = {
            "host": f"{self.node.amqp_host}:{self.node.amqp_port}",
            "userid": self.user,
            "password": self.password,
            "virtual_host": self.vhost,
            "connect_timeout": 10,
            "read_timeout": 30,
        }
        connection = amqp.Connection(**{**settings, **options})
        connection.connect()
        self.opened.append(connection)
        return connection

    def count(self, queue: str) -> QueueCount | None:
        return next((each for each in self.management.queues(self.vhost) if each.name == queue), None)

    def counts(self, queue: str) -> tuple[int, int] | None:
        """(ready, unacked), None when there is no such queue."""
        found = self.count(queue)
        return None if found is None else (found.ready, found.unacked)

    def settles_at(self, queue: str, ready: int, unacked: int) -> None:
        eventually(lambda: self.counts(queue) == (ready, unacked))


def fresh_namespace(node: BrokerNode) -> Iterator[Namespace]:
    management = Management(node.management_url, node.admin_user, node.admin_password)
    name = f"test-{next(_numbers)}"
    credentials = management.create_namespace(name)
    namespace = Namespace(node, management, name, credentials.user, credentials.password)
    yield namespace
    for connection in namespace.opened:
        connection.collect()
    management.delete_namespace(name)
    management.close()
