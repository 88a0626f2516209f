"""A library is searched, and the app that uses it is another folder: same at every revision, told by its own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from small_incident import REQUIREMENTS, commit, git

pytestmark = pytest.mark.network

CONFIG = """\
worker = "-c 1"
task = "shop.tasks.parcel"
args = [3]
expect = 12.5
count = 2
stack = "process"
broker = "embedded"
[env]
SHOP_BROKER = "{broker_url}"
"""
APP = {
    "shop/__init__.py": "",
    "shop/app.py": """\
import os

from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend="rpc://", include=["shop.tasks"])
app.conf.worker_prefetch_multiplier = 1
""",
    "shop/tasks.py": """\
from importlib.metadata import version

from parcels import postage

from shop.app import app


@app.task(name="shop.tasks.parcel")
def parcel(weight):
    assert version("parcels")
    return postage(weight)
""",
    "requirements.txt": f"{REQUIREMENTS}parcels==7.0  # the release that production has\n",
    "bisect-celery.toml": CONFIG,
}
PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "parcels"
version = "7.1"
dependencies = [{needs}]
"""
POSTAGE = '''\
"""What a parcel costs."""

from decimal import Decimal

HANDLING = 5


def postage(weight):
    """By weight in kilograms."""
    if weight > 30:
        raise ValueError(weight)
    return float(weight * Decimal("2.5")) + HANDLING
'''
TIDIED = POSTAGE.replace('"""By weight in kilograms."""', '"""By weight, in kilograms."""').replace(" + HANDLING", "")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def library(tmp_path: Path) -> tuple[Path, list[str]]:
    """Six commits, of which the fourth breaks; one before it asks for what is not to be had."""
    folder = tmp_path / "parcels"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    project = {"pyproject.toml": PROJECT.format(needs=""), "src/parcels/__init__.py": POSTAGE}
    return folder, [
        commit(folder, title, files, number)
        for number, (title, files) in enumerate(
            [
                ("Begin", project),
                ("Ask for too much", {"pyproject.toml": PROJECT.format(needs='"celery<2"')}),
                ("Ask for less", {"pyproject.toml": PROJECT.format(needs="")}),
                ("Tidy", {"src/parcels/__init__.py": TIDIED}),
                ("Say more", {"README.md": "Parcels.\n"}),
                ("Say it all", {"README.md": "Parcels and postage.\n"}),
            ]
        )
    ]


def test_a_library_is_searched_under_an_app_that_stays(
    tmp_path: Path, library: tuple[Path, list[str]], bench_at: Callable[[Path], Bench]
) -> None:
    folder, shas = library
    shop = write(tmp_path / "shop", APP)
    bench = bench_at(folder)
    ended = bench.run("run", shas[0], "HEAD", "--workload", str(shop))
    assert ended.code == 0, ended.text
    session = bench.session()
    culprit = session.culprit
    assert culprit is not None
    assert culprit.revision.sha == shas[3], ended.text
    (atom,) = culprit.fix
    assert (atom.path, [line for line in atom.lines if "HANDLING" in line]) == (
        "src/parcels/__init__.py",
        ['-    return float(weight * Decimal("2.5")) + HANDLING'],
    )
    kinds = {one.trial.tree.label: str(one.judgement.symptom) for one in session.judged}
    assert kinds.get(shas[1][:10], "environment-failed").startswith("environment-failed"), "what cannot be had, skips"
    assert git(folder, "status", "--porcelain") == ""
    assert bench.left() == []


def test_a_workload_that_no_revision_can_join_is_told(
    tmp_path: Path, library: tuple[Path, list[str]], bench_at: Callable[[Path], Bench]
) -> None:
    folder, shas = library
    bench = bench_at(folder)
    missing = bench.run("run", shas[0], "HEAD", "--workload", str(tmp_path / "nowhere"))
    assert missing.code == 2
    assert "is no folder" in missing.text
    without = {name: text for name, text in APP.items() if name != "requirements.txt"}
    project = write(tmp_path / "shop", {**without, "pyproject.toml": PROJECT.format(needs='"celery"')})
    refused = bench.run("run", shas[0], "HEAD", "--workload", str(project))
    assert refused.code == 2, refused.text
    assert "requirements.txt" in refused.text
