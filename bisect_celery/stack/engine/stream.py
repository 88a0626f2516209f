"""The stream of an attached container: what it writes, in frames, read by one thread while another one writes to it.

Not the SDK's reader: it waits for the socket before each part of a frame, and over TLS the rest of a frame has come
already, decrypted, with its head: what a program said was read with what it said next. And a TLS connection is not for
two threads at once: each has it for as long as nothing has to be waited for.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

HEADER = struct.Struct(">BxxxL")  # of a frame: which stream, how long (Docker's Engine API, attach)
STDERR = 2
WRITE_DEADLINE = 60.0
_CHUNK = 1 << 16
_TO_READ = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
_TO_WRITE = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# A writer may be told to wait for what the reader takes.
_LOOK_AGAIN_MS = 100


class Stream:
    """What the SDK gives for an attached container: a socket, plain or TLS, or a file around one."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw  # of which the SDK closes the connection when it is collected
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.setblocking(False)
        self._lock = threading.Lock()

    def frames(self) -> Iterator[tuple[bool, bytes]]:
        """(whether it is an error's, bytes) as they come, until the other side ends it. Raises OSError."""
        waiting = bytearray()
        while data := self._read():
            waiting += data
            while len(waiting) >= HEADER.size:
                stream, length = HEADER.unpack_from(waiting)
                if len(waiting) < HEADER.size + length:
                    break
                yield stream == STDERR, bytes(waiting[HEADER.size : HEADER.size + length])
                del waiting[: HEADER.size + length]
        if len(waiting) > HEADER.size:  # the engine went away in the middle of it
            yield HEADER.unpack_from(waiting)[0] == STDERR, bytes(waiting[HEADER.size :])

    def write(self, data: bytes) -> None:
        """All of it. Raises OSError, also when nobody takes it for too long."""
        left, end = memoryview(data), time.monotonic() + WRITE_DEADLINE
        while left:
            if time.monotonic() > end:
                raise TimeoutError("Nobody takes what is written")
            try:
                with self._lock:
                    left = left[self._socket.send(left) :]
            except _TO_WRITE:
                self._wait(select.POLLOUT, _LOOK_AGAIN_MS)

    def close(self) -> None:
        with contextlib.suppress(OSError), self._lock:
            self._raw.close()
            self._socket.close()

    def _read(self) -> bytes:
        while True:
            try:
                with self._lock:
                    return self._socket.recv(_CHUNK)
            except _TO_READ:
                self._wait(select.POLLIN)

    def _wait(self, event: int, milliseconds: int | None = None) -> None:
        poll = select.poll()
        try:
            poll.register(self._socket, event)
        except ValueError as error:
            raise OSError("The stream was closed") from error
        poll.poll(milliseconds)
