"""Celery 4 on Python 3.6, from its requirements to both ends of a hang. What other pairs showed is in docs/cases.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_shop import SILENT, Bench, bench

from bisect_celery.environment import LocalRunner, build
from bisect_celery.errors import UserError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Kind
from bisect_celery.stack.brokers.node import EmbeddedNode

REQUIREMENTS = "celery==4.2.2\n"
AS_OF = "2020-01-01T00:00:00Z"
WORKS = """
from celery import Celery
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")

@app.task
def work(n):
    return n * 2
"""
HANGS = WORKS.replace("return n * 2", "__import__('time').sleep(3600)")


@pytest.mark.network
def test_celery_4_on_python_3_6(tmp_path: Path, cancel: Token) -> None:
    caller = {**os.environ, "UV_CACHE_DIR": os.environ.get("BISECT_CELERY_TEST_UV_CACHE", str(tmp_path / "uv"))}
    runner = LocalRunner(tmp_path / "builds", caller)
    try:
        runner.interpreter("3.6")
    except UserError:
        pytest.skip("no Python 3.6 here")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "requirements.txt").write_text(REQUIREMENTS)
    made = build(tree, subfolder="", python="3.6", as_of=AS_OF, runner=runner, cancel=cancel, caller=caller)
    assert dict(made.packages)["celery"] == "4.2.2"
    celery = next(Path(made.bin).parent.glob("lib/python3.6/site-packages/celery"))
    assert (celery / "__pycache__" / "bootsteps.cpython-36.pyc").is_file(), "compiled once, when it was built"
    for used in bench(tmp_path, EmbeddedNode):
        _both_ends(used, made)


def _both_ends(used: Bench, made: Environment) -> None:
    used.environment = made
    seen, judged = used.tried(WORKS)
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert (seen.worker.celery, (seen.worker.python or "")[:4]) == ("4.2.2", "3.6.")
    seen, judged = used.tried(HANGS, deadlines=SILENT)
    assert judged.symptom.kind is Kind.STUCK_IN_TASK, (judged, seen)
    assert judged.symptom.where in ("its own code", None)
