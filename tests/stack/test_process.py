"""The process stack's places: what a trial starts goes with it."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Program, Runner
from bisect_celery.stack.brokers.node import BrokerNode
from bisect_celery.stack.process import ProcessPlace, ProcessStack

NOWHERE = Environment("", "", "")
PATH = (("PATH", os.defpath),)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(proc, "_owner", None)
    owner = proc.own(f"test-{uuid.uuid4().hex}")
    yield
    proc.kill_labelled(owner)


def place_in(folder: Path, node: BrokerNode, name: str = "one") -> contextlib.AbstractContextManager[ProcessPlace]:
    stack = ProcessStack(node, cast(Runner, None), folder / "places", "a test")
    layout = folder / f"tree-{name}"
    layout.mkdir()
    return stack.place(name, layout, NOWHERE, folder / "artifacts" / name, Token())


def finish(place: ProcessPlace, program: Program) -> None:
    running = place.start(program)
    assert Token().wait(lambda: not running.alive(), 20)
    assert running.exit_code() == 0, running.err.read_text()


def test_what_a_private_program_says_is_no_artifact(tmp_path: Path, embedded_node: BrokerNode) -> None:
    says = ("sh", "-c", "echo secret; echo trouble >&2")
    with place_in(tmp_path, embedded_node) as place:
        running = place.start(Program("sender", says, PATH, private=True))
        assert Token().wait(lambda: not running.alive(), 20)
        assert running.out.read_text() == "secret\n"
        assert running.out.stat().st_mode & 0o077 == 0 or running.out.parent.stat().st_mode & 0o077 == 0
        assert not running.out.is_relative_to(place.work_dir)
        finish(place, Program("worker", says, PATH))
    kept = {path.name: path.read_text() for path in (tmp_path / "artifacts" / "one").iterdir()}
    assert kept == {"sender.err": "trouble\n", "worker.out": "secret\n", "worker.err": "trouble\n"}
    assert not running.out.exists()


@pytest.mark.usefixtures("session")
def test_what_left_its_process_group_goes_with_the_place(tmp_path: Path, embedded_node: BrokerNode) -> None:
    words = "setsid sleep 60 > /dev/null 2>&1 & echo $! > $0"
    pids = []
    with place_in(tmp_path, embedded_node, "other") as other:
        finish(other, Program("prepare", ("sh", "-c", words, f"{tmp_path}/other"), PATH))
        with place_in(tmp_path, embedded_node) as place:
            finish(place, Program("prepare", ("sh", "-c", words, f"{tmp_path}/one"), PATH))
            pids = [int((tmp_path / name).read_text()) for name in ("one", "other")]
            assert all(proc.start_time(pid) for pid in pids)
        assert proc.start_time(pids[0]) is None
        assert proc.start_time(pids[1]) is not None  # a trial in another slot is let alone
    assert proc.start_time(pids[1]) is None
