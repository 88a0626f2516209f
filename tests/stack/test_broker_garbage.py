"""Whatever bytes come, the embedded broker closes that connection at worst, and serves everybody else."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from pathlib import Path

import pytest
from broker_support import Namespace
from pamqp import commands

from bisect_celery.stack.brokers.embedded import wire

ROUNDS = 1000


def opening(namespace: Namespace) -> list[bytes]:
    """What a sound client sends to open a connection."""
    response = f"\0{namespace.user}\0{namespace.password}"
    connection = commands.Connection
    return [
        wire.OUR_GREETING,
        wire.method_frame(0, connection.StartOk, {"capabilities": {"basic.nack": True}}, "PLAIN", response, "en_US"),
        wire.method_frame(0, connection.TuneOk, 100, 131072, 0),
        wire.method_frame(0, connection.Open, namespace.vhost, "", False),
    ]


def session() -> list[bytes]:
    """A little of everything, on channel 1."""
    basic, queue, exchange = commands.Basic, commands.Queue, commands.Exchange
    return [
        wire.method_frame(1, commands.Channel.Open, ""),
        wire.method_frame(1, exchange.Declare, 0, "x", "topic", False, False, False, False, False, {}),
        wire.method_frame(1, queue.Declare, 0, "q", False, False, False, False, False, {"x-expires": 60000}),
        wire.method_frame(1, queue.Bind, 0, "q", "x", "a.#", False, {}),
        wire.method_frame(1, basic.Qos, 0, 2, False),
        wire.method_frame(1, basic.Consume, 0, "q", "c", False, False, False, False, {}),
        *published("x", "a.b"),
        *published("", "q"),
        wire.method_frame(1, basic.Ack, 1, False),
        wire.method_frame(1, basic.Nack, 2, True, True),
        wire.method_frame(1, basic.Get, 0, "q", False),
        wire.method_frame(1, basic.Recover, True),
        wire.method_frame(1, queue.Purge, 0, "q", False),
        wire.method_frame(1, basic.Cancel, "c", False),
        wire.method_frame(1, queue.Delete, 0, "q", False, False, False),
        wire.method_frame(1, commands.Channel.Close, 200, "", 0, 0),
    ]


def published(exchange: str, key: str) -> list[bytes]:
    properties = commands.Basic.Properties(headers={"a": [1, "b"]}, expiration="1000", content_type="x").marshal()
    return [
        wire.method_frame(1, commands.Basic.Publish, 0, exchange, key, False, False),
        wire.content_frames(1, properties, b"body", 131072),
    ]


def spoilt(frames: list[bytes], chance: random.Random) -> bytes:
    """Frames left out, doubled, swapped, or with bytes changed."""
    frames = list(frames)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(frames))
        kind = chance.choice(["drop", "double", "swap", "byte", "byte", "byte", "length", "channel"])
        if kind == "drop":
            frames[at] = b""
        elif kind == "double":
            frames[at] *= 2
        elif kind == "swap":
            other = chance.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
        elif kind == "byte" and frames[at]:
            where = chance.randrange(len(frames[at]))
            frames[at] = frames[at][:where] + bytes([chance.randrange(256)]) + frames[at][where + 1 :]
        elif kind == "channel" and len(frames[at]) > 7:
            frames[at] = frames[at][:1] + struct.pack(">H", chance.randrange(4)) + frames[at][3:]
        elif len(frames[at]) > 7:
            frames[at] = frames[at][:3] + struct.pack(">I", chance.randrange(300000)) + frames[at][7:]
    return b"".join(frames)


def say(namespace: Namespace, data: bytes) -> bytes:
    """Send it all, say that there is no more, and read what comes until the broker closes."""
    with socket.create_connection((namespace.node.amqp_host, namespace.node.amqp_port), timeout=15) as client:
        answer = b""
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


def log_of(namespace: Namespace) -> str:
    return Path(namespace.node.log).read_text()


def test_the_sound_session_is_understood(embedded_namespace: Namespace) -> None:
    answer = say(embedded_namespace, b"".join(opening(embedded_namespace) + session()))
    assert wire.method_frame(1, commands.Channel.CloseOk) in answer
    assert answer.count(b"body") == 4  # two delivered, of which one again, and one got


@pytest.mark.parametrize("when", ["opening", "session"])
def test_spoilt_sessions(embedded_namespace: Namespace, when: str) -> None:
    chance = random.Random(when)
    begin, rest = opening(embedded_namespace), session()
    for _ in range(ROUNDS):
        data = spoilt(begin + rest, chance) if when == "opening" else b"".join(begin) + spoilt(rest, chance)
        say(embedded_namespace, data)
    assert "internal error" not in log_of(embedded_namespace)
    assert embedded_namespace.connect().channel().queue_declare("alive").queue == "alive"


def test_a_greeting_that_never_ends_is_cut(embedded_namespace: Namespace) -> None:
    address = (embedded_namespace.node.amqp_host, embedded_namespace.node.amqp_port)
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"AMQ")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


@pytest.mark.parametrize(
    "request_text",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"PUT /api/users/u HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"PUT /api/users/u HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT /api/users/u HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /api/overview HTTP/1.1\r\nAuthorization: Basic !!!\r\n\r\n",
        b"GET /%ff%00/../x HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_spoilt_requests(embedded_namespace: Namespace, request_text: bytes) -> None:
    host, _, port = embedded_namespace.node.management_url.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=15) as client:
        client.sendall(request_text)
        client.shutdown(socket.SHUT_WR)
        try:
            answer = client.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert embedded_namespace.management.healthy()
    assert "Traceback" not in log_of(embedded_namespace)
