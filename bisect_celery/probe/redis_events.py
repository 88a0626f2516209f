"""Watching a Redis that is a trial's broker: Celery's own task events, and who listens there.

Events are published, and are heard by whoever listens at that moment: so we listen from before the worker starts. The
channel's name begins as the project's transport options say (`/0.celeryev/task.received`, with a prefix of its own or
without the database), so we take every channel with the exchange's name in it. The server is the trial's alone.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.serialization import loads

from bisect_celery.errors import InfraError
from bisect_celery.probe.events import ANSWER_DEADLINE, CONNECT_DEADLINE, EXCHANGE

# By which other clients are told from ours.
NAME = "bisect-celery"
OPTIONS = {"socket_timeout": ANSWER_DEADLINE, "socket_connect_timeout": CONNECT_DEADLINE, "client_name": NAME}


@contextlib.contextmanager
def redis_channel(url: str) -> Iterator[tuple[Connection, Any]]:
    """A connection to exactly this address, and a channel of it, whose `client` is a client of Redis (DESIGN 6).

    Raises InfraError when it does not answer, whenever that is.
    """
    connection = Connection(url, transport_options=dict(OPTIONS))
    wanted, resolved = urlsplit(url), connection.info()
    if (resolved["hostname"], resolved["port"]) != (wanted.hostname, wanted.port):
        raise InfraError("The broker's address was changed by the environment of this program.")
    try:
        yield connection, connection.default_channel
    except (OSError, OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
        raise InfraError(f"The trial's Redis does not answer: {type(error).__name__}.") from error
    finally:
        with contextlib.suppress(Exception):
            connection.release()


class RedisMonitor:
    """`probe.eyes.Eyes` on a Redis: listens from its making on. For one thread."""

    def __init__(self, url: str) -> None:
        """Raises InfraError when Redis does not answer, or when kombu resolved another address than `url`."""
        self._open = contextlib.ExitStack()
        _, channel = self._open.enter_context(redis_channel(url))
        self._client = channel.client
        self._trouble = (OSError, *channel.connection_errors)
        with self._answered():
            self._heard = self._client.pubsub(ignore_subscribe_messages=True)
            self._subscribe(EXCHANGE)

    def _subscribe(self, exchange: str) -> None:
        self._heard.psubscribe(f"*{exchange}*")
        self._heard.get_message(timeout=ANSWER_DEADLINE)  # its word that it will tell: from now on nothing is missed
        self._exchange = exchange

    def listen(self, exchange: str) -> bool:
        """Known before a worker starts."""
        if exchange != self._exchange:
            with self._answered():
                self._subscribe(exchange)
        return True

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        end = time.monotonic() + seconds
        with self._answered():
            found = self._heard.get_message(timeout=seconds)
            while found is not None:
                events += _events_in(found.get("data"))
                found = self._heard.get_message(timeout=0) if time.monotonic() < end else None
        return events

    def consumers(self, queues: Iterable[str]) -> dict[str, int] | None:
        """None: Redis does not know which lists its clients wait for."""
        return None

    def listeners(self) -> int:
        """How many clients, but for us, listen to what is published by a pattern, as workers do for questions."""
        with self._answered():
            clients = self._client.client_list()
        return sum(client.get("name") != NAME and client.get("psub", "0") != "0" for client in clients)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._heard.close()
        with contextlib.suppress(Exception):
            self._open.close()

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except self._trouble as error:
            raise InfraError(f"The trial's Redis does not answer: {type(error).__name__}.") from error


def _events_in(data: object) -> list[dict[str, Any]]:
    """The events in one message as kombu wraps it; what is not JSON is another program's, and no trouble of ours."""
    try:
        message = json.loads(data)  # type: ignore[arg-type]
        body = message["body"]
        if message["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        told = loads(body, message.get("content-type"), message.get("content-encoding"), accept={"application/json"})
    except Exception:
        return []
    # They come as a batch (a list) or alone, by the worker's version and routing.
    return [event for event in (told if isinstance(told, list) else [told]) if isinstance(event, dict)]
