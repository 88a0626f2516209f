"""The worker's way to its broker in our hands: a program of the place's, which goes as every program of it goes."""

from __future__ import annotations

import json
from urllib.parse import urlsplit, urlunsplit

from bisect_celery.errors import InfraError
from bisect_celery.lab.signs import Tail
from bisect_celery.model import Cancel, Environment, Place, Program

ANSWER_DEADLINE = 30.0
LOOPBACK = "127.0.0.1"


class Relay:
    """`guest/relay.py`, running beside the worker: on this machine, or in the network of a trial's containers."""

    def __init__(self, place: Place, environment: Environment, cancel: Cancel) -> None:
        """Start it in front of the place's broker. Raises InfraError when it does not."""
        broker = urlsplit(place.broker_url)
        target = (str(broker.hostname), str(broker.port or place.broker.port))
        argv = (environment.python, f"{place.guest}/relay.py", *target)
        variables = (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1"))
        self._running = place.start(Program("relay", argv, variables, stdin=True, private=True))
        self._tail = Tail(self._running.out)
        self._cancel = cancel
        port = self._heard("listening")["port"]
        credentials = broker.netloc.rpartition("@")[0]
        self.url = urlunsplit(broker._replace(netloc=f"{credentials}@{LOOPBACK}:{port}"))

    def drop(self) -> None:
        """Close every connection, and let nobody in."""
        self._say("drop")

    def freeze(self) -> None:
        """Move nothing any more, and tell nobody."""
        self._say("freeze")

    def open(self) -> None:
        """As if nothing had been."""
        self._say("open")

    def _say(self, word: str) -> None:
        self._running.write(word)
        self._heard(word)

    def _heard(self, event: str) -> dict[str, object]:
        told: list[dict[str, object]] = []

        def answered() -> bool:
            told.extend(json.loads(line) for line in self._tail.lines() if line.startswith("{"))
            return any(one["event"] == event for one in told) or not self._running.alive()

        self._cancel.wait(answered, ANSWER_DEADLINE)
        for one in told:
            if one["event"] == event:
                return one
        raise InfraError("The relay between worker and broker does not answer.", "Its output is among the artifacts.")
