"""Which Python a project wants, and which one this machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_index import lay
from packaging.specifiers import SpecifierSet

from bisect_celery.environment import LocalRunner, choose_python, wanted_python
from bisect_celery.environment.facade import disagreeing
from bisect_celery.environment.interpreter import allows
from bisect_celery.errors import UserError

HERE = "{}.{}.{}".format(*sys.version_info[:3])
MINOR = "{}.{}".format(*sys.version_info[:2])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".python-version": "3.9.4\n"}, ("3.9.4", ".python-version")),
        ({".python-version": "pypy3.9\n3.8\n"}, ("3.8", ".python-version")),
        ({"runtime.txt": "python-3.7.2\n"}, ("3.7.2", "runtime.txt")),
        ({"Pipfile": '[requires]\npython_version = "3.8"\n'}, ("3.8", "Pipfile")),
        ({"Dockerfile": "FROM node:14 AS a\nFROM --platform=x python:3.6-slim\nRUN x"}, ("3.6", "Dockerfile")),
        ({"Dockerfile": "FROM registry.io/library/python:3.10.2"}, ("3.10.2", "Dockerfile")),
        ({"Dockerfile": "FROM debian\n"}, (None, "")),
        ({"Dockerfile": "ARG V=3.8\nFROM python:${V}-slim AS base\nFROM base"}, ("3.8", "Dockerfile")),
        ({"Dockerfile": 'ARG PYTHON_VERSION="3.9.2"\nFROM python:$PYTHON_VERSION'}, ("3.9.2", "Dockerfile")),
        ({"Dockerfile": "ARG V\nFROM python:${V:-3.7}-slim"}, ("3.7", "Dockerfile")),
        ({"Dockerfile": "ARG V\nFROM python:${V}"}, (None, "")),
        ({"pyproject.toml": '[project]\nrequires-python = ">= 3.8, < 3.12"'}, (">=3.8,<3.12", "pyproject.toml")),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.8"'}, (">=3.8,<4", "pyproject.toml")),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "*"'}, (None, "")),
        ({"setup.cfg": "[options]\npython_requires = >=3.6\n"}, (">=3.6", "setup.cfg")),
        ({"setup.py": "setup(python_requires='>=3.6, <4')"}, (">=3.6,<4", "setup.py")),
        (
            {"pyproject.toml": '[project]\nrequires-python = ">=3.8"', "Dockerfile": "FROM python:3.9"},
            ("3.9", "Dockerfile"),
        ),
        ({"pyproject.toml": "not toml ["}, (None, "")),
        ({}, (None, "")),
    ],
)
def test_what_the_files_say(tmp_path: Path, files: dict[str, str | bytes], expected: tuple[str | None, str]) -> None:
    assert wanted_python(lay(tmp_path / "tree", files)) == expected


def test_files_that_contradict_one_another_are_told(tmp_path: Path) -> None:
    layout = lay(
        tmp_path / "tree",
        {
            ".python-version": "3.8.2", "runtime.txt": "python-3.8.18", "Dockerfile": "FROM python:3.11-slim",
            "pyproject.toml": '[project]\nrequires-python = ">=3.9"', "setup.cfg": "python_requires = >=3.6",
        },
    )  # fmt: skip
    assert disagreeing(layout, "", "3.8.18") == (("3.11", "Dockerfile"), (">=3.9", "pyproject.toml"))
    assert disagreeing(layout, "", "3.11.7") == (("3.8.2", ".python-version"), ("3.8.18", "runtime.txt"))
    assert wanted_python(layout) == ("3.8.2", ".python-version")


def test_the_apps_own_folder_comes_first(tmp_path: Path) -> None:
    layout = lay(tmp_path / "tree", {".python-version": "3.8", "a/.python-version": "3.9", "b/app.py": ""})
    assert wanted_python(layout, "a") == ("3.9", "a/.python-version")
    assert wanted_python(layout, "b") == ("3.8", ".python-version")


VERSIONS = st.builds("{}.{}.{}".format, st.sampled_from([2, 3, 4]), st.integers(0, 14), st.integers(0, 20))
BOUNDS = st.one_of(VERSIONS, st.builds("{}.{}".format, st.sampled_from([2, 3, 4]), st.integers(0, 14)))
PARTS = st.one_of(
    st.builds("{}{}".format, st.sampled_from([">=", "<=", ">", "<", "==", "!=", "~="]), BOUNDS),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), st.builds("3.{}".format, st.integers(0, 14))),
)


@given(st.lists(PARTS, min_size=1, max_size=3), VERSIONS)
def test_ranges_mean_what_pep_440_says(parts: list[str], version: str) -> None:
    assert allows(",".join(parts), version) == (version in SpecifierSet(",".join(parts)))


# --- this machine ------------------------------------------------------------------------------------


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    return LocalRunner(tmp_path / "builds", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


def test_the_default_is_the_python_below_our_own(runner: LocalRunner) -> None:
    path, version = runner.interpreter(None)
    assert version == HERE
    assert sys.prefix == sys.base_prefix or not path.startswith(sys.prefix)


@pytest.mark.parametrize("version", [HERE, MINOR])
def test_a_version_is_found_and_starts(runner: LocalRunner, version: str) -> None:
    path, full = runner.interpreter(version)
    said = subprocess.run([path, "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, text=True)
    assert said.stdout.strip() == full
    assert full.startswith(MINOR)


def test_a_path_is_taken_as_it_is_and_nonsense_is_refused(runner: LocalRunner) -> None:
    path, _ = runner.interpreter(None)
    assert runner.interpreter(path) == (path, HERE)
    for nonsense in ("v1", "/nonexistent/python", "/bin/sh", "3.x"):
        with pytest.raises(UserError):
            runner.interpreter(nonsense)


def test_pythons_that_nothing_makes_environments_for_are_refused_in_words(runner: LocalRunner) -> None:
    for version in ("2.6", "2", "3.4.10"):
        with pytest.raises(UserError, match=r"virtualenv makes 2\.7 and 3\.5"):
            runner.interpreter(version)


def test_a_python_2_is_asked_in_its_own_words(tmp_path: Path) -> None:
    """It knows no `-I`, and uv, which would not find it, is not asked to fetch one."""
    old = tmp_path / "bin" / "python2.7"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" != -I ] || exit 2\necho 2.7.18 CPython\n')
    old.chmod(0o755)
    machine = LocalRunner(tmp_path / "builds", {"PATH": str(old.parent), "HOME": str(tmp_path)})
    assert machine.interpreter("2.7") == (str(old), "2.7.18")
    with pytest.raises(UserError, match=r"no Python 3\.5"):
        machine.interpreter("3.5")


def test_version_managers_are_searched_and_broken_ones_passed_over(tmp_path: Path, runner: LocalRunner) -> None:
    real, _ = runner.interpreter(None)
    versions = tmp_path / ".pyenv" / "versions"
    for name, target in ((f"{MINOR}.99", "/nonexistent"), (HERE, real)):
        (versions / name / "bin").mkdir(parents=True)
        (versions / name / "bin" / f"python{MINOR}").symlink_to(target)
    shims = tmp_path / ".pyenv" / "shims"
    shims.mkdir()
    (shims / f"python{MINOR}").write_text("#!/bin/sh\nexit 127\n")
    (shims / f"python{MINOR}").chmod(0o755)
    other = LocalRunner(tmp_path / "b2", {"PATH": str(shims), "HOME": str(tmp_path)})
    other._own = lambda: Path("/nonexistent")  # type: ignore[method-assign, assignment]
    assert other.interpreter(HERE) == (str(versions / HERE / "bin" / f"python{MINOR}"), HERE)


def test_choosing(tmp_path: Path, runner: LocalRunner) -> None:
    def chosen(name: str, files: dict[str, str | bytes]) -> tuple[str, str]:
        _, version, source = choose_python(lay(tmp_path / name, files), "", runner)
        return version, source

    assert chosen("none", {}) == (HERE, "the default here")
    assert chosen("exact", {"runtime.txt": f"python-{MINOR}.99"}) == (HERE, "runtime.txt")
    ranged = chosen("range", {"setup.cfg": "[options]\npython_requires = >=3.8\n"})
    assert ranged == (HERE, "the default here, which setup.cfg allows")
    with pytest.raises(UserError, match=r"setup\.cfg asks for Python <3\.0"):
        chosen("never", {"setup.cfg": "[options]\npython_requires = <3.0\n"})
