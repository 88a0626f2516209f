"""What a trial asks of its broker, asked of a real Redis, with kombu as the client that workers are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.probe import leftover
from bisect_celery.probe.eyes import eyes
from bisect_celery.probe.send import publish
from bisect_celery.stack.brokers.namespace import Space
from bisect_celery.stack.brokers.redis import RedisBroker
from bisect_celery.stack.services.redis import RedisService, find_redis

pytestmark = pytest.mark.redis

MAIL = Queue("mail", Exchange("mail"), routing_key="mail")
REST = Queue("rest", Exchange("jobs", "topic"), routing_key="jobs.#")
# How projects name things where they share a server with others.
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "prefixed": {"global_keyprefix": "shop:", "priority_steps": [0, 4, 8]},
    "renamed": {"unacked_key": "held", "unacked_index_key": "held by when", "fanout_prefix": False},
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBroker]:
    program = find_redis()
    assert program is not None
    made = RedisBroker(RedisService(tmp_path_factory.mktemp("redis") / "servers", program))
    made.start(Token())
    yield made
    made.stop()


@pytest.fixture
def spaces(broker: RedisBroker) -> Iterator[tuple[Space, Space]]:
    with ExitStack() as open_:
        one, two = (open_.enter_context(broker.namespace(name, Token(), alone=False)) for name in ("one", "two"))
        yield one, two


@pytest.fixture
def space(spaces: tuple[Space, Space]) -> Space:
    return spaces[0]


class Client:
    """A client of a space, as a worker is one."""

    def __init__(self, space: Space, options: dict[str, Any]) -> None:
        self.connection = Connection(space.broker_url, transport_options=options)
        self.channel = self.connection.channel()
        for queue in (MAIL, REST):
            queue(self.channel).declare()
        self.producer = Producer(self.channel)
        self.got: list[Any] = []

    def send(self, count: int, queue: Queue = MAIL, **properties: Any) -> None:
        for number in range(count):
            key = "jobs.a.b" if queue is REST else "mail"
            self.producer.publish({"n": number}, exchange=queue.exchange.name, routing_key=key, **properties)

    def die(self) -> None:
        """Without a goodbye: what it holds is not given back."""
        self.channel.qos._delivered.clear()
        self.connection.collect()

    def take(self, count: int) -> list[Any]:
        """So many messages, of whichever queue, unacknowledged."""
        consumer = Consumer(self.channel, [MAIL, REST], callbacks=[lambda _, message: self.got.append(message)])
        consumer.qos(prefetch_count=count)
        with consumer:
            while len(self.got) < count:
                self.connection.drain_events(timeout=10)
        return self.got


Make = Callable[..., Client]


@pytest.fixture
def make(spaces: tuple[Space, Space]) -> Iterator[Make]:
    """Makes clients, which are gone before their servers are."""
    made: list[Client] = []

    def maker(space: Space, options: dict[str, Any] | None = None) -> Client:
        made.append(Client(space, options or {}))
        return made[-1]

    yield maker
    for client in made:
        client.die()


@pytest.fixture(params=OPTIONS)
def client(request: pytest.FixtureRequest, space: Space, make: Make) -> Client:
    return make(space, OPTIONS[request.param])


def counts(space: Space) -> dict[str, tuple[int, int]]:
    return {queue.name: (queue.ready, queue.unacked) for queue in space.queues()}


def test_what_waits_and_what_is_held_is_counted_for_each_queue(space: Space, client: Client) -> None:
    assert counts(space) == {"mail": (0, 0), "rest": (0, 0)}
    client.send(3)
    client.send(2, priority=9)
    client.send(2, REST)
    assert counts(space) == {"mail": (5, 0), "rest": (2, 0)}
    first, second, third = client.take(3)
    after = counts(space)
    assert sum(ready for ready, _ in after.values()) == 4
    assert sum(unacked for _, unacked in after.values()) == 3
    held = [message.delivery_info["routing_key"] for message in client.got]
    assert {"mail": held.count("mail"), "rest": held.count("jobs.a.b")} == {
        name: unacked for name, (_, unacked) in after.items()
    }
    first.ack()
    second.requeue()
    after = counts(space)
    assert sum(ready for ready, _ in after.values()) == 5
    assert sum(unacked for _, unacked in after.values()) == 1
    third.reject()
    assert sum(unacked for _, unacked in counts(space).values()) == 0


def test_what_a_project_keeps_beside_its_messages_is_no_queue(space: Space, make: Make) -> None:
    make(space)
    with Connection(space.harness_url) as connection:
        redis = connection.default_channel.client
        redis.rpush("basket", "apple", "pear")
        redis.rpush("group.j", json.dumps([1, "SUCCESS"]))
        redis.hset("session", mapping={"user": "ada", "theme": "dark"})
        redis.set("celery-task-meta-1", json.dumps({"status": "SUCCESS"}))
        redis.sadd("tags", "a")
    assert set(counts(space)) == {"mail", "rest"}


def test_a_message_for_a_queue_that_nobody_declared_is_counted(space: Space, make: Make) -> None:
    options = {"global_keyprefix": "shop:"}
    make(space, options)
    publish(space.harness_url, "new", "shop.work", ["1"], args="[]", kwargs="{}", celery="5.4.0", transport=options)
    assert counts(space)["new"] == (1, 0)


def test_who_dies_with_a_message_leaves_it_held(space: Space, make: Make) -> None:
    client = make(space)
    client.send(1)
    client.take(1)
    client.die()
    assert counts(space)["mail"] == (0, 1)


def test_no_trial_knows_of_another(spaces: tuple[Space, Space], make: Make) -> None:
    one, two = spaces
    make(one).send(1)
    assert two.queues() == ()
    with pytest.raises(InfraError, match="does not answer"):
        eyes(one.harness_url.replace(one.harness_url.rpartition("@")[0], "redis://:wrong"))


def test_events_are_heard_whatever_they_are_published_under(space: Space, client: Client) -> None:
    watching = eyes(space.harness_url)
    before = watching.listeners()
    exchange = Exchange("celeryev", "fanout")
    listener = Queue("celeryev.somebody", exchange, routing_key="#", auto_delete=True, durable=False)
    consumer = Consumer(client.channel, [listener], no_ack=True)
    consumer.consume()
    with contextlib.suppress(TimeoutError):
        client.connection.drain_events(timeout=0.1)
    assert (before, watching.listeners()) == (0, 1), "we ourselves are none"
    for body in ({"type": "task-received", "uuid": "a"}, [{"type": "task-started"}, {"type": "task-succeeded"}]):
        client.producer.publish(body, exchange=exchange, routing_key="task.multi", declare=[exchange])
    client.producer.publish("not JSON", exchange=exchange, routing_key="x", content_type="text/plain")
    heard: list[str] = []

    def all_heard() -> bool:
        heard.extend(event["type"] for event in watching.drain(0.05))
        return len(heard) >= 3

    assert Token().wait(all_heard, 5)
    assert heard == ["task-received", "task-started", "task-succeeded"]
    assert watching.consumers(["mail"]) is None
    watching.close()


def test_state_is_handed_on_with_its_messages_in_their_order(spaces: tuple[Space, Space], make: Make) -> None:
    one, two = spaces
    client = make(one, {"global_keyprefix": "shop:"})
    client.send(2)
    client.send(1, priority=9)
    client.send(1, REST)
    with Connection(one.bindings["redis_url"]) as connection:
        connection.default_channel.client.hset("basket", "apples", 3)
    definitions = one.definitions()
    names = [queue["name"] for queue in json.loads(definitions)["queues"]]
    assert names == ["mail", "rest"]
    elements = leftover.take(one.harness_url, names)
    assert len(elements) == 4
    assert counts(one) == {"mail": (0, 0), "rest": (0, 0)}
    two.define(definitions)
    leftover.put(two.harness_url, elements)
    assert counts(two) == {"mail": (3, 0), "rest": (1, 0)}
    with Connection(two.bindings["redis_url"]) as connection:
        assert connection.default_channel.client.hgetall("basket") == {b"apples": b"3"}
    again = make(two, {"global_keyprefix": "shop:"})
    bodies = [(message.delivery_info["routing_key"], message.payload["n"]) for message in again.take(4)]
    assert sorted(bodies) == [("jobs.a.b", 0), ("mail", 0), ("mail", 0), ("mail", 1)]
    of_mail = [message.payload["n"] for message in again.got if message.properties.get("priority") == 0]
    assert of_mail == sorted(of_mail)


def test_a_restarted_server_has_what_it_had_at_the_same_address(space: Space, make: Make) -> None:
    client = make(space)
    client.send(2)
    client.take(1)
    client.die()
    before = counts(space)
    space.stop_broker()
    with pytest.raises(InfraError, match="does not answer"):
        space.queues()
    space.start_broker()
    assert counts(space) == before == {"mail": (1, 1), "rest": (0, 0)}
    assert space.healthy()


def test_a_server_that_takes_nothing_more_is_not_well(space: Space) -> None:
    with Connection(space.harness_url) as connection:
        connection.default_channel.client.config_set("maxmemory", "1")
    assert not space.healthy()


def test_a_server_that_died_meanwhile_is_no_evidence(broker: RedisBroker) -> None:
    leaving = broker.namespace("dies", Token(), alone=False)
    space = leaving.__enter__()
    with Connection(space.harness_url) as connection:
        pid = connection.default_channel.client.info("server")["process_id"]
    os.kill(pid, signal.SIGKILL)
    assert Token().wait(lambda: _refuses(space), 10)
    with pytest.raises(InfraError, match="Redis of this session is gone"):
        leaving.__exit__(None, None, None)


def _refuses(space: Space) -> bool:
    try:
        space.queues()
    except InfraError:
        return True
    return False
