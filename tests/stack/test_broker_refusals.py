"""The embedded broker says what it does not emulate, and holds back what would fill the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest
from amqp.exceptions import AMQPNotImplementedError
from broker_support import Namespace, eventually, fresh_namespace

from bisect_celery.lab.cancel import Token
from bisect_celery.stack.brokers.embedded import queues
from bisect_celery.stack.brokers.node import EmbeddedNode

REFUSED: dict[str, Callable[[amqp.Channel], object]] = {
    "x-max-priority": lambda channel: channel.queue_declare("q", arguments={"x-max-priority": 5}),
    "'quorum'": lambda channel: channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"}),
    "'stream'": lambda channel: channel.queue_declare("q", durable=True, arguments={"x-queue-type": "stream"}),
    "x-dead-letter-exchange": lambda channel: channel.queue_declare("q", arguments={"x-dead-letter-exchange": ""}),
    "x-max-length": lambda channel: channel.queue_declare("q", arguments={"x-max-length": 5}),
    "x-single-active": lambda channel: channel.queue_declare("q", arguments={"x-single-active-consumer": True}),
    "'x-delayed-message'": lambda channel: channel.exchange_declare("x", "x-delayed-message"),
    "'headers'": lambda channel: channel.exchange_declare("x", "headers"),
    "alternate": lambda channel: channel.exchange_declare("x", "direct", arguments={"alternate-exchange": "y"}),
    "x-priority": lambda channel: channel.basic_consume("", arguments={"x-priority": 5}),
    "reply-to": lambda channel: channel.basic_consume("amq.rabbitmq.reply-to", no_ack=True),
    "transactions": lambda channel: channel.tx_select(),
}  # fmt: skip


@pytest.mark.parametrize("feature", REFUSED)
def test_what_is_not_emulated_is_named(embedded_namespace: Namespace, feature: str) -> None:
    channel = embedded_namespace.connect().channel()
    channel.queue_declare()
    with pytest.raises(AMQPNotImplementedError, match="embedded broker does not emulate") as refusal:
        REFUSED[feature](channel)
    assert feature in refusal.value.reply_text
    assert "--broker rabbitmq" in refusal.value.reply_text
    assert refusal.value.reply_text in Path(embedded_namespace.node.log).read_text()


def test_copies_are_refused(embedded_namespace: Namespace) -> None:
    channel = embedded_namespace.connect().channel()
    channel.queue_declare("q")
    channel.basic_publish(amqp.Message("a", application_headers={"CC": ["other"]}), "", "q")
    with pytest.raises(AMQPNotImplementedError, match="CC and BCC"):
        channel.connection.drain_events(timeout=10)


def test_long_names_do_not_break_the_refusal(embedded_namespace: Namespace) -> None:
    name = "\u00e4" * 127
    with pytest.raises(AMQPNotImplementedError, match="does not emulate priority queues"):
        embedded_namespace.connect().channel().queue_declare(name, arguments={"x-max-priority": 5})


def test_names_that_pamqp_would_not_take(embedded_namespace: Namespace) -> None:
    channel = embedded_namespace.connect().channel()
    name = "gr\u00f6\u00dfer {*} & co"
    assert channel.queue_declare(name, auto_delete=False).queue == name
    channel.exchange_declare(name, "direct", auto_delete=False)
    channel.queue_bind(name, name, name)
    channel.confirm_select()
    channel.basic_publish_confirm(amqp.Message("a"), exchange=name, routing_key=name)
    assert channel.basic_get(name).delivery_info["exchange"] == name


def test_a_consumer_that_does_not_read_keeps_its_queue_full(embedded_namespace: Namespace) -> None:
    channel = embedded_namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    for _ in range(400):
        channel.basic_publish(amqp.Message(b"x" * 100_000), "", "q")
    embedded_namespace.settles_at("q", 400, 0)
    reader = embedded_namespace.connect().channel()
    count = 0

    def took(message: amqp.Message) -> None:
        nonlocal count
        count += 1

    reader.basic_consume("q", callback=took)
    eventually(lambda: embedded_namespace.counts("q") != (400, 0))
    ready, unacked = embedded_namespace.counts("q") or (0, 0)
    assert ready + unacked == 400
    assert ready >= 100  # nothing read yet: what the socket does not take stays in the queue

    while count < 400:
        reader.connection.drain_events(timeout=10)
    assert embedded_namespace.counts("q") == (0, 400)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Namespace]:
    node = EmbeddedNode(tmp_path / "small", memory_limit=1 << 20)
    node.start(Token())
    yield from fresh_namespace(node)
    node.stop()


def test_publishers_wait_while_too_much_is_held(small: Namespace) -> None:
    publisher = small.connect().channel()
    publisher.queue_declare("q", auto_delete=False)
    total, size = 400, 50_000

    def publish() -> None:
        for _ in range(total):
            publisher.basic_publish(amqp.Message(b"x" * size), "", "q")

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    eventually(lambda: not small.management.healthy())
    assert small.counts("q")[0] < total / 2  # type: ignore[index]
    consumer = small.connect().channel()
    count = 0

    def took(message: amqp.Message) -> None:
        nonlocal count
        count += 1

    consumer.basic_consume("q", no_ack=True, callback=took)

    while count < total:
        consumer.connection.drain_events(timeout=10)
    thread.join(10)
    assert not thread.is_alive()
    eventually(small.management.healthy)


def test_the_alarm_counts_bytes_once_per_queue() -> None:
    clock = queues.Clock()
    queue = queues.Queue("q", clock)
    queue.push(queues.Content("", "q", b"\0\0", b"x" * 1000))
    assert clock.bytes_held >= 1000
    queue.purge()
    assert clock.bytes_held == 0
