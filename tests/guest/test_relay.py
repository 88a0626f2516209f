"""The relay between a worker and its broker: what it carries, and what the two see while it is cut."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import bisect_celery.guest
from bisect_celery import proc

RELAY = Path(bisect_celery.guest.__file__).parent / "relay.py"
DEADLINE = 20.0


@dataclass
class Running:
    """A relay in front of a server that answers every byte with itself."""

    process: subprocess.Popen[bytes]
    port: int

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()
        assert self.heard() == {"event": word}

    def heard(self) -> object:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE)


@pytest.fixture
def echo() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(client: socket.socket) -> None:
            with client:
                try:
                    while data := client.recv(1 << 16):
                        client.sendall(data)
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(echo: int) -> Iterator[Running]:
    words = [sys.executable, str(RELAY), "127.0.0.1", str(echo)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=proc.clean_environment())
    try:
        running = Running(process, 0)
        first = running.heard()
        assert isinstance(first, dict)
        running.port = first["port"]
        yield running
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


def exchange(client: socket.socket, data: bytes) -> bytes:
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
    received = b""
    while len(received) < len(data):
        received += client.recv(1 << 16)
    return received


def test_it_carries_more_than_anybody_reads_ahead(relay: Running) -> None:
    data = bytes(range(256)) * 40_000
    with relay.connect() as one, relay.connect() as other:
        assert exchange(one, data) == data
        assert exchange(other, b"short") == b"short"


def test_dropped_connections_are_reset_and_nobody_is_let_in_until_it_opens_again(relay: Running) -> None:
    with relay.connect() as client:
        assert exchange(client, b"before") == b"before"
        relay.say("drop")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        relay.connect()
    relay.say("open")
    with relay.connect() as client:
        assert exchange(client, b"after") == b"after"


def test_a_frozen_connection_says_nothing_and_goes_on_where_it_stood(relay: Running) -> None:
    with relay.connect() as client:
        assert exchange(client, b"before") == b"before"
        relay.say("freeze")
        client.sendall(b"meanwhile")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(DEADLINE)
        relay.say("open")
        received = b""
        while len(received) < len(b"meanwhile"):
            received += client.recv(100)
        assert received == b"meanwhile"


def test_the_end_of_the_one_is_the_end_of_the_other(relay: Running) -> None:
    with relay.connect() as client:
        assert exchange(client, b"before") == b"before"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
