"""A library's revision joins an app: whatever the app's dependencies are written in, nothing else moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from package_index import Index, lay

from bisect_celery.environment import EnvironmentFailed, LocalRunner, detect_dependencies, source_roots
from bisect_celery.environment import library as libraries
from bisect_celery.environment.caller import installation_environment
from bisect_celery.environment.requirements import name_of
from bisect_celery.environment.resolve import Bench
from bisect_celery.environment.tree import Folder
from bisect_celery.lab.cancel import Token

LIBRARY = "library-under-test"
Joiner = Callable[..., dict[str, str]]

PEP_621 = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["celery<2"]\n'
LOCKED = {"celery": "1.0", "kombu": "1.0", "amqp": "1.0"}
POETRY_LOCK = (
    "".join(
        f'[[package]]\nname = "{name}"\nversion = "{number}"\noptional = false\npython-versions = "*"\n'
        'groups = ["main"]\nfiles = []\n\n'
        for name, number in LOCKED.items()
    )
    + '[metadata]\nlock-version = "2.1"\npython-versions = "^3.11"\ncontent-hash = "x"\n'
)
OLD_POETRY_LOCK = POETRY_LOCK.replace('groups = ["main"]\n', "").replace("2.1", "2.0")
POETRY = '[tool.poetry]\nname = "shop"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.11"\ncelery = "^1"\n'
PIPFILE_LOCK = json.dumps({"_meta": {}, "default": {name: {"version": f"=={v}"} for name, v in LOCKED.items()}})
UV_LOCK = 'version = 1\nrequires-python = ">=3.11"\n\n' + "".join(
    f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ registry = "INDEX" }}\ndependencies = [{needs}]\n'
    f'wheels = [{{ url = "FILES/{name}/{name}-1.0-py3-none-any.whl", hash = "sha256:{"0" * 64}" }}]\n\n'
    for name, needs in (("amqp", ""), ("celery", '{ name = "kombu" }'), ("kombu", '{ name = "amqp" }'))
) + (
    '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "celery" }]\n'
    '[package.metadata]\nrequires-dist = [{ name = "celery", specifier = "<2" }]\n'
)  # fmt: skip
APPS: dict[str, dict[str, str]] = {
    "requirements": {"requirements.txt": "celery<2\nkombu==7.7  # in no index\n"},
    "pyproject.toml": {"pyproject.toml": PEP_621},
    "uv.lock": {"pyproject.toml": PEP_621, "uv.lock": UV_LOCK},
    "poetry.lock": {"pyproject.toml": POETRY, "poetry.lock": POETRY_LOCK},
    "old poetry.lock": {"pyproject.toml": POETRY, "poetry.lock": OLD_POETRY_LOCK},
    "Poetry": {"pyproject.toml": POETRY},
    "Pipfile.lock": {"Pipfile": '[packages]\ncelery = "*"\n', "Pipfile.lock": PIPFILE_LOCK},
    "Pipfile": {"Pipfile": '[packages]\ncelery = "<2"\n'},
}
IS_LOCKED = {"uv.lock", "poetry.lock", "old poetry.lock", "Pipfile.lock"}


@pytest.fixture
def joined(index: Index, runner: LocalRunner, caller: dict[str, str], cancel: Token, tmp_path: Path) -> Joiner:
    """`joined(app's files, what the revision requires)`: the environment of both, as of September 2024."""
    for number in ("1.0", "1.1", "2.0"):
        index.add("amqp", number)
    index.add("redis", "1.0")
    count = 0

    def make(app: dict[str, str], *requires: str, files: dict[str, str] | None = None) -> dict[str, str]:
        nonlocal count
        count += 1
        layout = tmp_path / f"tree-{count}"
        files = files or {"pyproject.toml": kombu(*requires), "kombu.py": f"NUMBER = {count}\n"}
        where = index.url.removesuffix("/simple") + "/files"
        app = {path: text.replace("INDEX", index.url).replace("FILES", where) for path, text in app.items()}
        lay(layout, {**app, **{f"{LIBRARY}/{path}": text for path, text in files.items()}})
        found = detect_dependencies(layout)
        assert found is not None
        path, version = runner.interpreter(None)
        environment = {**installation_environment(caller), "UV_CACHE_DIR": caller["UV_CACHE_DIR"]}
        bench = Bench(runner, path, version, "2024-09-01T00:00:00Z", environment, cancel)
        resolved = libraries.joined(bench, Folder(layout), found, LIBRARY)
        assert resolved.local == (LIBRARY,)
        return {str(name_of(line)): line.split("==")[1].split(" ")[0] for line in resolved.lines}

    return make


def kombu(*requires: str) -> str:
    extras = '[project.optional-dependencies]\nredis = ["redis"]\n'
    return f'[project]\nname = "kombu"\nversion = "9"\ndependencies = {json.dumps(requires)}\n{extras}'


@pytest.mark.parametrize("kind", APPS)
def test_a_revision_joins_whatever_the_app_is_written_in(joined: Joiner, kind: str) -> None:
    was = "1.0" if kind in IS_LOCKED else "2.0"
    first = joined(APPS[kind], "amqp")
    assert first == {"celery": "1.0", "amqp": was}, "the revision's release is not there, nor another celery"
    moved = joined(APPS[kind], "amqp==1.1")
    assert moved == {"celery": "1.0", "amqp": "1.1"}, "what it requires itself goes with it, and nothing else"


@pytest.mark.parametrize("kind", ["requirements", "poetry.lock"])
def test_what_the_app_itself_asks_for_moves_for_no_revision(joined: Joiner, kind: str) -> None:
    with pytest.raises(EnvironmentFailed) as failed:
        joined(APPS[kind], "celery>=2")
    assert "fit" in failed.value.failure.reason


def test_the_extras_that_others_ask_for_come_with_the_revision(joined: Joiner, index: Index) -> None:
    index.packages["celery"].clear()
    index.add("celery", "1.0", "kombu[redis]>=1")
    assert joined({"requirements.txt": "celery\n"}) == {"celery": "1.0", "redis": "1.0"}
    assert joined({"requirements.txt": "celery\nkombu[redis]==7.7\n"})["redis"] == "1.0"


def test_the_library_is_a_folder_beside_the_app(joined: Joiner) -> None:
    """As who works on both has it: the lock, or the list, names a path that leads out of the app."""
    for listed in ("-e ../kombu", "../kombu", "kombu @ file:../kombu"):
        assert joined({"requirements.txt": f"celery<2\n{listed}\n"}, "amqp<2") == {
            "celery": "1.0",
            "amqp": "1.1",
        }


def test_its_code_comes_first_on_the_path(tmp_path: Path) -> None:
    lay(
        tmp_path / "flat", {"requirements.txt": "celery", f"{LIBRARY}/setup.py": "", f"{LIBRARY}/kombu/__init__.py": ""}
    )
    assert source_roots(tmp_path / "flat", "", LIBRARY) == (LIBRARY,)
    lay(tmp_path / "src", {"requirements.txt": "celery", f"{LIBRARY}/setup.py": "", f"{LIBRARY}/src/kombu.py": ""})
    assert source_roots(tmp_path / "src", "", LIBRARY) == (f"{LIBRARY}/src",)
