"""The demo from a clean checkout, as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_seen import DEADLINE, ROOT, check, environment, nothing_left

NOBODY = 65534


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
