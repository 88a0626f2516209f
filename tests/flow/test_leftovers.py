"""A session leaves no process, not even one that no part of it knows of, and no folder, whoever else sweeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.flow import session
from bisect_celery.flow.sweep import sweep
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Owner


def test_nothing_labelled_is_left_when_the_guardian_is_dismissed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "_owner", None)
    owner = proc.own(f"test-{uuid.uuid4().hex}")
    daemonizes = "setsid sh -c 'echo $$ > $0; exec sleep 60' $0 > /dev/null 2>&1 & until [ -s $0 ]; do :; done"
    with session._guarded(owner, tmp_path / "scratch") as guardian:
        proc.run(("sh", "-c", daemonizes, f"{tmp_path}/pid"), deadline=20)
        daemon = int((tmp_path / "pid").read_text())
        assert proc.start_time(daemon) is not None
        assert proc.start_time(guardian.pid) is not None
    assert proc.start_time(daemon) is None
    assert Token().wait(lambda: not list(proc.labelled(owner)), 20)


A_SESSION = """
import sys, time
from pathlib import Path
from bisect_celery import proc
from bisect_celery.lab.guardian import Guardian
owner = proc.own(sys.argv[1])
scratch = Path(sys.argv[2])
guardian = Guardian(owner, scratch)
program = proc.start(["sleep", "600"])
scratch.mkdir(parents=True)
(scratch.parent / "owner").write_text(owner.label())
print(owner.label(), guardian.pid, program.pid, flush=True)
time.sleep(600)
"""


def home(folder: Path) -> Home:
    made = Home({"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")})
    made.make()
    return made


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[tuple[Owner, int, Path]]:
    """A session that was killed, whose guardian has not yet come to it: its owner, the guardian, the folder."""
    scratch = home(tmp_path / "theirs").session_folder("20261123-114537-d3ce") / "scratch"
    words = [sys.executable, "-c", A_SESSION, f"test-{uuid.uuid4().hex}", str(scratch)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        label, guardian, _ = process.stdout.readline().split()
        os.kill(int(guardian), signal.SIGSTOP)
        process.kill()
    owner = Owner.parse(label)
    assert owner is not None
    try:
        yield owner, int(guardian), scratch
    finally:
        proc.kill_labelled(owner)


def test_who_sweeps_leaves_a_guardian_of_another_home_to_its_work(
    dead: tuple[Owner, int, Path], tmp_path: Path
) -> None:
    owner, guardian, scratch = dead
    sweep(home(tmp_path / "ours"))
    assert proc.start_time(guardian) is not None
    os.kill(guardian, signal.SIGCONT)
    assert Token().wait(lambda: not list(proc.labelled(owner)), 30)
    assert not scratch.exists()


def test_who_sweeps_the_same_home_does_the_work_itself(dead: tuple[Owner, int, Path], tmp_path: Path) -> None:
    owner, guardian, scratch = dead
    sweep(home(tmp_path / "theirs"))
    assert proc.start_time(guardian) is None
    assert not list(proc.labelled(owner))
    assert not scratch.exists()
