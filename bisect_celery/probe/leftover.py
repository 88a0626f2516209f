"""Messages that a worker left unconsumed: taken out of a namespace of ours as they are, and put into another one.

The body is carried byte for byte and the properties value for value, whatever protocol or serializer they are of:
nothing here reads them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp

from bisect_celery.errors import InfraError
from bisect_celery.probe import redis_leftover

CONNECT_DEADLINE = 10.0
ANSWER_DEADLINE = 8.0
INDEX = "messages.json"
# AMQP's class of messages, whose properties these are.
_BASIC = 60


@dataclass(frozen=True)
class Left:
    """One message: the queue it waited in, and what it is made of; `properties` are AMQP's flags and list.

    On a Redis the queue is a list's whole name, and the body all there is.
    """

    queue: str
    properties: bytes
    body: bytes


def take(url: str, queues: Iterable[str]) -> tuple[Left, ...]:
    """Take every message out of the queues, in their order. Raises InfraError."""
    if urlsplit(url).scheme == "redis":
        return tuple(Left(one.key, b"", one.content) for one in redis_leftover.take(url, queues))
    with _channel(url) as channel:
        found = []
        for queue in queues:
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                found.append(Left(queue, message._serialize_properties(), bytes(message.body or b"")))
        return tuple(found)


def put(url: str, messages: Sequence[Left]) -> None:
    """Put each into the queue it was taken from, which must be there; the broker has them then. Raises InfraError."""
    if urlsplit(url).scheme == "redis":
        redis_leftover.put(url, [redis_leftover.Element(one.queue, one.body) for one in messages])
        return
    with _channel(url) as channel:
        for one in messages:
            message = amqp.Message(one.body)
            message._load_properties(_BASIC, one.properties, 0)
            channel.basic_publish_confirm(message, exchange="", routing_key=one.queue, mandatory=True)


@contextlib.contextmanager
def _channel(url: str) -> Iterator[Any]:
    """A channel of a connection to exactly this address: nothing of the environment has a say in it (DESIGN 6)."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port}",
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path.lstrip("/")),
        connect_timeout=CONNECT_DEADLINE,
        read_timeout=ANSWER_DEADLINE,
        write_timeout=ANSWER_DEADLINE,
        confirm_publish=True,
        heartbeat=0,
    )
    try:
        connection.connect()
        address = connection.sock.getpeername()[1]
        if address != parts.port:
            raise InfraError("The broker's address was changed by the environment of this program.")
        channel = connection.channel()
        channel.auto_decode = False
        yield channel
        connection.close()
    except (OSError, amqp.exceptions.AMQPError) as error:
        raise InfraError(f"The broker did not hand over what an older revision left: {error}.") from error
    finally:
        connection.collect()


# --- in a folder ---------------------------------------------------------------------------------------


def write(messages: Sequence[Left], folder: Path) -> None:
    """Keep them as files that nobody else may read; the index comes last."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number, one in enumerate(messages):
        for kind, content in (("properties", one.properties), ("body", one.body)):
            path = folder / f"{number:05}.{kind}"
            path.touch(mode=0o600)
            path.write_bytes(content)
    (folder / INDEX).write_text(json.dumps([one.queue for one in messages]))


def read(folder: Path) -> tuple[Left, ...]:
    """What `write` kept. Raises OSError, ValueError when it is not there or not whole."""
    queues = json.loads((folder / INDEX).read_text())
    return tuple(
        Left(queue, (folder / f"{number:05}.properties").read_bytes(), (folder / f"{number:05}.body").read_bytes())
        for number, queue in enumerate(queues)
    )
