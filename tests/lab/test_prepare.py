"""When a migrated database is copied, kept, and begun anew. A place that only notes what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from bisect_celery.lab.cancel import Token
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.prepare import _silent, prepare
from bisect_celery.model import Environment, Failure, Place, Probe, Program, Running

HERE = Environment("key", "/env/bin/python", "/env/bin")


@dataclass
class Ended:
    code: int
    out: Path = Path("/nowhere")
    err: Path = Path("/nowhere")

    def alive(self) -> bool:
        return False

    def exit_code(self) -> int:
        return self.code


@dataclass
class Noting:
    """`kept` are keys of databases to copy, `codes` the exit statuses of the programs to come."""

    kept: set[str] = field(default_factory=set)
    codes: list[int] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    checkout: str = "/tree"
    work_dir: str = "/work"
    guest: str = "/guest"
    broker_url: str = "amqp://me:pw@127.0.0.1:5672/mine"
    bindings: dict[str, str] = field(default_factory=dict)

    def start(self, program: Program) -> Running:
        self.done.append(program.name)
        return cast(Running, Ended(self.codes.pop(0) if self.codes else 0))

    def copy_database(self, key: str) -> bool:
        self.done.append("copy" if key in self.kept else "nothing to copy")
        return key in self.kept

    def empty_database(self) -> None:
        self.done.append("empty")

    def keep_database(self, key: str) -> None:
        self.done.append(f"keep {key}")


def prepared(place: Noting, key: str | None = "k", prepare_too: bool = True) -> Failure | None:
    plan = Plan("shop", Probe(), migrate="migrate", prepare="load" if prepare_too else None, database_key=key)
    return prepare(cast(Place, place), plan, HERE, Token())


def test_the_first_of_a_key_is_kept_before_anything_else_is_put_into_it() -> None:
    place = Noting()
    assert prepared(place) is None
    assert place.done == ["nothing to copy", "migrate", "keep k", "prepare"]


def test_a_copy_is_migrated_too_and_not_kept_again() -> None:
    place = Noting({"k"})
    assert prepared(place) is None
    assert place.done == ["copy", "migrate", "prepare"]


def test_what_fails_on_a_copy_is_asked_of_an_empty_database() -> None:
    place = Noting({"k"}, [1])
    assert prepared(place) is None
    assert place.done == ["copy", "migrate", "empty", "migrate", "keep k", "prepare"]


def test_what_fails_on_an_empty_database_is_the_revisions_own_and_nothing_is_kept() -> None:
    for place, times in ((Noting(codes=[1]), 1), (Noting({"k"}, [1, 1]), 2)):
        failure = prepared(place)
        assert failure is not None
        assert "`migrate` ended with status 1" in failure.reason
        assert place.done.count("migrate") == times
        assert not {"keep k", "prepare"} & set(place.done)


def test_without_a_key_nothing_is_copied_or_kept() -> None:
    place = Noting({"k"})
    assert prepared(place, None, prepare_too=False) is None
    assert place.done == ["migrate"]


def test_who_goes_on_telling_is_not_silent(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("")
    patient, at_once = (_silent(cast(Running, Ended(0, out)), deadline) for deadline in (60.0, 0.0))
    assert not patient()
    at_once()
    assert at_once()
    assert not patient()
    out.write_text("Applying shop.0001_initial... OK\n")
    assert not patient()


def test_who_stays_silent_is_ended_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Stuck(Ended):
        stopped: bool = False

        def alive(self) -> bool:
            return not self.stopped

        def stop(self) -> None:
            self.stopped = True

    (tmp_path / "out").write_text("Applying shop.0001_initial...\n")
    stuck = Stuck(0, tmp_path / "out")
    monkeypatch.setattr("bisect_celery.lab.prepare._silent", lambda running: lambda: True)
    place = Noting()
    monkeypatch.setattr(place, "start", lambda program: stuck)
    failure = prepared(place)
    assert failure is not None
    assert stuck.stopped
    assert "said nothing for 300 s" in failure.reason
    assert failure.timed_out
    assert failure.lines == ("Applying shop.0001_initial...",)
