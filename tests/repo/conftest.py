"""What the tests of `repo/` share: repositories of users, and ours beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_repository import Made, fingerprint

from bisect_celery.model import Revision, Verdict
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository


@pytest.fixture(autouse=True)
def _no_system_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "user")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    return lambda name, *init: Made(tmp_path / name, *init)


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Callable[..., PrivateRepository]]:
    """Opens our repository for a made one."""
    opened: list[PrivateRepository] = []

    def open_for(made: Made, name: str = "private") -> PrivateRepository:
        opened.append(PrivateRepository.create(tmp_path / name, open_repository(made.path)))
        return opened[-1]

    yield open_for
    for one in opened:
        one.close()
        assert not (one.path / "tmp").exists()


@pytest.fixture
def untouched(made: Made) -> Iterator[None]:
    """The user's whole folder, .git included, is byte-identical after the test's use of it; call `made` before."""
    before = fingerprint(made.path)
    yield
    assert fingerprint(made.path) == before


@pytest.fixture
def judge_number() -> Callable[[PrivateRepository, int], Callable[[Revision], Verdict]]:
    """A verdict by the number in the file `n`: bad from `first_bad` on."""

    def judging(private: PrivateRepository, first_bad: int) -> Callable[[Revision], Verdict]:
        def answer(revision: Revision) -> Verdict:
            content = private.read(revision.tree, "n")
            assert content is not None
            return Verdict.BAD if int(content) >= first_bad else Verdict.GOOD

        return answer

    return judging
