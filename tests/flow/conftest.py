"""What the tests of whole runs share: small incidents, written once, and a home for each test over one cache."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import small_incident
from bench import Bench
from small_incident import Incident

_numbers = itertools.count()


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments and bytecode of all these tests: built by the first that asks."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    return small_incident.failing(tmp_path_factory.mktemp("failing") / "shop")


@pytest.fixture(scope="session")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    return small_incident.hanging(tmp_path_factory.mktemp("hanging") / "shop")


@pytest.fixture
def bench_at(tmp_path: Path, caches: Path) -> Callable[[Path], Bench]:
    """`bench_at(folder)`: a user's machine with nothing of ours on it but caches, commands typed in `folder`."""

    def make(folder: Path) -> Bench:
        machine = tmp_path / f"machine{next(_numbers)}"
        bench = Bench(folder, machine / "state", caches, machine / "tmp")
        bench.temporary.mkdir(parents=True)
        (bench.state / "run").mkdir(parents=True, mode=0o700)
        return bench

    return make
