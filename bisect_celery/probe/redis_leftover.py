"""The same as `probe.leftover` does, where the broker is a Redis: a message is an element of a list, and all in one.

What is carried is the element as it is, and the list's whole name, with what stands before and behind the queue's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bisect_celery.probe.redis_events import redis_channel

_MESSAGE = b'"properties"'
_CODEC = ("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Element:
    """One message: its list, and itself."""

    key: str
    content: bytes


def take(url: str, queues: Iterable[str]) -> tuple[Element, ...]:
    """Take every message out of the queues' lists, each from its oldest on. Raises InfraError."""
    with redis_channel(url) as (_, channel):
        client, found = channel.client, []
        for key in sorted(_lists(client, channel.sep.encode(), frozenset(queues))):
            with client.pipeline() as pipe:  # at one moment
                elements, _ = pipe.lrange(key, 0, -1).delete(key).execute()
            found += [Element(key.decode(*_CODEC), element) for element in reversed(elements)]
        return tuple(found)


def _lists(client: Any, separator: bytes, queues: frozenset[str]) -> Iterator[bytes]:
    for key in client.scan_iter(_type="list", count=1000):
        name = key.rsplit(separator, 1)[0].decode(*_CODEC)
        if any(name.endswith(queue) for queue in queues) and _MESSAGE in (client.lindex(key, 0) or b""):
            yield key


def put(url: str, elements: Sequence[Element]) -> None:
    """Put each back into its list, as whoever sends does. Raises InfraError."""
    with redis_channel(url) as (_, channel), channel.client.pipeline() as pipe:
        for one in elements:
            pipe.lpush(one.key.encode(*_CODEC), one.content)
        pipe.execute()
