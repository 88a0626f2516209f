"""The trials of all collected scenarios, made beside each other from the first one on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenario import Lab, Tried
from small_shop import Bench, bench, redis_broker

from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import RabbitNode


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scenarios = {
        item.function.__name__: item.function.scenario
        for item in request.session.items
        if hasattr(getattr(item, "function", None), "scenario")
    }
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start(scenarios)
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def tried(request: pytest.FixtureRequest, lab: Lab) -> Tried:
    return lab.made(request.function.__name__)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("emulated"), EmbeddedNode)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("rabbitmq"), RabbitNode)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(tmp_path_factory.mktemp("redis"), redis_broker)
