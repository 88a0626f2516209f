"""Locks of every format as they are written, in lines and built for real; other ways to write a version."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_index import Index, lay
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bisect_celery.environment import EnvironmentFailed, LocalRunner, locks, poetry
from bisect_celery.model import Environment

Builder = Callable[..., Environment]

POETRY = """
[tool.poetry]
name = "shop"
version = "1"
[tool.poetry.dependencies]
python = "^3.8"
celery = {version = "^1.0", extras = ["x"]}
extra = {version = "*", optional = true}
kombu = [{version = "^1.0", python = "<3.0"}, {version = ">=1.0", python = ">=3.0"}]
[tool.poetry.extras]
more = ["extra"]
[tool.poetry.group.dev.dependencies]
devtool = "*"
"""


def package(name: str, version: str, **fields: object) -> str:
    lines = [f"[[package]]\nname = {json.dumps(name)}\nversion = {json.dumps(version)}"]
    return "\n".join([*lines, *(f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in fields.items()), ""])


def built_versions(environment: Environment) -> dict[str, str]:
    return {name: version for name, version in environment.packages if name != "setuptools"}


# --- poetry ------------------------------------------------------------------------------------------


def test_poetry_with_groups_and_markers(built: Builder) -> None:
    lock = (
        package("celery", "1.0", optional=False, groups=["main"])
        + package("kombu", "1.0", optional=False, groups=["main", "dev"], markers="python_version >= '3'")
        + package("kombu", "1.5", optional=False, groups=["main"], markers="python_version < '3'")
        + package("devtool", "1.0", optional=False, groups=["dev"])
        + package("extra", "1.0", optional=True, groups=["main"], markers='extra == "more"')
    )
    assert built_versions(built({"pyproject.toml": POETRY, "poetry.lock": lock})) == {"celery": "1.0", "kombu": "1.0"}


def test_poetry_markers_by_group() -> None:
    markers = {"main": "os_name == 'nt'", "dev": "python_version < '3'"}
    lock = '[[package]]\nname = "a"\nversion = "1"\ngroups = ["main", "dev"]\n[package.markers]\n' + "".join(
        f'{group} = "{marker}"\n' for group, marker in markers.items()
    )
    assert locks.poetry_lock(lock, POETRY, (), ()) == locks.Pinned(("a==1 ; ((os_name == 'nt'))",))
    both = locks.poetry_lock(lock, POETRY, (), ("dev",))
    assert both == locks.Pinned(("a==1 ; ((os_name == 'nt') or (python_version < '3'))",))


def test_poetry_extras_that_were_chosen_are_in() -> None:
    lock = package("extra", "1.0", optional=True, groups=["main"], markers='extra == "more" or extra == "all"')
    assert locks.poetry_lock(lock, POETRY, ("more",), ()) == locks.Pinned(
        ("extra==1.0 ; (python_version >= '0' or extra == \"all\")",)
    )


@pytest.mark.parametrize("category", [{}, {"category": "main"}])
def test_poetry_of_old_knows_no_groups_so_the_graph_is_walked(
    built: Builder, index: Index, category: dict[str, str]
) -> None:
    index.add("devtool", "1.0")
    index.add("kombu", "1.2")
    lock = (
        package("celery", "1.0", optional=False, **category)
        + package("kombu", "1.0", optional=False, **category)
        + package("kombu", "1.2", optional=False, **category)
        + package("devtool", "1.0", optional=False, **({"category": "dev"} if category else {}))
    )
    # kombu 1.5 would be newest, 1.2 is the newest that the lock knows
    assert built_versions(built({"pyproject.toml": POETRY, "poetry.lock": lock})) == {"celery": "1.0", "kombu": "1.2"}


def test_of_two_locked_versions_the_older_is_tried_when_the_newer_does_not_fit(built: Builder, index: Index) -> None:
    index.packages["celery"].clear()
    index.add("celery", "1.0", "kombu<1.2")
    index.add("kombu", "1.2")
    lock = package("celery", "1.0") + package("kombu", "1.2") + package("kombu", "1.0")
    assert built_versions(built({"pyproject.toml": POETRY, "poetry.lock": lock}))["kombu"] == "1.0"


def test_a_locked_version_that_is_gone_is_the_projects_failure(built: Builder) -> None:
    lock = package("celery", "1.0", groups=["main"]) + package("kombu", "0.1", groups=["main"])
    with pytest.raises(EnvironmentFailed) as caught:
        built({"pyproject.toml": POETRY, "poetry.lock": lock})
    assert ("package", "kombu") in caught.value.failure.missing


def test_poetry_places() -> None:
    lock = (
        package("a", "1", groups=["main"])
        + '[package.source]\ntype = "git"\nurl = "https://x/a.git"\nreference = "main"\nresolved_reference = "abc"\n'
        + package("b", "1", groups=["main"])
        + '[package.source]\ntype = "directory"\nurl = "libs/b"\n'
        + package("c", "1", groups=["main"])
        + '[package.source]\ntype = "legacy"\nurl = "https://own/simple"\nreference = "own"\n'
        + package("d", "1", groups=["main"])
        + '[package.source]\ntype = "url"\nurl = "https://x/d.whl"\n'
    )
    assert locks.poetry_lock(lock, POETRY, (), ()) == locks.Pinned(
        ("a @ git+https://x/a.git@abc", "./libs/b", "c==1", "d @ https://x/d.whl"),
        ("--extra-index-url https://own/simple",),
    )


def test_poetry_without_a_lock(built: Builder) -> None:
    environment = built({"pyproject.toml": POETRY.replace(', extras = ["x"]', "")}, as_of="2025-06-01T00:00:00Z")
    assert built_versions(environment) == {"celery": "1.0", "kombu": "2.0"}


# --- pdm, pipenv, pylock -----------------------------------------------------------------------------

PDM = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["celery"]\n[dependency-groups]\ndev = ["devtool"]\n'


def test_pdm_with_groups(built: Builder) -> None:
    lock = (
        package("celery", "1.0", groups=["default"])
        + package("kombu", "1.0", groups=["default"], marker='python_version >= "3"')
        + package("gone", "1.0", groups=["default"], marker='python_version < "3"')
        + package("devtool", "1.0", groups=["dev"])
    )
    assert built_versions(built({"pyproject.toml": PDM, "pdm.lock": lock})) == {"celery": "1.0", "kombu": "1.0"}


def test_pdm_without_groups(built: Builder) -> None:
    lock = package("celery", "1.0") + package("kombu", "1.0") + package("devtool", "1.0")
    assert built_versions(built({"pyproject.toml": PDM, "pdm.lock": lock})) == {"celery": "1.0", "kombu": "1.0"}


def test_pipenv(built: Builder) -> None:
    lock = {
        "_meta": {"sources": [{"url": "https://pypi.org/simple"}]},
        "default": {
            "celery": {"version": "==1.0", "hashes": [], "index": "pypi", "markers": "python_version >= '3'"},
            "kombu": {"version": "==1.0", "sys_platform": "!= 'win32'"},
            "gone": {"version": "==1.0", "markers": "python_version < '3'"},
        },
        "develop": {"devtool": {"version": "==1.0"}},
    }
    environment = built({"Pipfile": "[packages]\ncelery = '*'\n", "Pipfile.lock": json.dumps(lock)})
    assert built_versions(environment) == {"celery": "1.0", "kombu": "1.0"}


def test_pipfile_alone(built: Builder) -> None:
    pipfile = '[packages]\ncelery = "*"\nkombu = {version = "==1.0"}\n[dev-packages]\ndevtool = "*"\n'
    assert built_versions(built({"Pipfile": pipfile})) == {"celery": "1.0", "kombu": "1.0"}


def test_pylock(built: Builder) -> None:
    lock = "lock-version = '1.0'\n" + (package("celery", "1.0") + package("kombu", "1.0")).replace(
        "package", "packages"
    )
    assert built_versions(built({"pylock.toml": lock})) == {"celery": "1.0", "kombu": "1.0"}


@pytest.mark.parametrize("name", ["poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"])
def test_a_lock_that_is_none_is_the_projects_failure(built: Builder, name: str) -> None:
    with pytest.raises(EnvironmentFailed, match=f"{name} cannot be read"):
        built({name: "<<<<<<< HEAD celery\n", "pyproject.toml": PDM})


# --- uv ----------------------------------------------------------------------------------------------

WORKSPACE = """
[project]
name = "root"
version = "1"
requires-python = ">=3.8"
dependencies = ["kombu"]
[dependency-groups]
dev = ["devtool"]
[tool.uv.workspace]
members = ["services/*", "libs/*"]
"""
MAIL = """
[project]
name = "mail"
version = "1"
requires-python = ">=3.8"
dependencies = ["celery", "common"]
[tool.uv.sources]
common = {workspace = true}
"""
COMMON = '[project]\nname = "common"\nversion = "1"\nrequires-python = ">=3.8"\ndependencies = ["extra"]\n'


def uv_lock(tmp_path: Path, runner: LocalRunner, caller: dict[str, str], files: dict[str, str | bytes]) -> bytes:
    """What the real uv locks for these files, as of September 2024."""
    folder = lay(tmp_path / "locking", files)
    command = [*runner.uv(), "lock", "--quiet", "--exclude-newer", "2024-09-01T00:00:00Z"]
    subprocess.run(command, cwd=folder, env=caller, check=True)
    return (folder / "uv.lock").read_bytes()


def test_uv(built: Builder, runner: LocalRunner, caller: dict[str, str], index: Index, tmp_path: Path) -> None:
    index.add("devtool", "1.0")
    project = PDM.replace('version = "1"', 'version = "1"\nrequires-python = ">=3.8"')
    lock = uv_lock(tmp_path, runner, caller, {"pyproject.toml": project})
    index.add("kombu", "1.9")  # newer than the lock, older than the date
    environment = built({"pyproject.toml": project, "uv.lock": lock})
    assert dict(environment.packages) == {"celery": "1.0", "kombu": "1.5"}


def test_a_uv_lock_newer_than_the_date_is_taken_as_written(
    built: Builder, runner: LocalRunner, caller: dict[str, str], index: Index, tmp_path: Path
) -> None:
    index.add("devtool", "1.0")
    project = PDM.replace('version = "1"', 'version = "1"\nrequires-python = ">=3.8"')
    lock = uv_lock(tmp_path, runner, caller, {"pyproject.toml": project})
    environment = built({"pyproject.toml": project, "uv.lock": lock}, as_of="2024-02-01T00:00:00Z")
    assert dict(environment.packages) == {"celery": "1.0", "kombu": "1.5"}


def test_a_uv_workspace(
    built: Builder, runner: LocalRunner, caller: dict[str, str], index: Index, tmp_path: Path
) -> None:
    index.add("devtool", "1.0")
    index.add("extra", "1.0")
    files: dict[str, str | bytes] = {
        "pyproject.toml": WORKSPACE, "services/mail/pyproject.toml": MAIL, "libs/common/pyproject.toml": COMMON,
        "libs/common/src/common/__init__.py": "",
    }  # fmt: skip
    lock = uv_lock(tmp_path, runner, caller, files)
    environment = built({**files, "uv.lock": lock}, subfolder="services/mail")
    assert dict(environment.packages) == {"celery": "1.0", "kombu": "1.5", "extra": "1.0"}


# --- versions as poetry writes them ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [  # the table of https://python-poetry.org/docs/dependency-specification/
        ("^1.2.3", ["1.2.3", "1.9"], ["1.2.2", "2.0.0"]),
        ("^1.2", ["1.2.0", "1.9"], ["1.1", "2.0"]),
        ("^1", ["1.0.0"], ["2.0", "0.9"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0.0", ["0.0.9"], ["0.1.0"]),
        ("^0", ["0.9"], ["1.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0"]),
        ("~1.2", ["1.2.0"], ["1.3.0"]),
        ("~1", ["1.9"], ["2.0"]),
        ("*", ["0", "99"], []),
        ("1.*", ["1.9"], ["2.0"]),
        ("1.2.3", ["1.2.3"], ["1.2.4"]),
        ("==1.2.3", ["1.2.3"], ["1.2.4"]),
        (">=1.2,<1.5", ["1.2", "1.4"], ["1.5"]),
        (">=1.2 <1.5", ["1.2", "1.4"], ["1.5"]),
        ("!=1.3", ["1.2"], ["1.3"]),
        ("^1.0 || ^2.0", ["1.0", "2.9"], ["0.9", "3.0"]),
        ("~=1.2", ["1.9"], ["2.0"]),
    ],
)
def test_constraints(constraint: str, inside: list[str], outside: list[str]) -> None:
    specifier = SpecifierSet(poetry.specifier_of(constraint))
    assert [version for version in inside if Version(version) not in specifier] == []
    assert [version for version in outside if Version(version) in specifier] == []


@given(
    st.sampled_from("^~"), st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 9)
)
def test_a_caret_and_a_tilde_begin_at_the_version_and_end_before_the_next(
    sign: str, release: list[int], place: int, step: int
) -> None:
    text = ".".join(map(str, release))
    specifier = SpecifierSet(poetry.specifier_of(sign + text))
    assert Version(text) in specifier
    bumped = [*release, *([0] * 4)][:4]
    bumped[place] += step
    if place < len(release):
        bumped[place + 1 :] = [0] * (3 - place)
    breaking = _first_breaking(sign, release)
    assert (Version(".".join(map(str, bumped))) in specifier) == (place > breaking)


def _first_breaking(sign: str, release: list[int]) -> int:
    """The last place that must stay as it is, told apart from the code: by the documentation's words."""
    if sign == "~":
        return min(len(release), 2) - 1
    return next((index for index, part in enumerate(release) if part), len(release) - 1)


def test_what_is_no_constraint() -> None:
    with pytest.raises(ValueError, match="not a version constraint"):
        poetry.specifier_of("latest please")
