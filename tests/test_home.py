"""Where things are kept: the XDG directories, ours alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bisect_celery.errors import InfraError
from bisect_celery.home import Home, folder_size, private_folder


def test_xdg(tmp_path: Path) -> None:
    plain = Home({"HOME": str(tmp_path)})
    assert plain.state == tmp_path / ".local/state/bisect-celery"
    assert plain.cache == tmp_path / ".cache/bisect-celery"
    said = Home({"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "relative"})
    assert said.state == Path("/s/bisect-celery")
    assert said.cache == Path("/h/.cache/bisect-celery")


def test_one_variable_overrides_all(tmp_path: Path) -> None:
    home = Home({"BISECT_CELERY_HOME": str(tmp_path / "own"), "XDG_STATE_HOME": "/s"})
    assert {home.state.parent, home.cache.parent} == {tmp_path / "own"}


def test_everything_is_ours_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home = Home({"BISECT_CELERY_HOME": str(tmp_path / "own")}).make()
        home.session_folder("s1")
    finally:
        os.umask(before)
    for path in (home.state, home.cache, home.sessions, home.sessions / "s1", home.repositories):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    home.state.chmod(0o755)
    home.make()
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700


def test_nothing_is_made_elsewhere_however_deep_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, runtime = tmp_path / "tmp", tmp_path / "run"
    for folder in (temporary, runtime):
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = set(Path("/tmp").glob("bisect-celery-*"))
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    Home({"BISECT_CELERY_HOME": str(deep), "XDG_RUNTIME_DIR": str(runtime)}).make().session_folder("s1")
    Home({"HOME": str(deep), "XDG_RUNTIME_DIR": str(runtime)}).make().session_folder("s1")
    assert [*temporary.iterdir(), *runtime.iterdir()] == []
    assert set(Path("/tmp").glob("bisect-celery-*")) <= before


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_what_is_no_session(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a session id"):
        Home({"BISECT_CELERY_HOME": str(tmp_path)}).session_folder(name)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InfraError, match=r"cannot be made|not a folder"):
            private_folder(path)


def test_what_is_kept_and_how_big(tmp_path: Path) -> None:
    home = Home({"BISECT_CELERY_HOME": str(tmp_path)}).make()
    (home.session_folder("s1") / "log").write_bytes(b"x" * 100_000)
    environment = home.builds / "environments" / "abc"
    environment.mkdir(parents=True)
    (environment / "a").write_bytes(b"x" * 50_000)
    os.link(environment / "a", environment / "b")
    (home.builds / "cache").mkdir()
    kept = {(one.kind, one.name): one.size for one in home.kept()}
    assert set(kept) == {("session", "s1"), ("environment", "abc"), ("cache", "cache")}
    assert 100_000 <= kept["session", "s1"] < 150_000
    assert 50_000 <= kept["environment", "abc"] < 90_000
    assert folder_size(tmp_path / "nothing") == 0
