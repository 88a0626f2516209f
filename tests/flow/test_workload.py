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
SETUP = """\
from setuptools import Extension, setup

setup(ext_modules=[Extension("parcels._postage", ["src/parcels/postage.c"])])
"""
IN_C = '''\
"""What a parcel costs."""

from parcels._postage import postage

__all__ = ["postage"]
'''
POSTAGE_C = """\
#include <Python.h>

/* What a parcel costs, by weight in kilograms. */
#define HANDLING 5

static PyObject *postage(PyObject *self, PyObject *weight)
{
    double kilograms = PyFloat_AsDouble(weight);

    if (PyErr_Occurred())
        return NULL;
    return PyFloat_FromDouble(kilograms * 2.5 + HANDLING);
}

static PyMethodDef methods[] = {
    {"postage", postage, METH_O, "By weight."},
    {NULL, NULL, 0, NULL}
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_postage", NULL, -1, methods};

PyMODINIT_FUNC PyInit__postage(void)
{
    return PyModule_Create(&module);
}
"""
BROKEN_C = POSTAGE_C.replace("return NULL;", "return NULL")
TIDIED_C = POSTAGE_C.replace("By weight.", "By weight, in kilograms.").replace(" + HANDLING", "")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def library(tmp_path: Path) -> tuple[Path, list[str]]:
    """Commits of Python, then of C, of which the sixth breaks; one asks for too much, one does not build."""
    folder = tmp_path / "parcels"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    project = {"pyproject.toml": PROJECT.format(needs=""), "src/parcels/__init__.py": POSTAGE}
    compiled = {
        "pyproject.toml": PROJECT.format(needs=""), "setup.py": SETUP,
        "src/parcels/__init__.py": IN_C, "src/parcels/postage.c": POSTAGE_C,
    }  # fmt: skip
    return folder, [
        commit(folder, title, files, number)
        for number, (title, files) in enumerate(
            [
                ("Begin", project),
                ("Ask for too much", {"pyproject.toml": PROJECT.format(needs='"celery<2"')}),
                ("Compute in C", compiled),
                ("Lose a semicolon", {"src/parcels/postage.c": BROKEN_C}),
                ("Find it", {"src/parcels/postage.c": POSTAGE_C}),
                ("Tidy", {"src/parcels/postage.c": TIDIED_C}),
                ("Say more", {"README.md": "Parcels.\n"}),
            ]
        )
    ]


def test_a_library_is_searched_under_an_app_that_stays(
    tmp_path: Path, library: tuple[Path, list[str]], bench_at: Callable[[Path], Bench]
) -> None:
    folder, shas = library
    shop = write(tmp_path / "shop", APP)
    bench = bench_at(folder)
    ended = bench.run("run", shas[0], "HEAD", "--workload", str(shop), deadline=900.0)
    assert ended.code == 0, ended.text
    session = bench.session()
    culprit = session.culprit
    assert culprit is not None
    assert culprit.revision.sha == shas[5], ended.text
    (atom,) = culprit.fix
    assert (atom.path, [line for line in atom.lines if "HANDLING" in line]) == (
        "src/parcels/postage.c",
        ["-    return PyFloat_FromDouble(kilograms * 2.5 + HANDLING);"],
    )
    kinds = {one.trial.tree.label: str(one.judgement.symptom) for one in session.judged}
    for number, why in ((1, "cannot be had"), (3, "does not build")):
        assert kinds.get(shas[number][:10], "environment-failed").startswith("environment-failed"), f"what {why}, skips"
    assert any(label in kinds for label in (shas[1][:10], shas[3][:10]))
    assert git(folder, "status", "--porcelain") == ""
    assert bench.left() == []


def test_a_workload_that_is_not_there_is_told(
    tmp_path: Path, library: tuple[Path, list[str]], bench_at: Callable[[Path], Bench]
) -> None:
    folder, shas = library
    missing = bench_at(folder).run("run", shas[0], "HEAD", "--workload", str(tmp_path / "nowhere"))
    assert missing.code == 2
    assert "is no folder" in missing.text
