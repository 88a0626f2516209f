"""`try` as the predicate of somebody's own `git bisect run`: a verdict, or a status that stops git."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Bench, becomes, ended, fingerprint, owned_by
from small_incident import Incident, commit, git

pytestmark = pytest.mark.network
GOOD, BAD, SKIP, OURS = 0, 1, 125, 128
ENDS_TRIED = "The first call of this bisection tries its ends"


@dataclass(frozen=True)
class Bisection:
    """Somebody's own bisection, begun in a copy of the small incident."""

    bench: Bench
    incident: Incident
    broken: str

    @property
    def folder(self) -> Path:
        return self.bench.folder

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The real `git bisect run` over us."""
        predicate = [sys.executable, "-m", "bisect_celery", "try", *self.incident.words, *words]
        return subprocess.run(
            ["git", "bisect", "run", *predicate], cwd=self.folder, env=self.bench.environment(), capture_output=True,
            text=True, timeout=250,
        )  # fmt: skip

    def bad(self) -> str:
        return git(self.folder, "rev-parse", "refs/bisect/bad")

    def trials(self) -> int:
        """How many trials were made in all: each leaves a folder with its logs."""
        return len(list(self.bench.home.sessions.glob("*/trials/*")))


@pytest.fixture
def bisection(bench_at: Callable[[Path], Bench], failing: Incident, tmp_path: Path) -> Bisection:
    folder = tmp_path / "shop"
    shutil.copytree(failing.folder, folder)
    git(folder, "checkout", "--quiet", "-b", "broken", failing.shas[1])
    broken = commit(folder, "Does not boot", {"shop/app.py": "import not_here\n"}, 8)
    git(folder, "checkout", "--quiet", "main")
    return Bisection(bench_at(folder), failing, broken)


def begin(bisection: Bisection, *options: str) -> None:
    git(bisection.folder, "bisect", "start", *options, bisection.incident.bad, bisection.incident.good)


def test_git_ends_at_the_culprit_and_the_ends_are_tried_once(bisection: Bisection) -> None:
    begin(bisection)
    done = bisection.run("--exit-code")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bisection.bad() == bisection.incident.culprit
    steps = git(bisection.folder, "bisect", "log").count("\ngit bisect ") - 1  # less its start
    assert bisection.trials() == 2 + steps
    assert (done.stdout + done.stderr).count(ENDS_TRIED) == 1
    assert bisection.bench.left() == []


def test_statuses_within_a_bisection_without_checkout(bisection: Bisection) -> None:
    """`BISECT_HEAD` is what is tried; good, bad, skipped; and what is no verdict stops git."""
    begin(bisection, "--no-checkout")
    head = git(bisection.folder, "rev-parse", "HEAD")
    words = ("try", "--exit-code", *bisection.incident.words)
    at = git(bisection.folder, "rev-parse", "BISECT_HEAD")
    first = bisection.bench.run(*words)
    assert first.code == (BAD if at == bisection.incident.culprit else GOOD), first.text
    assert at[:10] in first.err
    assert ENDS_TRIED in first.err
    expected = {bisection.incident.good: GOOD, bisection.incident.shas[4]: BAD, bisection.broken: SKIP}
    for revision, status in expected.items():
        told = bisection.bench.run(*words, revision)
        assert told.code == status, told.text
        assert ENDS_TRIED not in told.text
    assert bisection.trials() == 2 + 1 + len(expected)
    assert git(bisection.folder, "rev-parse", "HEAD") == head
    done = bisection.run("--exit-code")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bisection.bad() == bisection.incident.culprit
    assert ENDS_TRIED not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--exit-code", "--nonsense"],
        ["--exit-cod"],
        ["--exit-code", "v9.9"],
        ["--exit-code", "--args", "[1"],
        ["--exit-code", "--overlay", "not-there"],
        ["--exit-code", "--python", "9.9"],
        [],
    ],
    ids=" ".join,
)
def test_what_is_no_verdict_stops_git_which_names_nobody(bisection: Bisection, words: list[str]) -> None:
    """A mistyped flag, an unknown revision, a value that is none, a Python that is not there; the flag forgotten."""
    begin(bisection)
    log = git(bisection.folder, "bisect", "log")
    done = bisection.run(*words)
    assert done.returncode != 0, done.stdout + done.stderr
    assert "is the first bad commit" not in done.stdout
    assert "Traceback" not in done.stderr
    assert git(bisection.folder, "bisect", "log") == log, "git was told no verdict"
    assert bisection.bad() == bisection.incident.bad


def broker_of(pid: int) -> int | None:
    return next(
        (found for found, words in owned_by(pid).items() if "bisect_celery.stack.brokers.embedded" in words), None
    )


def worker_runs(pid: int) -> bool:
    return any(" worker " in words for words in owned_by(pid).values())


@pytest.mark.parametrize("death", ["broker", "interrupt", "terminate", "kill"])
def test_a_death_is_no_verdict(bisection: Bisection, death: str) -> None:
    """Of our broker, or of ourselves: git must see a status that stops it."""
    process = bisection.bench.start("try", "--exit-code", *bisection.incident.words, "HEAD")
    assert becomes(lambda: worker_runs(process.pid), 100), process.communicate()
    if death == "broker":
        broker = broker_of(process.pid)
        assert broker is not None
        os.kill(broker, signal.SIGKILL)
    else:
        numbers = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill": signal.SIGKILL}
        process.send_signal(numbers[death])
    told = ended(process)
    # a shell, and git, make 128 and the number of a signal that ended its program
    assert told.code >= OURS or told.code == -signal.SIGKILL, told.text
    assert "Traceback" not in told.text
    assert becomes(lambda: not owned_by(process.pid), 40)
    assert bisection.bench.left() == []


def test_the_working_tree_is_tried_as_it_is(bisection: Bisection) -> None:
    """Uncommitted, staged and untracked changes count; nothing of the repository is touched."""
    git(bisection.folder, "checkout", "--quiet", bisection.incident.good)
    words = ("try", ".", "--exit-code", *bisection.incident.words)
    tasks = bisection.folder / "shop" / "tasks.py"
    tasks.write_text(tasks.read_text().replace("sum(counted)", "sum(counted) + missing.PRICE"))
    before = fingerprint(bisection.folder)
    told = bisection.bench.run(*words, "--json")
    assert told.code == BAD, told.text
    shown = json.loads(told.out)
    assert shown["symptom"] == "task-failed(NameError)"
    assert {name: shown[name] for name in ("kind", "exception", "template", "where")} == {
        "kind": "task-failed", "exception": "NameError", "template": "name 'missing' is not defined", "where": None,
    }  # fmt: skip
    assert fingerprint(bisection.folder) == before
    (bisection.folder / "shop" / "missing.py").write_text("PRICE = 0\n")
    tasks.write_text(tasks.read_text().replace("import logging\n", "import logging\n\nfrom shop import missing\n"))
    git(bisection.folder, "add", "shop/tasks.py")
    before = fingerprint(bisection.folder)
    told = bisection.bench.run(*words)
    assert told.code == GOOD, told.text
    assert fingerprint(bisection.folder) == before


def test_without_the_flag_the_status_is_no_verdict_and_the_facts_are_told(bisection: Bisection) -> None:
    told = bisection.bench.run("try", bisection.incident.culprit, *bisection.incident.words)
    assert told.code == 0, told.text
    for piece in ("facts:", "rule:", "logs:", "bad: task-failed(TypeError)"):
        assert piece in told.out
