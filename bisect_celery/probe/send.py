"""The harness as sender: puts a message on a queue itself, so that only the worker is under test (`--send harness`).

Celery itself makes the messages: protocol 2 kills a worker of 2.5, and 1 is understood by all before 3.1.25
(DESIGN 12).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.messaging import Producer

from bisect_celery.errors import InfraError
from bisect_celery.probe.redis_events import OPTIONS

FIRST_WITH_VERSION_2 = (3, 1, 25)
CONNECT_DEADLINE = 10.0
ANSWER_DEADLINE = 8.0


def protocol_of(celery: str | None) -> int:
    """The message protocol a worker of this Celery version understands best; unknown versions get today's."""
    numbers = tuple(int(part) for part in (celery or "").split(".")[:3] if part.isdigit())
    return 1 if numbers and numbers < FIRST_WITH_VERSION_2 else 2


def _message(protocol: int, task: str, id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """One task message as Celery itself would make it: headers, properties, body."""
    app = Celery("bisect-celery", set_as_current=False)
    return app.amqp.task_protocols[protocol](id, task, list(args), dict(kwargs))


def publish(
    url: str,
    queue: str,
    task: str,
    ids: Iterable[str],
    *,
    args: str,
    kwargs: str,
    celery: str | None,
    transport: Mapping[str, Any] | None = None,
) -> None:
    """Put one message an id on `queue` through the default exchange, and wait until the broker has them all.

    `args` and `kwargs` are JSON texts, `transport` those of the project's transport options that say what things are
    called. Declares nothing. Raises InfraError when the broker does not take them, or
    when kombu resolved another address than `url` (DESIGN 6).
    """
    options: dict[str, Any] = {
        "confirm_publish": True,
        "read_timeout": ANSWER_DEADLINE,
        "write_timeout": ANSWER_DEADLINE,
    }
    if urlsplit(url).scheme == "redis":
        options = {**OPTIONS, **(transport or {})}
    connection = Connection(url, connect_timeout=CONNECT_DEADLINE, transport_options=options)
    wanted = urlsplit(url)
    resolved = connection.info()
    if (resolved["hostname"], resolved["port"]) != (wanted.hostname, wanted.port):
        raise InfraError("The broker's address was changed by the environment of this program.")
    try:
        producer = Producer(connection.default_channel, serializer="json")
        for identity in ids:
            made = _message(protocol_of(celery), task, identity, json.loads(args), json.loads(kwargs))
            producer.publish(
                made.body, routing_key=queue, exchange="", headers=made.headers, delivery_mode=2, **made.properties
            )
        connection.release()
    except (OSError, *connection.connection_errors, *connection.channel_errors, OperationalError) as error:
        connection.collect()  # whoever does not answer is not asked for a goodbye
        raise InfraError(f"The broker did not take a probe: {type(error).__name__}.") from error
