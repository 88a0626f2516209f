"""Exchanges and bindings: which destinations a routing key reaches. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

EMULATED_TYPES = ("direct", "fanout", "topic")
PREDECLARED = {"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic"}


class Destination(NamedTuple):
    """Where a binding leads."""

    kind: Literal["queue", "exchange"]
    name: str


class Binding(NamedTuple):
    """One binding of a source exchange. Two with different arguments are different bindings."""

    destination: Destination
    routing_key: str
    arguments: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, destination: Destination, routing_key: str, arguments: Mapping[str, object] | None) -> Binding:
        frozen = tuple(sorted((name, repr(value)) for name, value in (arguments or {}).items()))
        return cls(destination, routing_key, frozen)


@dataclass(eq=False, slots=True)
class Exchange:
    """A named exchange and the bindings that start at it, in the order in which they were made."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    bindings: dict[Binding, None] = field(default_factory=dict)

    def matching(self, routing_key: str) -> Iterator[Destination]:
        """Destinations a message with `routing_key` goes to; one may come more than once."""
        for binding in self.bindings:
            if self._matches(binding.routing_key, routing_key):
                yield binding.destination

    def _matches(self, pattern: str, routing_key: str) -> bool:
        if self.type == "fanout":
            return True
        if self.type == "direct":
            return pattern == routing_key
        return topic_matches(pattern, routing_key)


@functools.lru_cache(maxsize=4096)
def topic_matches(pattern: str, routing_key: str) -> bool:
    """AMQP's topic match: words between dots, `*` is exactly one word, `#` any number of words, also none."""
    reached = {0}
    words = routing_key.split(".") if routing_key else []
    for part in pattern.split(".") if pattern else []:
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(words) and part in ("*", words[at])}
        if not reached:
            return False
    return len(words) in reached
