"""Some of the incidents on Redis: what is known there by other means than on RabbitMQ is judged the same.

The whole matrix is `scripts/benchmark judge --broker redis`; docs/judging.md has its figures.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future

import loader
import pytest
from trial import Lab, Tried, redis_broker

from bisect_celery.core import judge
from bisect_celery.model import Verdict

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(600)]

# What rests on counts, on what is acknowledged, and on what is given back.
NAMES = ("founding", "redelivered", "slot-lost")
ALL = {name: loader.load(name, random.Random()) for name in NAMES}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Future[Tried], Future[Tried]]]]:
    lab = Lab(tmp_path_factory.mktemp("redis-incidents"), redis_broker)
    try:
        lab.start()
        bad = {name: lab.submit(incident, "bad") for name, incident in ALL.items()}
        # One good revision is held beside all: what is usual there is nothing left anywhere.
        good = lab.submit(ALL["founding"], "good")
        yield {name: (good, future) for name, future in bad.items()}
    finally:
        lab.stop()


@pytest.mark.parametrize("name", NAMES)
def test_an_incident_shows_on_redis_what_it_shows_on_rabbitmq(
    name: str, tried: dict[str, tuple[Future[Tried], Future[Tried]]]
) -> None:
    good, bad = (future.result(timeout=300) for future in tried[name])
    assert judge.at_end(good.seen(good)).verdict is Verdict.GOOD, good
    shown = bad.seen(good)
    assert ALL[name].symptom.differs(shown.symptom) is None, (ALL[name].symptom.differs(shown.symptom), shown)
    assert judge.at_end(shown).verdict is Verdict.BAD
