"""The networks of the slots: one small container each, which holds the network that a trial's programs share.

A trial takes one and gives it back when all its programs are gone; what stays of a trial in there is closed
connections. So the cost of making a network's end is paid once for a slot, not for each program.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bisect_celery.model import Owner
from bisect_celery.stack.compose import Service
from bisect_celery.stack.container_engine import Engine, labels


class Slots:
    """Containers of the compose file's `slot` service, made when needed. Safe to use from several threads."""

    def __init__(
        self, service: Service, owner: Owner, prefix: str, names: Mapping[str, str], hosts: Mapping[str, str]
    ) -> None:
        """`hosts` are names and addresses that programs find without a resolver."""
        self._service = service
        self._owner = owner
        self._prefix = prefix
        self._names = names
        self._hosts = hosts
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._idle: list[str] = []
        self._all: list[str] = []

    @contextmanager
    def taken(self, engine: Engine) -> Iterator[str]:
        """A running slot container for one trial alone. Raises InfraError when the engine cannot start one."""
        container = self._running(engine) or self._started(engine)
        try:
            yield container
        finally:
            with self._lock:
                self._idle.append(container)

    def _running(self, engine: Engine) -> str | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                container = self._idle.pop()
            state = engine.state(container)
            if state is not None and state.running:
                return container
            engine.remove(container)

    def _started(self, engine: Engine) -> str:
        container = engine.create(
            self._service,
            name=f"{self._prefix}-slot-{next(self._numbers)}",
            labels=labels(self._owner, "slot"),
            names=self._names,
            hosts=self._hosts,
        )
        with self._lock:
            self._all.append(container)
        engine.start(container)
        return container

    def close(self, engine: Engine) -> None:
        """Remove all. Idempotent."""
        with self._lock:
            containers, self._all, self._idle = self._all, [], []
        for container in containers:
            engine.remove(container)
