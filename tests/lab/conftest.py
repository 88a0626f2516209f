"""The trials of all collected scenarios, made beside each other from the first one on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenario import Lab, Tried
from small_shop import Bench, bench, redis_broker

from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import RabbitNode


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def tried(request: pytest.FixtureRequest, lab: Lab) -> Tried:
    # A whole file's together, and no other's: several processes of tests each have files of their own.
    for item in request.session.items:
        scenario = getattr(getattr(item, "function", None), "scenario", None)
        if item.path == request.path and scenario is not None:
            lab.submit(item.nodeid, scenario)
    return lab.made(request.node.nodeid)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("emulated"), EmbeddedNode)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("rabbitmq"), RabbitNode)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("redis"), redis_broker)
