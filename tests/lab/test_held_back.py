"""A broker in alarm looks like a hang: it is the machine's trouble, and never evidence."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import amqp
import pytest
from kombu.connection import Connection
from scenario import SILENT, WORK

from bisect_celery.errors import HeldBack
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import Watch
from bisect_celery.model import Environment
from bisect_celery.stack.brokers import namespace
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.process import ProcessPlace, ProcessStack

LIMIT = 1 << 20
# Its first task fills the broker, so that no event or result gets through any more.
SHOP = f"""
from celery import Celery

app = Celery("shop", backend="rpc://")

@app.task
def work(n):
    with app.connection() as connection, connection.channel() as channel:
        channel.queue_declare("full", auto_delete=False)
        for _ in range(40):
            channel.basic_publish(channel.prepare_message(b"x" * {LIMIT // 10}), "", "full")
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedNode]:
    node = EmbeddedNode(tmp_path / "broker", memory_limit=LIMIT)
    node.start(Token())
    yield node
    node.stop()


@pytest.fixture
def stack(tmp_path: Path, node: EmbeddedNode) -> ProcessStack:
    return ProcessStack(node, cast(Any, None), tmp_path / "places", "a test")


def fill(place: ProcessPlace) -> None:
    """Publish until the broker is in alarm; what is published after that waits, in a thread that dies with it."""

    def publish() -> None:
        connection = Connection(place.harness_url)
        channel = connection.channel()
        channel.queue_declare("full", auto_delete=False)
        for _ in range(40):
            channel.basic_publish(amqp.Message(b"x" * (LIMIT // 10)), "", "full")

    threading.Thread(target=publish, daemon=True).start()
    assert Token().wait(lambda: not place.healthy(), 20)


def test_no_place_is_made_on_a_broker_in_alarm(
    tmp_path: Path, stack: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Environment("", "", "")
    with stack.place("one", tmp_path, nothing, tmp_path / "one", Token()) as place:
        assert place.healthy()
        fill(place)
        monkeypatch.setattr(namespace, "Management", functools.partial(Management, deadline=1.0))
        with pytest.raises(HeldBack), stack.place("two", tmp_path, nothing, tmp_path / "two", Token()):
            pass
        monkeypatch.undo()
    # The messages went with the place, and the alarm with them.
    with stack.place("three", tmp_path, nothing, tmp_path / "three", Token()) as place:
        assert place.healthy()


def test_silence_under_an_alarm_is_no_evidence(tmp_path: Path, stack: ProcessStack) -> None:
    layout, bin_folder = tmp_path / "tree", f"{sys.prefix}/bin"
    layout.mkdir()
    (layout / "shop.py").write_text(SHOP)
    version = ("celery", importlib.metadata.version("celery"))
    environment = Environment("this", f"{bin_folder}/python", bin_folder, (version,))
    plan = Plan("shop", WORK, ("-c", "1", "-P", "solo"), fast=True)
    with stack.place("one", layout, environment, tmp_path / "one", Token()) as place:
        watch = Watch(place, plan, environment, SILENT, Token(), walled=False)
        with pytest.raises(HeldBack, match="holds publishers back"):
            watch.run()
