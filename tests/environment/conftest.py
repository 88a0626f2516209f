"""What these tests share: an index of our own, a runner on this machine, and a way to build a few files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from package_index import Index, lay, serve

from bisect_celery.environment import LocalRunner, build
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment


@pytest.fixture
def index() -> Iterator[Index]:
    """An index that holds Celery 1.0 (needs kombu) and 2.0 (2025), and the setuptools of old."""
    made = Index()

    made.add("celery", "1.0", "kombu")
    made.add("celery", "2.0", "kombu", date="2025-01-01T00:00:00Z")
    made.add("kombu", "1.0")
    made.add("kombu", "1.5", date="2024-08-01T00:00:00Z")
    made.add("kombu", "2.0", date="2025-01-01T00:00:00Z")
    made.add("setuptools", "65.0")
    with serve(made):
        yield made


Builder = Callable[..., Environment]


@pytest.fixture
def caller(index: Index, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose index is ours; little patience, so that failures come at once."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_DEFAULT_INDEX": index.url,
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_HTTP_RETRIES": "0",
    }  # fmt: skip


@pytest.fixture
def runner(caller: dict[str, str], tmp_path: Path) -> LocalRunner:
    return LocalRunner(tmp_path / "builds", caller)


@pytest.fixture
def built(runner: LocalRunner, caller: dict[str, str], cancel: Token, tmp_path: Path) -> Builder:
    """`built({"requirements.txt": ...})`: lay the files out and build their environment as of September 2024."""
    count = 0

    def make(files: dict[str, str | bytes], *, subfolder: str = "", as_of: str = "2024-09-01T00:00:00Z") -> Environment:
        nonlocal count
        count += 1
        layout = tmp_path / f"tree-{count}"
        lay(layout, files)
        return build(layout, subfolder=subfolder, python=None, as_of=as_of, runner=runner, cancel=cancel, caller=caller)

    return make
