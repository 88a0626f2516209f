"""Run a script of ours as an ordinary user, in a folder and with an interpreter that such a one can read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bisect_celery"
NOBODY = 65534
_AS_NOBODY = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"


@contextmanager
def readable_folder() -> Iterator[Path]:
    """Holds our package, and a folder `data` of nobody's own: pytest's temporary folders are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(PACKAGE, folder / "bisect_celery", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "data").mkdir()
        os.chown(folder / "data", NOBODY, NOBODY)
        yield folder


def printed(folder: Path, script: str) -> str:
    """What `script` prints, run in `folder` as nobody; it must succeed."""
    argv = [_readable_python(), "-c", _AS_NOBODY + script]
    ended = subprocess.run(argv, cwd=folder, timeout=120, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _readable_python() -> str:
    script = _AS_NOBODY + "import sys, tempfile; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        if Path(python).exists() and subprocess.run([python, "-c", script], capture_output=True).returncode == 0:
            return python
    pytest.skip("no Python of 3.11 or later that an ordinary user can read")
