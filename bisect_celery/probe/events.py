"""Watching a namespace from outside: Celery's own task events, and whether a consumer stands on a queue.

Published to nothing, declares nothing of the project's: the event queue is ours, exclusive, and bound to the
exchange that the worker itself declared.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import amqp
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer

from bisect_celery.errors import InfraError

QUEUE = "bisect-celery.events"
EXCHANGE = "celeryev"
CONNECT_DEADLINE = 10.0
_TROUBLE = (OSError, amqp.exceptions.AMQPError)


class Monitor:
    """One connection into one namespace. For one thread. Close it before the namespace is deleted."""

    def __init__(self, url: str) -> None:
        """Connect to `url`, asserting that what kombu resolved is what was asked for (DESIGN 6).

        Raises InfraError when the broker does not answer.
        """
        self._connection = Connection(url, connect_timeout=CONNECT_DEADLINE, heartbeat=0)
        wanted = urlsplit(url)
        resolved = self._connection.info()
        if (resolved["hostname"], resolved["port"]) != (wanted.hostname, wanted.port):
            raise InfraError("The broker's address was changed by the environment of this program.")
        try:
            self._connection.connect()
            self._channel = self._connection.default_channel
        except _TROUBLE as error:
            raise InfraError(f"The broker does not take our connection: {type(error).__name__}.") from error
        self._events: list[dict[str, Any]] = []
        self._listening = False

    def listen(self) -> bool:
        """Bind to the worker's event exchange once it is there; False while it is not."""
        if self._listening:
            return True
        channel = self._connection.channel()
        try:
            channel.exchange_declare(EXCHANGE, "topic", passive=True)
        except amqp.exceptions.ChannelError:
            return False
        queue = self._queue(channel)
        queue.consume()
        self._listening = True
        return True

    def _queue(self, channel: Any) -> Any:
        queue = Queue(QUEUE, exclusive=True, auto_delete=True, durable=False, channel=channel)
        queue.declare()
        queue.bind_to(EXCHANGE, routing_key="#")
        return Consumer(channel, [queue], callbacks=[self._take], no_ack=True, accept=["json"])

    def _take(self, body: Any, message: Any) -> None:
        # Task events come as a batch (a list) or alone, by the worker's version and routing.
        self._events.extend(body if isinstance(body, list) else [body])

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Events that arrived within `seconds`; returns as soon as some did. Raises InfraError if the broker went."""
        try:
            self._connection.drain_events(timeout=seconds)
            while True:
                self._connection.drain_events(timeout=0.0001)
        except TimeoutError:
            pass
        except socket.timeout:  # noqa: UP041 - an older kombu's own alias
            pass
        except _TROUBLE as error:
            raise InfraError(f"The broker closed our connection: {type(error).__name__}.") from error
        events, self._events = self._events, []
        return events

    def consumers(self, queues: Iterable[str]) -> dict[str, int]:
        """How many consumers stand on each queue, by passive declares (0–3 ms each). Absent queues are left out."""
        counts: dict[str, int] = {}
        for name in queues:
            channel = self._connection.channel()
            try:
                counts[name] = channel.queue_declare(name, passive=True).consumer_count
                channel.close()
            except amqp.exceptions.ChannelError:
                continue
            except _TROUBLE as error:
                raise InfraError(f"The broker closed our connection: {type(error).__name__}.") from error
        return counts

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.release()
