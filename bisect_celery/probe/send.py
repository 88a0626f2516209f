"""The harness as sender: puts a message on a queue itself, so that only the worker is under test (`--send harness`).

The message formats are those of Celery's own protocol pages ("Message Protocol", versions 1 and 2): version 2 kills
Celery 2.5, version 1 is understood by every worker before 3.1.25 (DESIGN 12).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import amqp
from kombu.connection import Connection
from kombu.messaging import Producer

from bisect_celery.errors import InfraError

FIRST_WITH_VERSION_2 = (3, 1, 25)
CONNECT_DEADLINE = 10.0


def protocol_of(celery: str | None) -> int:
    """The message protocol a worker of this Celery version understands best; unknown versions get today's."""
    numbers = tuple(int(part) for part in (celery or "").split(".")[:3] if part.isdigit())
    return 1 if numbers and numbers < FIRST_WITH_VERSION_2 else 2


def message(
    protocol: int, task: str, id: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """(body, headers) of one task message."""
    if protocol == 1:
        return {"task": task, "id": id, "args": list(args), "kwargs": dict(kwargs), "retries": 0}, {}
    headers = {
        "lang": "py",
        "task": task,
        "id": id,
        "root_id": id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "argsrepr": "…",
        "kwargsrepr": "…",
        "origin": "bisect-celery",
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return [list(args), dict(kwargs), embed], headers


def publish(url: str, queue: str, task: str, ids: Iterable[str], *, args: str, kwargs: str, celery: str | None) -> None:
    """Put one message an id on `queue` through the default exchange, and wait until the broker has them all.

    `args` and `kwargs` are JSON texts. Declares nothing. Raises InfraError when the broker does not take them, or
    when kombu resolved another address than `url` (DESIGN 6).
    """
    connection = Connection(url, connect_timeout=CONNECT_DEADLINE, transport_options={"confirm_publish": True})
    wanted = urlsplit(url)
    resolved = connection.info()
    if (resolved["hostname"], resolved["port"]) != (wanted.hostname, wanted.port):
        raise InfraError("The broker's address was changed by the environment of this program.")
    try:
        with connection:
            producer = Producer(connection.default_channel, serializer="json")
            for identity in ids:
                body, headers = message(protocol_of(celery), task, identity, json.loads(args), json.loads(kwargs))
                producer.publish(
                    body, routing_key=queue, exchange="", headers=headers, correlation_id=identity, delivery_mode=2
                )
    except (OSError, amqp.exceptions.AMQPError) as error:
        raise InfraError(f"The broker did not take a probe: {type(error).__name__}.") from error
