"""Watching a namespace from outside: Celery's own task events, and whether a consumer stands on a queue.

Published to nothing, declares nothing of the project's: the event queue is ours, exclusive, and bound to the
exchange that the worker itself declared.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
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
ANSWER_DEADLINE = 8.0
_TROUBLE = (OSError, amqp.exceptions.AMQPError)


class Monitor:
    """`probe.eyes.Eyes` over AMQP."""

    def __init__(self, url: str) -> None:
        """Connect to `url`, asserting that what kombu resolved is what was asked for (DESIGN 6).

        Raises InfraError when the broker does not answer.
        """
        self._connection = Connection(
            url,
            connect_timeout=CONNECT_DEADLINE,
            heartbeat=0,
            transport_options={"read_timeout": ANSWER_DEADLINE, "write_timeout": ANSWER_DEADLINE},
        )
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

    def listen(self, exchange: str = EXCHANGE) -> bool:
        """Bind to the worker's event exchange once it is there; False while it is not. Raises InfraError."""
        if self._listening:
            return True
        with self._answered():
            channel = self._connection.channel()
            try:
                channel.exchange_declare(exchange, "topic", passive=True)
            except amqp.exceptions.ChannelError:
                return False
            queue = self._queue(channel, exchange)
            queue.consume()
        self._listening = True
        return True

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """Raises InfraError when the broker closes the connection or does not answer in time."""
        try:
            yield
        except _TROUBLE as error:
            self._connection.collect()  # not to be asked for a goodbye
            what = "does not answer" if isinstance(error, TimeoutError) else "closed our connection"
            raise InfraError(f"The broker {what}: {type(error).__name__}.") from error

    def _queue(self, channel: Any, exchange: str) -> Any:
        queue = Queue(QUEUE, exclusive=True, auto_delete=True, durable=False, channel=channel)
        queue.declare()
        queue.bind_to(exchange, routing_key="#")
        # What is not JSON is another program's: no event of a worker's, and no trouble of ours.
        ignore = lambda message, error: None  # noqa: E731
        options: dict[str, Any] = {"no_ack": True, "accept": ["json"], "on_decode_error": ignore}
        return Consumer(channel, [queue], callbacks=[self._take], **options)

    def _take(self, body: Any, message: Any) -> None:
        # Task events come as a batch (a list) or alone, by the worker's version and routing.
        batch = body if isinstance(body, list) else [body]
        self._events.extend(event for event in batch if isinstance(event, dict))

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Events that arrived within `seconds`; returns as soon as no more do. Raises InfraError if the broker went."""
        end = time.monotonic() + seconds
        with self._answered(), contextlib.suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)
            while time.monotonic() < end:
                self._connection.drain_events(timeout=0.0001)
        events, self._events = self._events, []
        return events

    def consumers(self, queues: Iterable[str]) -> dict[str, int]:
        """How many consumers stand on each queue, by passive declares (0–3 ms each). Absent queues are left out.

        Raises InfraError when the broker went, or does not answer.
        """
        counts: dict[str, int] = {}
        for name in queues:
            with self._answered(), contextlib.suppress(amqp.exceptions.ChannelError):
                channel = self._connection.channel()
                counts[name] = channel.queue_declare(name, passive=True).consumer_count
                channel.close()
        return counts

    def listeners(self) -> int:
        """Nobody's: questions wait in queues, which tell."""
        return 0

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.release()
