"""What the demo has to show on every stack: the right hunk, a patch that applies, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema

from bisect_celery import proc
from bisect_celery.demo.incident import write_incident

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 900


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
