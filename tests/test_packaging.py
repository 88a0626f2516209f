"""A wheel from a clean clone holds all that the tool reads, and making one says nothing into a user's terminal."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.network  # the build's own tools come from the package index
def test_a_wheel_holds_every_file_of_the_package_and_building_it_warns_of_nothing(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if name.startswith("bisect_celery/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    stale = clone / "bisect_celery" / "core" / "__pycache__"
    stale.mkdir()
    (stale / "judge.cpython-311.pyc").write_bytes(b"stale")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--wheel-dir", tmp_path / "wheels", clone],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-2000:]
    said = [line for line in (built.stdout + built.stderr).splitlines() if "Warning" in line or "deprecated" in line]
    assert said == []
    (wheel,) = (tmp_path / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("/licenses/LICENSE") for name in packed.namelist())
    assert held == {name for name in listed if name.startswith("bisect_celery/")}
