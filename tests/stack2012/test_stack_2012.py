"""The stack of the founding incident: Python 2.7, Django 1.3, django-celery 2.5, Celery 2.5.1, beside today's RabbitMQ.

The history's culprit takes out an import that its file does not use, and that alone made `audit.trail` be there for
another module's `on_success`. What that raises is, to Celery 2.5, an internal error, and it never acknowledges the
message (`celery.worker.job`, `if not exc_info.internal`): with late acknowledgement the worker soon holds all it may.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HISTORY = Path(__file__).resolve().parent / "history"
IMAGE = "bisect-celery/python2:local"
DEADLINE = 1500
CULPRIT = 11
CONFIG = """\
python = "2.7"
task = "letters.tasks.send"
args = [17, "March", "ada@example.org"]
expect = '"letter 17 sent to ada@example.org"'
"""


def git(folder: Path, *words: str, **variables: str) -> str:
    alone = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(folder)}
    names = {"GIT_COMMITTER_NAME": "Gazette", "GIT_COMMITTER_EMAIL": "gazette@gazette.example"}
    env = {"PATH": os.environ["PATH"], **alone, **names, **variables}
    return subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def gazette(tmp_path: Path) -> Path:
    folder = tmp_path / "gazette"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=master")
    patches = sorted(str(path) for path in HISTORY.glob("*.patch"))
    git(folder, "am", "--quiet", "--committer-date-is-author-date", *patches)
    return folder


def commits(folder: Path) -> list[str]:
    return git(folder, "rev-list", "--reverse", "HEAD").split()


def test_the_culprit_takes_an_unused_import_among_other_things(gazette: Path) -> None:
    """Its four files change in more than one way, and only one of them matters."""
    shown = git(gazette, "show", "--unified=0", "--format=", commits(gazette)[CULPRIT - 1])
    assert "-from audit.trail import note\n" in shown
    assert shown.count("diff --git ") == 4
    assert shown.count("\n@@ ") >= 7
    assert "note" not in git(gazette, "show", "HEAD:gazette/subscribers/tasks.py")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.docker
@pytest.mark.timeout(DEADLINE)
def test_the_stack_of_2012_ends_at_the_unused_import(gazette: Path, tmp_path: Path) -> None:
    """As a user types it, with four lines of configuration; the start line is found in supervisord's."""
    (gazette / "bisect-celery.toml").write_text(CONFIG)
    good, *_, bad = commits(gazette)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "GIT_"))}
    env = {
        **kept,
        "HOME": str(tmp_path),
        "BISECT_CELERY_HOME": str(tmp_path / "state"),
        "BISECT_CELERY_WORKER_IMAGE": IMAGE,
        "BISECT_CELERY_BUILDER_IMAGE": IMAGE,
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "bisect_celery", "run", good, bad, "--stack", "container", "--json"]
    ended = subprocess.run(command, env=env, cwd=gazette, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 0, ended.stderr[-4000:]
    report = json.loads(ended.stdout)
    jsonschema.validate(report, json.loads((ROOT / "docs" / "report.schema.json").read_text()))
    assert report["outcome"] == "confirmed"
    culprit = report["culprit"]
    assert culprit["sha"] == commits(gazette)[CULPRIT - 1]
    for side in ("cause", "fix"):
        assert [(atom["path"], atom["lines"]) for atom in culprit[side]] == [
            ("gazette/subscribers/tasks.py", ["-from audit.trail import note"])
        ]
    (patch,) = (tmp_path / "state").glob("**/report/fix.patch")
    git(gazette, "checkout", "--quiet", culprit["sha"])
    git(gazette, "apply", str(patch))
    assert "from audit.trail import note\n" in (gazette / "gazette/subscribers/tasks.py").read_text()
