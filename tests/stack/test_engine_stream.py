"""The stream of an attached container over TLS, between two ends of one pair of sockets."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bisect_celery.stack.engine.stream import STDERR, Stream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    asked = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=engine", "-days", "2"]
    subprocess.run([*asked, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> Iterator[tuple[Stream, socket.socket]]:
    """A stream, and the other side of it, which blocks for 20 s at most."""
    here, there = socket.socketpair()
    if request.param == "tls":
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*certificate)
        client = ssl.create_default_context(cafile=str(certificate[0]))
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(server.wrap_socket, there, server_side=True)
            client.check_hostname = False
            here = client.wrap_socket(here)
            there = accepted.result(20)
    there.settimeout(20)
    stream = Stream(here)
    yield stream, there
    there.close()
    stream.close()


def frame(number: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", number, len(data)) + data


def test_a_frame_is_read_when_it_has_come_whatever_comes_after_it(ends: tuple[Stream, socket.socket]) -> None:
    stream, there = ends
    frames = stream.frames()
    with ThreadPoolExecutor(1) as pool:
        there.sendall(frame(1, b"sent"))  # one write of the engine's is one record of TLS
        assert pool.submit(next, frames).result(20) == (False, b"sent")
        there.sendall(frame(STDERR, b"a warning") + frame(1, b"") + frame(1, b"done")[:-2])
        assert pool.submit(next, frames).result(20) == (True, b"a warning")
        assert pool.submit(next, frames).result(20) == (False, b"")
        there.close()
        assert pool.submit(list, frames).result(20) == [(False, b"do")]


def test_one_thread_reads_while_another_one_writes(ends: tuple[Stream, socket.socket]) -> None:
    stream, there = ends
    told, orders = [frame(1, bytes([number % 251]) * 30_000) for number in range(100)], b"order\n" * 200_000

    def engine_reads() -> bytes:
        taken = bytearray()
        while len(taken) < len(orders):
            taken += there.recv(1 << 16)
        there.sendall(b"".join(told))
        return bytes(taken)

    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(lambda: [next(frames) for frames in [stream.frames()] for _ in told])
        engine = pool.submit(engine_reads)
        stream.write(orders)
        assert engine.result(20) == orders
        assert [data for _, data in read.result(20)] == [one[8:] for one in told]


def test_what_is_written_to_a_closed_stream_is_an_error(ends: tuple[Stream, socket.socket]) -> None:
    stream, _ = ends
    writing = threading.Thread(target=stream.close)
    writing.start()
    writing.join(20)
    with pytest.raises(OSError):
        stream.write(b"too late")
