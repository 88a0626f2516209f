"""A project with a compose file, from its config to git's own words: the migration that broke it is found.

Without containers its variables lead to servers of this machine; with them to its own, by their names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import migrated_incident
import pytest
from bench import Bench
from small_incident import git

CONFIG = """\
migrate = "python manage.py migrate"
task = "orders.tasks.place"
args = ["Ada", 3]
count = 3
"""


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.compose
def test_a_migration_is_the_first_bad_commit(tmp_path: Path, bench_at: Callable[[Path], Bench]) -> None:
    """By the user's own `git bisect run`, which makes the fewest trials: the ends, and the one between them."""
    folder = tmp_path / "shop"
    shas = migrated_incident.written(folder)
    (folder / "bisect-celery.toml").write_text(CONFIG)
    bench = bench_at(folder)
    git(folder, "bisect", "start", shas[-1], shas[0])
    words = [sys.executable, "-m", "bisect_celery", "try", "--exit-code", "--stack", "process", "--broker", "embedded"]
    done = subprocess.run(
        ["git", "bisect", "run", *words, "--worker", "-c 1"], cwd=folder, env=bench.environment(), capture_output=True,
        text=True, timeout=400, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert f"{shas[1]} is the first bad commit" in told
    assert "Results go to a Redis of each trial's own" in told
    assert "IntegrityError" in told
    assert "compose.yaml: the worker is its service worker" in told
    # Two sets of migrations: each is gone through once, and every other trial begins with a copy.
    migrated = [path.read_text() for path in sorted(bench.state.glob("**/trials/*/migrate.out"))]
    fresh = ["No migrations to apply" not in text for text in migrated]
    assert len(fresh) == 4, told
    assert fresh.count(True) == 2
    assert bench.left() == []
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and named(pid, str(bench.state))]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.docker
@pytest.mark.compose
def test_in_containers_its_own_servers_stand_beside_it(tmp_path: Path, bench_at: Callable[[Path], Bench]) -> None:
    """Its database, its cache and its results are where its files say, and so is nothing of ours."""
    folder = tmp_path / "shop"
    migrated_incident.written(folder)
    (folder / "bisect-celery.toml").write_text(CONFIG)
    done = bench_at(folder).run("try", "HEAD~1", "--exit-code", "--stack", "container", deadline=500)
    assert done.code == 1, done.text
    assert "IntegrityError" in done.text
    servers = "bisect-celery/services:local"
    assert f"beside the trials stand db ({servers}), rabbitmq (rabbitmq:3), redis ({servers})" in done.text
    assert "Results go to" not in done.text
    assert "not-for-anybody" not in done.text


def named(pid: str, folder: str) -> bool:
    """Whether a process has that folder among its words: a server's data lies there."""
    try:
        return folder.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
