"""A channel: consuming, acknowledging, publishing, with RabbitMQ's reading of prefetch. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bisect_celery.stack.brokers.embedded import arguments as args
from bisect_celery.stack.brokers.embedded.events import Cancelled, Confirmed, Deliver, Returned
from bisect_celery.stack.brokers.embedded.faults import (
    ConnectionFault,
    access_refused,
    not_emulated,
    not_found,
    precondition_failed,
)
from bisect_celery.stack.brokers.embedded.queues import Content, Entry, Queue
from bisect_celery.stack.brokers.embedded.routing import Destination

if TYPE_CHECKING:
    from bisect_celery.stack.brokers.embedded.session import Session


@dataclass(eq=False, slots=True)
class Consumer:
    """A subscription. `limit` is its own prefetch (0: none), `outstanding` how many it has not acknowledged."""

    tag: str
    channel: Channel
    queue: Queue
    no_ack: bool
    limit: int
    outstanding: int = 0

    def has_room(self) -> bool:
        """The channel's limit holds back consumers that need not acknowledge as well, as in RabbitMQ."""
        if self.limit and not self.no_ack and self.outstanding >= self.limit:
            return False
        return self.channel.has_credit() and self.channel.session.has_room()

    def take(self, entry: Entry) -> None:
        self.channel.deliver(self, entry)

    def queue_gone(self) -> None:
        self.channel.forget(self)


class Delivery(NamedTuple):
    """A message handed out and not acknowledged yet; `consumer` is None when it was fetched by basic.get."""

    queue: Queue
    entry: Entry
    consumer: Consumer | None


class Got(NamedTuple):
    """What basic.get found; `remaining` messages are still ready."""

    delivery_tag: int
    redelivered: bool
    content: Content
    remaining: int


class Channel:
    """One channel of a session. Its methods are AMQP's; they raise `Fault` and emit events to the session."""

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self.vhost = session.vhost
        self.consumers: dict[str, Consumer] = {}
        self.unacked: dict[int, Delivery] = {}
        self._last_queue = ""
        self._delivery_tag = 0
        self._consumer_limit = 0
        self._channel_limit = 0
        self._volume = 0
        self._confirming = False
        self._published = 0

    # --- topology

    def named(self, name: str) -> str:
        """The queue meant: an empty name is the one declared last on this channel."""
        if name == "" and self._last_queue == "":
            raise not_found("no previously declared queue")
        return name or self._last_queue

    def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, object] | None = None,
    ) -> Queue:
        if passive:
            queue = self.vhost.queue(self.named(name), self.session)
            queue.touch()
        else:
            queue = self.vhost.declare_queue(
                name, self.session, durable=durable, exclusive=exclusive, auto_delete=auto_delete,
                arguments=arguments or {},
            )  # fmt: skip
        self._last_queue = queue.name
        return queue

    def bind_queue(self, name: str, exchange: str, routing_key: str, arguments: Mapping[str, object]) -> None:
        destination, key = self._bound(name, routing_key)
        self.vhost.bind(exchange, destination, key, arguments)

    def unbind_queue(self, name: str, exchange: str, routing_key: str, arguments: Mapping[str, object]) -> None:
        destination, key = self._bound(name, routing_key)
        self.vhost.unbind(exchange, destination, key, arguments)

    def _bound(self, name: str, routing_key: str) -> tuple[Destination, str]:
        queue = self.vhost.queue(self.named(name), self.session)
        return Destination("queue", queue.name), queue.name if name == routing_key == "" else routing_key

    def purge_queue(self, name: str) -> int:
        return self.vhost.queue(self.named(name), self.session).purge()

    def delete_queue(self, name: str, if_unused: bool = False, if_empty: bool = False) -> int:
        """How many ready messages went with it; 0 when there is no such queue, as RabbitMQ does."""
        name = self.named(name)
        if name not in self.vhost.queues:
            return 0
        queue = self.vhost.queue(name, self.session)
        if if_unused and queue.consumers:
            raise precondition_failed(f"{self.vhost.place('queue', name)} in use")
        if if_empty and queue.ready_count():
            raise precondition_failed(f"{self.vhost.place('queue', name)} is not empty")
        return self.vhost.delete_queue(queue)

    def bind_exchange(self, destination: str, source: str, routing_key: str, arguments: Mapping[str, object]) -> None:
        self.vhost.exchange(destination)
        self.vhost.bind(source, Destination("exchange", destination), routing_key, arguments)

    def unbind_exchange(self, destination: str, source: str, routing_key: str, arguments: Mapping[str, object]) -> None:
        self.vhost.exchange(destination)
        self.vhost.unbind(source, Destination("exchange", destination), routing_key, arguments)

    # --- publishing

    def select_confirms(self) -> None:
        self._confirming = True

    def publish(self, content: Content, mandatory: bool = False) -> None:
        exchange = self.vhost.exchange(content.exchange)
        if exchange.internal:
            raise access_refused(f"cannot publish to internal {self.vhost.place('exchange', exchange.name)}")
        queues = self.vhost.route(exchange, content.routing_key)
        if mandatory and not queues:
            self.session.emit(self.number, Returned(content))
        for queue in queues:
            queue.push(content)
        if self._confirming:
            self._published += 1
            self.session.emit(self.number, Confirmed(self._published))

    # --- consuming

    def qos(self, count: int, shared: bool) -> None:
        """RabbitMQ's reading: `shared` (AMQP's global) limits the channel, else each consumer made from now on.

        What RabbitMQ documents less: the latter also lifts the channel's limit.
        """
        if not shared:
            self._consumer_limit = count
        elif not self._channel_limit:
            self._volume = len(self.unacked)  # RabbitMQ counts what was got here too, though never later
        self._channel_limit = count if shared else 0
        self._deliver_on(consumer.queue for consumer in self.consumers.values())

    def consume(
        self,
        name: str,
        tag: str = "",
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, object] | None = None,
    ) -> Consumer:
        """Subscribe. Deliveries are events, which the connection sends after this method's answer."""
        name = self.named(name)
        if name == "amq.rabbitmq.reply-to":
            raise not_emulated("direct reply-to (amq.rabbitmq.reply-to)")
        queue = self.vhost.queue(name, self.session)
        if tag in self.consumers:
            raise ConnectionFault(530, f"attempt to reuse consumer tag '{tag}'")
        args.check_consumer(name, arguments or {})
        if queue.exclusive_consumer or (exclusive and queue.consumers):
            raise access_refused(f"{self.vhost.place('queue', name)} in exclusive use")
        tag = tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
        consumer = Consumer(tag, self, queue, no_ack, self._consumer_limit)
        self.consumers[tag] = consumer
        queue.exclusive_consumer = exclusive
        queue.add_consumer(consumer)
        return consumer

    def cancel(self, tag: str) -> None:
        """End a subscription; what it has not acknowledged stays with the channel."""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            self._leave(consumer)

    def _leave(self, consumer: Consumer) -> None:
        queue = consumer.queue
        queue.remove_consumer(consumer)
        if queue.abandoned():
            self.vhost.delete_queue(queue)

    def forget(self, consumer: Consumer) -> None:
        """The consumer's queue is gone."""
        if self.consumers.pop(consumer.tag, None) is not None and self.session.cancel_notify:
            self.session.emit(self.number, Cancelled(consumer.tag))

    def has_credit(self) -> bool:
        return not self._channel_limit or self._volume < self._channel_limit

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        if consumer.no_ack:
            self._delivery_tag += 1
        else:
            self._hold(Delivery(consumer.queue, entry, consumer))
            consumer.outstanding += 1
            self._volume += 1
        event = Deliver(consumer.tag, self._delivery_tag, entry.redelivered, entry.content)
        self.session.emit(self.number, event)

    def get(self, name: str, no_ack: bool) -> Got | None:
        queue = self.vhost.queue(self.named(name), self.session)
        queue.touch()
        if not queue.ready_count():
            return None
        entry = queue.fetch()
        if no_ack:
            self._delivery_tag += 1
        else:
            self._hold(Delivery(queue, entry, None))
        return Got(self._delivery_tag, entry.redelivered, entry.content, queue.ready_count())

    def _hold(self, delivery: Delivery) -> None:
        self._delivery_tag += 1
        self.unacked[self._delivery_tag] = delivery
        delivery.queue.hold(delivery.entry)

    # --- acknowledging

    def ack(self, tag: int, multiple: bool = False) -> None:
        self._release(self._taken(tag, multiple), requeue=False)

    def reject(self, tag: int, multiple: bool = False, requeue: bool = True) -> None:
        """basic.reject and basic.nack."""
        self._release(self._taken(tag, multiple), requeue)

    def recover(self, requeue: bool) -> None:
        if not requeue:
            raise ConnectionFault(540, "requeue=false")
        self._release(self._taken(0, True), requeue=True)

    def _taken(self, tag: int, multiple: bool) -> list[Delivery]:
        if multiple and tag == 0:
            tags = list(self.unacked)
        elif tag not in self.unacked:
            raise precondition_failed(f"unknown delivery tag {tag}")
        else:
            tags = [each for each in self.unacked if each <= tag] if multiple else [tag]
        return [self.unacked.pop(each) for each in tags]

    def _release(self, deliveries: list[Delivery], requeue: bool) -> None:
        """Queue by queue and consumer by consumer, each delivering on before the next, as RabbitMQ does it."""
        groups: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in deliveries:
            tag = delivery.consumer.tag if delivery.consumer is not None else ""
            groups.setdefault((delivery.queue.name, tag), []).append(delivery)
        for _, group in sorted(groups.items()):
            self._settle(group, requeue)
        consumed = sum(1 for delivery in deliveries if delivery.consumer is not None)
        self._volume = max(self._volume - consumed, 0)
        if self._channel_limit:  # room on the channel is room for all its consumers
            self._deliver_on(consumer.queue for consumer in self.consumers.values())

    def _settle(self, deliveries: list[Delivery], requeue: bool) -> None:
        for queue, entry, consumer in deliveries:
            if requeue:
                queue.requeue(entry)
            else:
                queue.settle(entry)
            if consumer is not None:
                consumer.outstanding -= 1
        self._deliver_on(delivery.queue for delivery in deliveries)

    def _deliver_on(self, queues: Iterable[Queue]) -> None:
        for queue in dict.fromkeys(queues):
            queue.drop_expired()
            queue.deliver()

    # --- the end

    def close(self) -> None:
        """Everything not acknowledged is back in its queue at once, and to be had by others."""
        self.session.channels.pop(self.number, None)
        consumers = list(self.consumers.values())
        self.consumers.clear()
        for consumer in consumers:
            consumer.queue.remove_consumer(consumer)
        self._settle(self._taken(0, True), requeue=True)
        for queue in dict.fromkeys(consumer.queue for consumer in consumers):
            if queue.abandoned() and not queue.deleted:
                self.vhost.delete_queue(queue)
