"""The demo in containers, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from demo_seen import DEADLINE, check, environment, nothing_left

from bisect_celery.stack.engine.api import Engine


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
