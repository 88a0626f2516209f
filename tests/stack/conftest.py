"""Real brokers for tests: one node of each kind for the whole run, a fresh namespace for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker_support import KINDS, Namespace, fresh_namespace

from bisect_celery.lab.cancel import Token
from bisect_celery.stack.brokers.node import BrokerNode, EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import RabbitNode


@pytest.fixture(scope="session")
def embedded_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerNode]:
    node = EmbeddedNode(tmp_path_factory.mktemp("embedded"))
    node.start(Token())
    yield node
    node.stop()


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerNode]:
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    node.start(Token())
    yield node
    node.stop()


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest) -> BrokerNode:
    """Each kind of broker in turn: what one does the other must do."""
    name = {"embedded": "embedded_node", "rabbitmq": "rabbit_node"}[request.param]
    node: BrokerNode = request.getfixturevalue(name)
    return node


@pytest.fixture
def namespace(broker: BrokerNode) -> Iterator[Namespace]:
    yield from fresh_namespace(broker)


@pytest.fixture
def embedded_namespace(embedded_node: BrokerNode) -> Iterator[Namespace]:
    yield from fresh_namespace(embedded_node)
