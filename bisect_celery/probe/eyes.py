"""Our eyes at a trial's broker, whatever kind it is: by the scheme of its URL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import urlsplit

from bisect_celery.probe.events import Monitor
from bisect_celery.probe.redis_events import RedisMonitor


class Eyes(Protocol):
    """One connection into one namespace. For one thread. Close it before the namespace is deleted.

    Every method raises InfraError when the broker went, or does not answer.
    """

    def listen(self, exchange: str) -> bool:
        """Hear the workers' events, once that can be; False while it cannot. `exchange` is where they go."""
        ...

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Events that arrived within `seconds`; returns as soon as no more do."""
        ...

    def consumers(self, queues: Iterable[str]) -> dict[str, int] | None:
        """How many consumers stand on each queue, absent ones left out; None where the broker does not know."""
        ...

    def listeners(self) -> int:
        """How many others listen to what is published; only where questions are (`BrokerTraits.keeps_questions`)."""
        ...

    def close(self) -> None: ...


def eyes(url: str) -> Eyes:
    """Raises InfraError when the broker does not answer."""
    return RedisMonitor(url) if urlsplit(url).scheme == "redis" else Monitor(url)
