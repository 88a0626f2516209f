"""Redis as broker: each trial has a server of its own, which is its namespace; it starts in milliseconds.

What Redis does not know is said by its traits: who stands on a queue is asked of the workers, and what is published to
whoever does not listen yet is gone.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from bisect_celery.errors import InfraError
from bisect_celery.model import BrokerTraits, Cancel, QueueCount
from bisect_celery.stack.brokers.namespace import Space
from bisect_celery.stack.brokers.redis_counts import BINDINGS, SCRIPT, SEPARATOR, counted
from bisect_celery.stack.services.protocol import REDIS, Bindings, Service

TRAITS = BrokerTraits(REDIS, port=6379, tells_consumers=False, keeps_questions=False)
# Of schemes in a project's URLs those that it stands in for, TLS and Sentinel among them, which it does not speak.
SCHEMES = frozenset({"redis", "rediss", "sentinel"})
# The number of the database for all that is not the broker's: a cache that is cleared takes its whole database along.
BESIDE = "1"
ANSWER_DEADLINE = 10.0
_HINT = "`bisect-celery resume` goes on with a new one."
# Who listens for questions, answers, events and results goes with the worker or the sender that declared it.
_PASSING = re.compile(
    r"\.pidbox$|^celeryev\.|(?:^|\.)celeryev$"
    r"|^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
)


class Servers(Service, Protocol):
    """A Redis of each trial's own, which may go away for a while and come back with what it held."""

    def reached(self, name: str) -> Bindings:
        """How we reach the server of the trial `name`; its programs may have another way."""
        ...

    def shut_down(self, name: str, cancel: Cancel) -> None:
        """End it in order, with all it holds on a disk. Raises InfraError."""
        ...

    def bring_up(self, name: str, cancel: Cancel) -> None:
        """After `shut_down`: again, at the same address. Raises InfraError."""
        ...


class RedisBroker:
    """A `namespace.Broker`."""

    kind = REDIS
    emulated = False
    serves = frozenset({REDIS})

    def __init__(self, servers: Servers) -> None:
        self.version = ""
        self._servers = servers

    def start(self, cancel: Cancel) -> None:
        self._servers.start(cancel)
        self.version = self._servers.version

    def stop(self) -> None:
        self._servers.stop()

    @contextlib.contextmanager
    def namespace(self, name: str, cancel: Cancel, *, alone: bool) -> Iterator[Space]:
        """`alone` says nothing here: a server is nobody else's."""
        inside = self._servers.fresh(name, cancel)
        with contextlib.ExitStack() as leaving:
            leaving.callback(self._servers.drop, name)
            space = RedisSpace(self._servers, name, inside, cancel)
            leaving.callback(space.close)
            yield space


class RedisSpace:
    """A `namespace.Space`: one server."""

    traits = TRAITS

    def __init__(self, servers: Servers, name: str, inside: Bindings, cancel: Cancel) -> None:
        self.vhost = inside.name
        self.broker_url = inside.url
        self.bindings: Mapping[str, str] = replace(inside, name=BESIDE).filled()
        reached = servers.reached(name)
        self.harness_url = reached.url
        self._servers, self._name, self._cancel = servers, name, cancel
        self._client, self._beside = _client(reached), _client(replace(reached, name=BESIDE))

    def close(self) -> None:
        self._client.close()
        self._beside.close()

    def queues(self) -> tuple[QueueCount, ...]:
        return counted(self._ask("EVAL", SCRIPT, 0))

    def healthy(self) -> bool:
        """Whether it takes what is written: one that is full, or loads, or has no disk left refuses."""
        try:
            self._ask("SET", "bisect-celery.health", "", "PX", 1000)
        except _Refused:
            return False
        return True

    def stop_broker(self) -> None:
        for client in (self._client, self._beside):
            client.connection_pool.disconnect()
        self._servers.shut_down(self._name, self._cancel)

    def start_broker(self) -> None:
        self._servers.bring_up(self._name, self._cancel)

    # --- what outlives whoever declared it

    def definitions(self) -> bytes:
        """Which queues are bound to which exchanges, and what is in the database beside the broker's; `queues` and
        `exchanges` as RabbitMQ's API writes them."""
        names = [queue.name for queue in self.queues() if not _PASSING.search(queue.name)]
        bindings = {}
        for key in self._ask("KEYS", f"*{BINDINGS}*"):
            if not _PASSING.search(key.decode("utf-8", "replace")):
                members = [one for one in self._ask("SMEMBERS", key) if _lasts(one)]
                bindings[_packed(key)] = [_packed(one) for one in sorted(members)]
        found = {"queues": [{"name": name} for name in names], "exchanges": [], "sets": bindings}
        return json.dumps({**found, "beside": dict(self._kept_beside())}).encode()

    def _kept_beside(self) -> Iterator[tuple[str, tuple[str, int]]]:
        """Each key of the other database, as Redis itself packs it, and the milliseconds it has left (0: for ever)."""
        for key in self._ask("KEYS", "*", of=self._beside):
            content, left = self._ask("DUMP", key, of=self._beside), self._ask("PTTL", key, of=self._beside)
            if content is not None:  # else it has just expired
                yield _packed(key), (_packed(content), max(0, left))

    def define(self, definitions: bytes) -> None:
        told = json.loads(definitions)
        for key, members in told["sets"].items():
            if members:
                self._ask("SADD", base64.b64decode(key), *map(base64.b64decode, members))
        for key, (content, left) in told["beside"].items():
            self._ask("RESTORE", base64.b64decode(key), left, base64.b64decode(content), of=self._beside)

    def _ask(self, *words: Any, of: Any = None) -> Any:
        import redis

        try:
            return (of or self._client).execute_command(*words)
        except redis.ResponseError as error:
            raise _Refused(f"The trial's Redis refused {words[0]}: {error}.", _HINT) from error
        except (redis.RedisError, OSError) as error:
            raise InfraError(f"The trial's Redis does not answer: {type(error).__name__}.", _HINT) from error


def _client(reached: Bindings) -> Any:
    import redis  # here: it would be a tenth of every start of ours, for the few who need it

    return redis.Redis(
        host=reached.host,
        port=reached.port,
        db=int(reached.name),
        password=reached.password or None,
        socket_timeout=ANSWER_DEADLINE,
        socket_connect_timeout=ANSWER_DEADLINE,
    )


class _Refused(InfraError):
    """It answered, and would not."""


def _packed(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _lasts(member: bytes) -> bool:
    return not _PASSING.search(member.decode("utf-8", "replace").rpartition(SEPARATOR)[2])
