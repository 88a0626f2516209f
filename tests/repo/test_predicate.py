"""The predicate's exit status is a verdict only when the session gave one: git reads 1 to 127 as bad."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bisect_celery.repo.bisect import PREDICATE

COMMAND = [sys.executable, "-I", "-S", str(PREDICATE)]


@pytest.fixture
def listener(tmp_path: Path):  # type: ignore[no-untyped-def]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen(1)
        listening.settimeout(20)
        yield listening, str(tmp_path / "s")


def say(listening: socket.socket, *parts: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        for part in parts:
            connection.sendall(part)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((b"0\n",), 0),
        ((b"1\n",), 1),
        ((b"125\n",), 125),
        ((b"12", b"5\n"), 125),
        ((), 129),
        ((b"0",), 129),
        ((b"2\n",), 129),
        ((b"127\n",), 129),
        ((b"\n",), 129),
        ((b"0\n1\n",), 129),
        ((b"yes, certainly bad\n",), 129),
    ],
)
def test_answers(listener, parts: tuple[bytes, ...], status: int) -> None:  # type: ignore[no-untyped-def]
    listening, address = listener
    thread = threading.Thread(target=say, args=(listening, *parts))
    thread.start()
    done = subprocess.run([*COMMAND, address], timeout=30)
    thread.join()
    assert done.returncode == status


@pytest.mark.parametrize("words", [[], ["/nonexistent/socket"], ["a", "b"], ["x" * 300], [""]])
def test_without_a_session_it_is_no_verdict(words: list[str]) -> None:
    assert subprocess.run([*COMMAND, *words], timeout=30).returncode >= 128


def test_interrupted_while_waiting_is_no_verdict(listener) -> None:  # type: ignore[no-untyped-def]
    listening, address = listener
    asking = subprocess.Popen([*COMMAND, address])
    connection, _ = listening.accept()
    with connection:
        os.kill(asking.pid, signal.SIGINT)
        status = asking.wait(20)
    assert status >= 128 or status < 0  # a shell shows a signal as 128 and more
