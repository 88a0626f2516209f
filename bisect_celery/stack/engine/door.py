"""A door to a port of a container that publishes none here: each connection goes through the engine's own API.

Where the engine is on another machine, or behind a tunnel, its published ports are not ours, and publishing them to a
network would show the broker to everybody there. So a connection to this door's port on the loopback becomes a command
in the container that passes bytes on between its standard streams and the port. One thread a connection moves both
directions, because a TLS connection is not for two threads at once.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import ssl
import threading
from dataclasses import replace
from typing import Any

from bisect_celery.errors import InfraError
from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.stream import HEADER

LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16
_HELD = 1 << 20  # bytes of one direction that are read ahead of a slow reader
_STDOUT = 1
_LAST_WORDS = 5.0
# Commands that are started at the same time. Who asks again and again whether somebody listens gives up before a slow
# engine has started one: hundreds were, and the container's limit of processes was reached by them alone.
_AT_ONCE = 4
_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

# Images have bash (Debian, Ubuntu) or a netcat (Alpine's busybox). Either side's end is the end of both.
_PASS_ON = r"""
if command -v bash >/dev/null; then exec bash -c '
  exec 3<>"/dev/tcp/127.0.0.1/$0" 4<&0 || exit 1
  cat <&3 & cat <&4 >&3 &
  wait -n; kill %1 %2 2>/dev/null; exit 0' "$0"
else exec nc 127.0.0.1 "$0"; fi
"""


class Door:
    """A port of the loopback that leads to a port inside a running container, until `close`."""

    def __init__(self, engine: Engine, container: str, port: int) -> None:
        """`engine` is copied for each connection. Raises InfraError when no port is to be had."""
        self._engine, self._container, self._target = engine, container, port
        try:
            self._listening = socket.create_server((LOOPBACK, 0))
        except OSError as error:
            raise InfraError(f"No port of the loopback can be had: {error.strerror}.") from error
        self.host, self.port = LOOPBACK, int(self._listening.getsockname()[1])
        self._lock = threading.Lock()
        self._opening = threading.Semaphore(_AT_ONCE)
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._serve, name=f"door-{port}", daemon=True).start()

    def close(self) -> None:
        """Close every connection through it. Idempotent."""
        with self._lock:
            self._closed = True
            ends = [self._listening, *self._open]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes who waits for it
            if end is self._listening:
                end.close()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    here.close()
                    return
                self._open.add(here)
            threading.Thread(target=self._pass_on, args=(here,), name=f"door-{self._target}-in", daemon=True).start()

    def _pass_on(self, here: socket.socket) -> None:
        try:
            with here, self._engine.fresh() as engine, contextlib.suppress(InfraError, OSError):
                with self._opening:
                    if _given_up(here):
                        return
                    stream = engine.talk(self._container, ("sh", "-c", _PASS_ON, str(self._target)))
                try:
                    _Pump(here, getattr(stream, "_sock", stream)).run()
                finally:
                    stream.close()
        finally:
            with self._lock:
                self._open.discard(here)


def _given_up(here: socket.socket) -> bool:
    """Whether the other side has closed it, whatever it said before."""
    closed = getattr(select, "POLLRDHUP", 0)
    poll = select.poll()
    poll.register(here, closed)
    return bool(poll.poll(0))


class Ways:
    """How this machine reaches ports of containers of one service: where they are published, else through doors."""

    def __init__(self, engine: Engine, service: Service) -> None:
        """`service` is then the one to make containers of: it publishes nothing where nobody of us could reach it."""
        # What an engine elsewhere publishes on its loopback is not ours; other addresses are the user's to choose.
        ours = engine.endpoint.shares_ports or not all(port.address.startswith("127.") for port in service.ports)
        self.service = service if ours else replace(service, ports=())
        self._lock = threading.Lock()
        self._doors: list[Door] = []

    def to(self, engine: Engine, container: str, port: int) -> tuple[str, int]:
        """Host and port for a port of a running container."""
        if self.service.ports:
            return engine.published(container, port)
        door = Door(engine, container, port)
        with self._lock:
            self._doors.append(door)
        return door.host, door.port

    def close(self) -> None:
        """Close every door. Idempotent."""
        with self._lock:
            doors, self._doors = self._doors, []
        for door in doors:
            door.close()


class _Pump:
    """Bytes between a plain socket and the engine's stream, whose own bytes come in frames."""

    def __init__(self, here: socket.socket, there: Any) -> None:
        self._here, self._there = here, there
        self._out, self._back, self._frames = bytearray(), bytearray(), bytearray()
        here.setblocking(False)
        there.setblocking(False)

    def run(self) -> None:
        """Until one side is over and what it said was handed on."""
        with selectors.DefaultSelector() as selector:
            while self._step(selector):
                pass
        for end, waiting in ((self._here, self._back), (self._there, self._out)):
            end.settimeout(_LAST_WORDS)
            with contextlib.suppress(OSError):
                end.sendall(waiting)

    def _step(self, selector: selectors.BaseSelector) -> bool:
        """Whether both sides go on."""
        _watch(selector, self._here, read=len(self._out) < _HELD, write=bool(self._back))
        _watch(selector, self._there, read=len(self._back) < _HELD, write=bool(self._out))
        held = isinstance(self._there, ssl.SSLSocket) and self._there.pending() > 0 and len(self._back) < _HELD
        ready = {key.fileobj: events for key, events in selector.select(0 if held else None)}
        going = True
        if ready.get(self._here, 0) & selectors.EVENT_READ:
            going = self._read(self._here, self._out)
        if held or ready.get(self._there, 0) & selectors.EVENT_READ:
            going = self._read(self._there, self._frames) and going
            self._unpack()
        _write(self._there, self._out)
        _write(self._here, self._back)
        return going

    @staticmethod
    def _read(end: Any, into: bytearray) -> bool:
        try:
            data = end.recv(_CHUNK)
        except _AGAIN:
            return True
        into += data
        return bool(data)

    def _unpack(self) -> None:
        while len(self._frames) >= HEADER.size:
            stream, length = HEADER.unpack_from(self._frames)
            if len(self._frames) < HEADER.size + length:
                return
            if stream == _STDOUT:
                self._back += self._frames[HEADER.size : HEADER.size + length]
            del self._frames[: HEADER.size + length]


def _watch(selector: selectors.BaseSelector, end: Any, *, read: bool, write: bool) -> None:
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    known = end in selector.get_map()
    if events:
        (selector.modify if known else selector.register)(end, events)
    elif known:
        selector.unregister(end)


def _write(end: Any, waiting: bytearray) -> None:
    if waiting:
        with contextlib.suppress(*_AGAIN):
            del waiting[: end.send(waiting)]
