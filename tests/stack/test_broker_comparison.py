"""The same random history on RabbitMQ and on the embedded broker: the same deliveries and the same counts.

Every step is taken to rest before the next, so that RabbitMQ's own order is determined: which consumer is next in
turn, what is redelivered where. A client stays with one queue, since between queues RabbitMQ promises no order.
`BISECT_CELERY_COMPARISONS=100` compares that many histories.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import amqp
import pytest
from amqp import spec
from broker_support import Namespace, eventually, fresh_namespace

from bisect_celery.stack.brokers.node import BrokerNode

CLIENTS = 4
QUEUES = 2
STEPS = 60
# With a channel's limit, RabbitMQ's limiter and queue race for whether what is given back or the next is delivered.
RACE = "left out"
HISTORIES = int(os.environ.get("BISECT_CELERY_COMPARISONS", "4"))


@dataclass
class Client:
    """A connection with one channel, at most two consumers on its queue, and what it has been given."""

    connection: amqp.Connection
    queue: str
    limit: int = 0
    shared: int = 0
    volume: int = 0  # what RabbitMQ holds against `shared`
    consumers: dict[str, tuple[bool, int]] = field(default_factory=dict)  # tag: (no_ack, own limit)
    held: dict[int, tuple[str, str | None]] = field(default_factory=dict)  # delivery tag: (body, consumer)
    seen: list[tuple[str, str, int, bool]] = field(default_factory=list)
    settled: int = 0

    def __post_init__(self) -> None:
        self.channel = self.connection.channel()

    def take(self, message: amqp.Message) -> None:
        info = message.delivery_info
        tag, number = info["consumer_tag"], info["delivery_tag"]
        self.seen.append((tag, message.body, number, info["redelivered"]))
        if tag in self.consumers and self.consumers[tag][0]:
            self.settled += 1
        else:
            self.held[number] = (message.body, tag)
            self.volume += 1

    def give_up(self, tags: list[int]) -> None:
        """These are acknowledged, rejected or given back."""
        for tag in tags:
            if self.held.pop(tag)[1] is not None:
                self.volume = max(self.volume - 1, 0)

    def has_room(self) -> bool:
        """Whether any consumer here could take one more, as AMQP's client side knows it."""
        counted = [tag for _, tag in self.held.values() if tag is not None]
        if self.shared and self.volume >= self.shared:
            return False
        if any(no_ack for no_ack, _ in self.consumers.values()):
            return True
        return any(not limit or counted.count(tag) < limit for tag, (_, limit) in self.consumers.items())


class History:
    """One broker's run of a history. The random choices depend on the seed and on what was seen before only."""

    def __init__(self, namespace: Namespace, seed: int) -> None:
        self.namespace = namespace
        self.random = random.Random(seed)
        self.publisher = namespace.connect().channel()
        self.publisher.confirm_select()
        self.queues = [f"q{number}" for number in range(QUEUES)]
        for queue in self.queues:
            self.publisher.queue_declare(queue, auto_delete=False)
        self.published = dict.fromkeys(self.queues, 0)
        self.settled = dict.fromkeys(self.queues, 0)
        self.clients = [self._client(number) for number in range(CLIENTS)]
        self.trace: list[object] = []
        self.tags = 0

    def _client(self, number: int) -> Client:
        return Client(self.namespace.connect(), self.queues[number % QUEUES])

    def run(self, steps: int) -> list[object]:
        actions: list[tuple[int, Callable[[int, Client], object]]] = [
            (6, self.publish), (4, self.consume), (2, self.cancel), (2, self.qos), (6, self.settle), (3, self.get),
            (1, self.recover), (1, self.close_channel), (1, self.cut), (1, self.purge),
        ]  # fmt: skip
        for _ in range(steps):
            action = self.random.choices([action for _, action in actions], [weight for weight, _ in actions])[0]
            number = self.random.randrange(CLIENTS)
            said = action(number, self.clients[number])
            counts = self.rest()
            seen = [client.seen for client in self.clients]
            self.trace.append((action.__name__, number, said, counts, seen))
            for client in self.clients:
                client.seen = []
        return self.trace

    # --- steps

    def publish(self, number: int, client: Client) -> object:
        count = self.random.randint(1, 5)
        for _ in range(count):
            self.published[client.queue] += 1
            message = amqp.Message(f"{client.queue}-{self.published[client.queue]}")
            self.publisher.basic_publish_confirm(message, exchange="", routing_key=client.queue)
        return count

    def consume(self, number: int, client: Client) -> object:
        no_ack = self.random.random() < 0.15
        if len(client.consumers) == 2:
            return "has two"
        self.tags += 1
        tag = f"c{number}-{self.random.randrange(10)}-{self.tags}"
        client.consumers[tag] = (no_ack, client.limit)
        client.channel.basic_consume(client.queue, tag, no_ack=no_ack, callback=client.take)
        return tag, no_ack

    def cancel(self, number: int, client: Client) -> object:
        if not client.consumers:
            return "has none"
        tag = self.random.choice(sorted(client.consumers))
        client.channel.basic_cancel(tag)
        del client.consumers[tag]
        return tag

    def qos(self, number: int, client: Client) -> object:
        count, shared = self.random.randint(0, 4), self.random.random() < 0.3
        if shared:
            client.volume = client.volume if client.shared else len(client.held)
            client.shared = count
        else:
            client.limit, client.shared = count, 0
        client.channel.basic_qos(0, count, shared)
        return count, shared

    def settle(self, number: int, client: Client) -> object:
        if not client.held:
            return "holds none"
        tag = self.random.choice(sorted(client.held))
        multiple, how = self.random.random() < 0.3, self.random.choice(["ack", "ack", "drop", "back"])
        if how == "back" and client.shared:
            return RACE
        if how == "ack":
            client.channel.basic_ack(tag, multiple)
        else:
            client.channel.send_method(spec.Basic.Nack, "Lbb", (tag, multiple, how == "back"))
        gone = [each for each in client.held if each == tag or (multiple and each <= tag)]
        client.give_up(gone)
        if how != "back":
            self.settled[client.queue] += len(gone)
        return tag, multiple, how

    def get(self, number: int, client: Client) -> object:
        no_ack = self.random.random() < 0.3
        message = client.channel.basic_get(client.queue, no_ack=no_ack)
        if message is None:
            return None
        info = message.delivery_info
        if no_ack:
            self.settled[client.queue] += 1
        else:
            client.held[info["delivery_tag"]] = (message.body, None)
        return message.body, info["redelivered"], info["message_count"], info["delivery_tag"]

    def recover(self, number: int, client: Client) -> object:
        if client.shared:
            return RACE
        client.give_up(list(client.held))
        client.channel.basic_recover(requeue=True)
        return None

    def close_channel(self, number: int, client: Client) -> object:
        connection = client.connection
        client.channel.close()
        self._forget(client)
        self.clients[number] = Client(connection, client.queue)
        return None

    def cut(self, number: int, client: Client) -> object:
        client.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        client.connection.collect()
        self._forget(client)
        self.clients[number] = self._client(number)
        return None

    def _forget(self, client: Client) -> None:
        self.settled[client.queue] += client.settled

    def purge(self, number: int, client: Client) -> object:
        count = self.publisher.queue_purge(client.queue)
        self.settled[client.queue] += count
        return count

    # --- rest

    def rest(self) -> list[tuple[int, int]]:
        """Until nothing moves any more: every message is accounted for and nobody could be given another."""
        eventually(self._at_rest, deadline=30)
        return self._counts()

    def _counts(self) -> list[tuple[int, int]]:
        return [(each.ready, each.unacked) for each in self.namespace.management.queues(self.namespace.vhost)]

    def _at_rest(self) -> bool:
        for client in self.clients:
            try:
                while True:
                    client.connection.drain_events(timeout=0.002)
            except TimeoutError:
                pass
        for queue, (ready, unacked) in zip(self.queues, self._counts(), strict=True):
            clients = [client for client in self.clients if client.queue == queue]
            settled = self.settled[queue] + sum(client.settled for client in clients)
            if ready + unacked + settled != self.published[queue]:
                return False
            if unacked != sum(len(client.held) for client in clients):
                return False
            if ready and any(client.has_room() for client in clients):
                return False
        return True


@pytest.mark.rabbitmq
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_the_same_history_on_both(embedded_node: BrokerNode, rabbit_node: BrokerNode, seed: int) -> None:
    traces = []
    for node in (embedded_node, rabbit_node):
        namespaces = fresh_namespace(node)
        traces.append(History(next(namespaces), seed).run(STEPS))
        next(namespaces, None)
    for step, (ours, theirs) in enumerate(zip(*traces, strict=True)):
        assert ours == theirs, f"seed {seed}, step {step}"
