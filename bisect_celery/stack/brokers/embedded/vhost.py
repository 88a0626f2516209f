"""A virtual host: its exchanges and queues, and who may touch which. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from bisect_celery.stack.brokers.embedded import arguments as args
from bisect_celery.stack.brokers.embedded.faults import (
    ConnectionFault,
    access_refused,
    locked,
    not_emulated,
    not_found,
    precondition_failed,
)
from bisect_celery.stack.brokers.embedded.queues import Clock, Queue
from bisect_celery.stack.brokers.embedded.routing import EMULATED_TYPES, PREDECLARED, Binding, Destination, Exchange

_RABBITMQ_TYPES = (
    "headers",
    "x-delayed-message",
    "x-consistent-hash",
    "x-modulus-hash",
    "x-random",
    "x-recent-history",
)


class VirtualHost:
    """Exchanges and queues by name. `session` arguments are who asks: exclusive queues know their owner."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.exchanges = {exchange: Exchange(exchange, type) for exchange, type in PREDECLARED.items()}
        self._clock = clock

    # --- finding

    def queue(self, name: str, session: object) -> Queue:
        """The queue, or 404, or 405 when it is exclusive to another session."""
        queue = self.queues.get(name)
        if queue is None:
            raise not_found(f"no queue '{name}' in vhost '{self.name}'")
        if queue.owner is not None and queue.owner is not session:
            raise self._locked(name)
        return queue

    def exchange(self, name: str) -> Exchange:
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found(f"no exchange '{name}' in vhost '{self.name}'")
        return exchange

    def place(self, kind: str, name: str) -> str:
        """How RabbitMQ names a resource in its errors."""
        return f"{kind} '{name}' in vhost '{self.name}'"

    def _locked(self, name: str) -> Exception:
        return locked(
            f"cannot obtain exclusive access to locked {self.place('queue', name)}. It could be originally declared"
            " on another connection or the exclusive property value does not match that of the original declaration."
        )

    # --- queues

    def declare_queue(
        self,
        name: str,
        session: object,
        *,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, object],
    ) -> Queue:
        """The queue of that name and kind, made if need be; 406 when there is one of another kind."""
        owner = session if exclusive else None
        if name and name in self.queues:
            queue = self.queues[name]
            self._check_same_queue(queue, owner, durable, auto_delete, arguments)
            queue.touch()
            return queue
        if name.startswith("amq."):
            raise access_refused(f"queue name '{name}' contains reserved prefix 'amq.*'")
        name = name or f"amq.gen-{secrets.token_urlsafe(16)}"
        args.check_queue(name, self.place("queue", name), arguments)
        queue = Queue(
            name, self._clock, durable=durable, auto_delete=auto_delete, owner=owner, arguments=arguments
        )  # fmt: skip
        self.queues[name] = queue
        return queue

    def _check_same_queue(
        self, queue: Queue, owner: object | None, durable: bool, auto_delete: bool, arguments: Mapping[str, object]
    ) -> None:
        place = self.place("queue", queue.name)
        args.check_queue(queue.name, place, arguments)
        if queue.owner is not owner:
            raise self._locked(queue.name)
        args.check_field("durable", place, durable, queue.durable)
        args.check_field("auto_delete", place, auto_delete, queue.auto_delete)
        args.check_queue_equivalent(place, arguments, queue.arguments)

    def delete_queue(self, queue: Queue) -> int:
        """Take a queue out with everything in it and bound to it; how many messages were ready."""
        count = queue.ready_count()
        self.queues.pop(queue.name, None)
        self._forget_bindings_to(Destination("queue", queue.name))
        queue.mark_deleted()
        return count

    # --- exchanges

    def declare_exchange(
        self,
        name: str,
        type: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, object],
    ) -> None:
        """Make the exchange if need be; 406 when there is one of another kind."""
        self._check_type(name, type)
        self._refuse_default(name)
        args.check_exchange(name, arguments)
        if name in self.exchanges:
            self._check_same_exchange(self.exchanges[name], type, durable, auto_delete, internal)
            return
        if name.startswith("amq."):
            raise access_refused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
        self.exchanges[name] = Exchange(name, type, durable, auto_delete, internal)

    def _check_type(self, name: str, type: str) -> None:
        if type in _RABBITMQ_TYPES:
            raise not_emulated(f"exchanges of type '{type}', which exchange '{name}' asks for")
        if type not in EMULATED_TYPES:
            raise ConnectionFault(503, f"unknown exchange type '{type}'")

    def _check_same_exchange(
        self, exchange: Exchange, type: str, durable: bool, auto_delete: bool, internal: bool
    ) -> None:
        place = self.place("exchange", exchange.name)
        args.check_field("type", place, type, exchange.type)
        args.check_field("durable", place, durable, exchange.durable)
        args.check_field("auto_delete", place, auto_delete, exchange.auto_delete)
        args.check_field("internal", place, internal, exchange.internal)

    def _refuse_default(self, name: str) -> None:
        if name == "":
            raise access_refused("operation not permitted on the default exchange")

    def delete_exchange(self, name: str, if_unused: bool) -> None:
        """Take an exchange out; nothing when there is none, as RabbitMQ does."""
        self._refuse_default(name)
        if name.startswith("amq."):
            raise access_refused(f"deletion of system {self.place('exchange', name)} not allowed")
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings:
            raise precondition_failed(f"{self.place('exchange', name)} in use")
        self._drop_exchange(exchange)

    def _drop_exchange(self, exchange: Exchange) -> None:
        self.exchanges.pop(exchange.name, None)
        self._forget_bindings_to(Destination("exchange", exchange.name))

    # --- bindings

    def bind(self, source: str, destination: Destination, routing_key: str, arguments: Mapping[str, object]) -> None:
        """Bind a destination whose existence the caller has checked."""
        self._refuse_default(source)
        self.exchange(source).bindings[Binding.of(destination, routing_key, arguments)] = None

    def unbind(self, source: str, destination: Destination, routing_key: str, arguments: Mapping[str, object]) -> None:
        """Undo a binding; nothing when there is none, as RabbitMQ does."""
        self._refuse_default(source)
        exchange = self.exchange(source)
        if exchange.bindings.pop(Binding.of(destination, routing_key, arguments), _ABSENT) is None:
            self._drop_if_abandoned(exchange)

    def _forget_bindings_to(self, destination: Destination) -> None:
        for exchange in list(self.exchanges.values()):
            gone = [binding for binding in exchange.bindings if binding.destination == destination]
            for binding in gone:
                del exchange.bindings[binding]
            if gone:
                self._drop_if_abandoned(exchange)

    def _drop_if_abandoned(self, exchange: Exchange) -> None:
        if exchange.auto_delete and not exchange.bindings:
            self._drop_exchange(exchange)

    def route(self, exchange: Exchange, routing_key: str) -> list[Queue]:
        """The queues a message goes to, each once, through bindings between exchanges as well."""
        if exchange.name == "":
            direct = self.queues.get(routing_key)
            return [] if direct is None else [direct]
        found: dict[str, Queue] = {}
        seen, todo = {exchange.name}, [exchange]
        while todo:
            for kind, name in todo.pop().matching(routing_key):
                if kind == "queue":
                    found[name] = self.queues[name]
                elif name not in seen:
                    seen.add(name)
                    todo.append(self.exchanges[name])
        return list(found.values())


_ABSENT = object()
