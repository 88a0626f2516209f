"""The demo on all three stacks, as a user types it, ends at the right hunk and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from bisect_celery import proc
from bisect_celery.demo.incident import write_incident
from bisect_celery.stack.container_engine import Engine

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 900
NOBODY = 65534


def environment(home: Path) -> dict[str, str]:
    """What a user has: a home of their own. The machine's package cache is shared, so that this is about us."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "GIT_"))}
    cache = os.environ.get("BISECT_CELERY_TEST_UV_CACHE", "")
    return {
        **kept,
        "HOME": str(home),
        "BISECT_CELERY_HOME": str(home / "state"),
        "UV_CACHE_DIR": cache,
        "NO_COLOR": "1",
    }


def check(report: dict[str, object], shop: Path, home: Path) -> None:
    """The report is right by the answer that the incident itself keeps, and the patch really applies."""
    answer = write_incident(home / "answer")
    jsonschema.validate(report, json.loads((ROOT / "docs" / "report.schema.json").read_text()))
    assert report["outcome"] == "confirmed"
    culprit = report["culprit"]
    assert isinstance(culprit, dict)
    assert culprit["sha"] == answer.culprit
    for side in ("cause", "fix"):
        assert [(atom["path"], atom["lines"]) for atom in culprit[side]] == [
            (answer.culprit_path, [f"-{answer.culprit_line}"])
        ]
    assert git(shop, "status", "--porcelain", "--ignored") == ""
    assert git(shop, "worktree", "list", "--porcelain").count("worktree ") == 1
    git(shop, "checkout", "--quiet", answer.culprit)
    (patch,) = home.glob("state/**/report/fix.patch")
    git(shop, "apply", str(patch))
    assert answer.culprit_line in (shop / answer.culprit_path).read_text()


def git(folder: Path, *words: str) -> str:
    safe = ["-c", f"safe.directory={folder}"]
    return subprocess.run(["git", *safe, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def nothing_left(home: Path) -> None:
    assert not list((home / "state").glob("**/scratch"))
    ours = [pid for pid, owner in proc.labelled() if (home / "state" / "state" / "sessions" / owner.session).exists()]
    assert not ours


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(DEADLINE)
@pytest.mark.docker
def test_demo_in_containers(tmp_path: Path) -> None:
    home, shop = tmp_path / "home", tmp_path / "shop"
    home.mkdir()
    command = [sys.executable, "-m", "bisect_celery", "demo", str(shop), "--json", "--stack", "container"]
    ended = subprocess.run(
        command, env=environment(home), cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    check(json.loads(ended.stdout), shop, home)
    nothing_left(home)
    with Engine.connect() as engine:
        owners = {label.rpartition("/")[2] for found in engine.owned().values() for _, label in found}
    sessions = home / "state/state/sessions"
    assert list(sessions.iterdir())
    assert not [session for session in owners if (sessions / session).exists()]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own are closed to everybody else."""
    folder = Path(tempfile.mkdtemp(prefix="bisect-celery-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(DEADLINE)
def test_demo_from_a_clean_checkout_by_somebody_who_is_not_root(open_folder: Path) -> None:
    """`scripts/bisect-celery demo` sets itself up; no Docker, no RabbitMQ is needed, and no rights."""
    checkout, home, shop = open_folder / "checkout", open_folder / "home", open_folder / "shop"
    copy_checkout(checkout)
    home.mkdir()
    command = [str(checkout / "scripts" / "bisect-celery"), "demo", str(shop), "--json"]
    command += ["--stack", "process", "--broker", "embedded"]
    # A cache that another user owns is not theirs to write.
    env = {**environment(home), "UV_CACHE_DIR": str(home / "uv")}
    ended = subprocess.run(
        as_nobody(command, open_folder), env=env, cwd=open_folder, capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "emulated" in next(line for line in ended.stderr.splitlines() if "stack" in line and "broker" in line)
    report = next(home.glob("state/**/report/report.md")).read_text()
    assert "mulated" in report.splitlines()[0]
    check(json.loads(ended.stdout), shop, home)
    nothing_left(home)


def copy_checkout(target: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0")[:-1]:
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def as_nobody(command: list[str], folder: Path) -> list[str]:
    """Root hands the folder over and steps down; anybody else just runs."""
    if os.geteuid() != 0:
        return command
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
