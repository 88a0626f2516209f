"""A trial whose place is kept for a person to look around in keeps no secret when it is left."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from scenario import PATIENT, WORK

from bisect_celery.core.redact import Redactor
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Environment, Tree
from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.process import ProcessStack

CANARY = "a-canary-of-ours"
SHOP = """\
import os
from celery import Celery
from celery.signals import worker_ready

app = Celery("shop", backend="rpc://")
app.conf.api_token = os.environ["TOKEN"]

@app.task
def work(n):
    return n

@worker_ready.connect
def tell(**_):
    print("the token is", app.conf.api_token, flush=True)
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    stack = ProcessStack(EmbeddedNode(tmp_path / "broker"), cast(Any, None), tmp_path / "places", "a test")
    stack.start(Token())
    yield stack
    stack.stop()


def holding(folder: Path, text: str) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and text in path.read_text(errors="replace")}


def test_a_kept_place_leaves_no_secret(tmp_path: Path, stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, bin_folder = tmp_path / "tree", f"{sys.prefix}/bin"
    layout.mkdir()
    (layout / "shop.py").write_text(SHOP)
    version = ("celery", importlib.metadata.version("celery"))
    environment = Environment("this", f"{bin_folder}/python", bin_folder, (version,))
    plan = Plan("shop", WORK, ("-c", "1", "-P", "solo"), variables=(("TOKEN", CANARY),), fast=True)
    lab = Lab(
        cast(Any, None), stack, tmp_path / "trials", tmp_path / "scratch",
        python=None, as_of="", overlays=(), redactor=Redactor((CANARY,)), cancel=Token(),
    )  # fmt: skip
    laid_out = contextlib.nullcontext((layout, environment, plan))
    monkeypatch.setattr(lab, "_laid_out", lambda _: laid_out)
    with lab.kept(Order("one", Tree("0" * 40, "a tree"), plan, PATIENT)) as (_, _, seen):
        assert seen.ended == "complete", seen
        assert holding(tmp_path / "trials", CANARY) == {"worker.err"}  # for the person, and for the time being
        assert "sender.out" in holding(tmp_path / "places", CANARY)
    lab.close()
    assert holding(tmp_path / "trials", CANARY) == set()
    assert holding(tmp_path / "trials", "the token is") == {"worker.err"}
    assert holding(tmp_path / "places", CANARY) == set()
