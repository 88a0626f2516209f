"""The networks of the slots: one small container each, which holds the network that a trial's programs share.

A trial takes one and gives it back when all its programs are gone; what stays of a trial in there is closed
connections. So the cost of making a network's end is paid once for a slot, not for each program.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bisect_celery.model import Cancel, Owner
from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.containers.companions import Cast, Mates
from bisect_celery.stack.engine.api import Engine, labels


class Slots:
    """Containers of the compose file's `slot` service, made when needed. Safe to use from several threads."""

    def __init__(
        self,
        service: Service,
        owner: Owner,
        prefix: str,
        names: Mapping[str, str],
        hosts: Mapping[str, str],
        cast: Cast | None = None,
    ) -> None:
        """`hosts` are names and addresses that programs find without a resolver, `cast` what each slot has with it."""
        self._service = service
        self._owner = owner
        self._prefix = prefix
        self._names = names
        self._hosts = hosts
        self._cast = cast
        self._mates: dict[str, Mates] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._idle: list[str] = []
        self._all: list[str] = []

    @contextmanager
    def taken(self, engine: Engine, cancel: Cancel) -> Iterator[str]:
        """A running slot container for one trial alone. Raises InfraError when the engine cannot start one."""
        container = self._running(engine) or self._started(engine, cancel)
        try:
            yield container
        finally:
            with self._lock:
                self._idle.append(container)

    def mates(self, container: str) -> Mates | None:
        """What a slot has with it."""
        with self._lock:
            return self._mates.get(container)

    def _running(self, engine: Engine) -> str | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                container = self._idle.pop()
            state = engine.state(container)
            if state is not None and state.running:
                return container
            self._remove(engine, container)

    def _started(self, engine: Engine, cancel: Cancel) -> str:
        mates = self._cast.made() if self._cast is not None else None
        if mates is None:
            return self._start(engine, self._hosts)
        mates.start(engine, cancel)
        try:
            container = self._start(engine, {**self._hosts, **mates.hosts})
        except BaseException:
            mates.stop(engine)
            raise
        with self._lock:
            self._mates[container] = mates
        return container

    def _start(self, engine: Engine, hosts: Mapping[str, str]) -> str:
        container = engine.create(
            self._service,
            name=f"{self._prefix}-slot-{next(self._numbers)}",
            labels=labels(self._owner, "slot"),
            names=self._names,
            hosts=hosts,
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
            self._remove(engine, container)

    def _remove(self, engine: Engine, container: str) -> None:
        with self._lock:
            mates = self._mates.pop(container, None)
        engine.remove(container)
        if mates is not None:
            mates.stop(engine)
