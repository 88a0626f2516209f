"""A broker that stops answering ends a wait; strange events do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import amqp
import pytest
from kombu.connection import Connection

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.probe.events import EXCHANGE, Monitor
from bisect_celery.probe.send import publish
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.node import EmbeddedNode

ENOUGH = 14.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    node = EmbeddedNode(tmp_path_factory.mktemp("broker"))
    node.start(Token())
    yield node
    node.stop()


@pytest.fixture
def url(node: EmbeddedNode) -> Iterator[str]:
    management = Management(node.management_url, node.admin_user, node.admin_password)
    made = management.create_namespace("test")
    yield f"amqp://{made.user}:{made.password}@{node.amqp_host}:{node.amqp_port}/{made.vhost}"
    management.delete_namespace("test")
    management.close()


@pytest.fixture
def channel(url: str) -> Iterator[amqp.Channel]:
    with Connection(url) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", auto_delete=False)
        channel.queue_declare("celery", auto_delete=False)
        yield channel


@pytest.fixture
def monitor(url: str) -> Iterator[Monitor]:
    monitor = Monitor(url)
    yield monitor
    monitor.close()


def ends_in_time(call: Callable[[], object], node: EmbeddedNode) -> None:
    """`call` against the stopped (SIGSTOP) broker."""
    assert node._process is not None
    pid = node._process.pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(InfraError, match="broker"):
            call()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert 1 < time.monotonic() - began < ENOUGH


@pytest.mark.usefixtures("channel")
def test_a_passive_declare(node: EmbeddedNode, monitor: Monitor) -> None:
    assert monitor.consumers(["celery", "absent"]) == {"celery": 0}
    ends_in_time(lambda: monitor.consumers(["celery"]), node)


@pytest.mark.usefixtures("channel")
def test_listening(node: EmbeddedNode, monitor: Monitor) -> None:
    ends_in_time(monitor.listen, node)


@pytest.mark.usefixtures("channel")
def test_publishing(node: EmbeddedNode, url: str) -> None:
    def send() -> None:
        publish(url, "celery", "shop.work", ["1"], args="[]", kwargs="{}", celery=None)

    send()
    ends_in_time(send, node)


def test_events_that_are_not_json_are_nobodys(monitor: Monitor, channel: amqp.Channel) -> None:
    assert monitor.listen()
    strange = (
        amqp.Message(b"\x80\x04}\x94.", content_type="application/x-python-serialize", content_encoding="binary"),
        amqp.Message(b"{", content_type="application/json", content_encoding="utf-8"),
        amqp.Message(b"\xff", content_type="application/json", content_encoding="no-such-encoding"),
        amqp.Message(b"?", content_type="application/x-nobody-knows", content_encoding="utf-8"),
        amqp.Message(b"[1, null]", content_type="application/json", content_encoding="utf-8"),
    )
    good = amqp.Message(b'{"type": "task-sent"}', content_type="application/json", content_encoding="utf-8")
    for message in (*strange, good):
        channel.basic_publish(message, EXCHANGE, "task")
    seen: list[object] = []

    def came() -> bool:
        seen.extend(monitor.drain(0.05))
        return bool(seen)

    assert Token().wait(came, 20)
    assert seen == [{"type": "task-sent"}]


def test_a_flood_of_events_does_not_keep_the_loop(monitor: Monitor, channel: amqp.Channel) -> None:
    assert monitor.listen()
    event = amqp.Message(b'{"type": "task-sent"}', content_type="application/json", content_encoding="utf-8")
    for _ in range(20_000):
        channel.basic_publish(event, EXCHANGE, "task")
    first: list[object] = []

    def came() -> bool:
        first.extend(monitor.drain(0.02))
        return bool(first)

    assert Token().wait(came, 20)
    count = len(first)
    assert count < 20_000  # a drain ends though more is waiting
    while count < 20_000:
        more = len(monitor.drain(5))
        assert more
        count += more
