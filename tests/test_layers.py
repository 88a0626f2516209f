"""The layer rule holds, and the script that checks it would notice if it did not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKER = ROOT / "scripts" / "check-layers"


def check(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "scripts" / "check-layers"], capture_output=True, text=True, check=False
    )


def test_the_layers_hold() -> None:
    checked = check(ROOT)
    assert checked.returncode == 0, checked.stdout
    assert "nothing out of place" in checked.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("layers")
    (tmp_path / "scripts").mkdir()
    shutil.copy(CHECKER, tmp_path / "scripts")
    shutil.copytree(ROOT / "bisect_celery", tmp_path / "bisect_celery", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


PLANTED = {
    "core reads a clock": ("core/judge.py", "import time", "core is pure"),
    "core reads files": ("core/ledger.py", "from pathlib import Path", "core is pure"),
    "core starts programs": ("core/judge.py", "from bisect_celery import proc", "core may not import proc"),
    "core sees an edge": (
        "core/ledger.py",
        "from bisect_celery.store.database import Store",
        "core may not import store",
    ),
    "edges see each other": ("stack/process.py", "from bisect_celery.repo.git import Git", "stack may not import repo"),
    "an edge sees core": ("probe/logs.py", "from bisect_celery.core import judge", "probe may not import core"),
    "an edge sees the flow": ("store/database.py", "import bisect_celery.flow.trials", "store may not import flow"),
    "lab sees the flow": ("lab/watch.py", "from bisect_celery.flow import ends", "lab may not import flow"),
    "cli sees an edge": ("cli/run.py", "from bisect_celery.repo import git", "cli may not import repo"),
    "cli sees more of lab": ("cli/run.py", "from bisect_celery.lab.watch import Watch", "cli may import of lab only"),
    "the guest sees us": ("guest/sender.py", "from bisect_celery import model", "guest may not import model"),
    "kombu away from home": ("lab/watch.py", "import kombu", "`kombu` lives in probe"),
    "django away from home": ("lab/signs.py", "from django.conf import settings", "`django` lives in"),
    "docker away from home": ("flow/hunt.py", "import docker", "`docker` lives in stack/engine"),
    "docker in another part": ("stack/containers/place.py", "import docker", "`docker` lives in stack/engine"),
    "services see containers": (
        "stack/services/redis.py",
        "from bisect_celery.stack.containers import place",
        "stack/services may not import stack/containers",
    ),
    "inside a function": ("core/judge.py", "def _late():\n    import os\n    return os", "core is pure"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(copy: Path, name: str) -> None:
    path, line, complaint = PLANTED[name]
    planted = copy / "bisect_celery" / path
    clean = planted.read_text()
    planted.write_text(f"{clean}\n{line}\n")
    checked = check(copy)
    planted.write_text(clean)
    assert checked.returncode == 1, checked.stdout
    found = checked.stdout.splitlines()
    assert found
    for said in found:  # `from a import b` may be two: the module, and what it takes of it
        assert said.startswith(f"bisect_celery/{path}:")
        assert complaint in said
