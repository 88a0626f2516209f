"""A log for `git bisect replay`: git itself replays it, and comes to the commit that the answers mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from made_repository import Made

from bisect_celery.model import Revision, Verdict
from bisect_celery.repo.private import PrivateRepository

Opened = Callable[..., PrivateRepository]
GOOD, BAD, SKIP = Verdict.GOOD, Verdict.BAD, Verdict.SKIP


def replayed(folder: Path, log: str, tmp_path: Path) -> tuple[str, str]:
    """What a real `git bisect replay` prints, and the commit that it then holds for the first bad one so far."""
    (tmp_path / "log").write_text(log)

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=60, env=os.environ)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    said = git("bisect", "replay", str(tmp_path / "log"))
    return said, git("rev-parse", "refs/bisect/bad").strip()


def ends(private: PrivateRepository, shas: list[str]) -> tuple[Revision, Revision]:
    return private.revision(shas[0]), private.revision(shas[-1])


def test_git_replays_the_log_to_the_culprit(made: Made, private: Opened, tmp_path: Path) -> None:
    shas = made.numbers(12)
    ours = private(made)
    answers = [(shas[9], BAD), (shas[7], BAD), (shas[3], GOOD), (shas[5], SKIP), (shas[6], BAD), (shas[4], GOOD)]
    log = ours.bisect_log(*ends(ours, shas), [*answers, (shas[5], GOOD)])
    for folder in (ours.path, made.path):
        said, bad = replayed(folder, log + "# said by nobody: failed 2 of 6\n", tmp_path)
        assert bad == shas[6]
        assert f"{shas[6]} is the first" in said


def test_where_nobody_is_named_git_goes_on_searching(made: Made, private: Opened, tmp_path: Path) -> None:
    shas = made.numbers(12)
    ours = private(made)
    log = ours.bisect_log(*ends(ours, shas), [(shas[8], BAD)])
    said, bad = replayed(ours.path, log, tmp_path)
    assert bad == shas[8]
    assert "is the first" not in said


def test_merges_and_first_parents_are_kept(made: Made, private: Opened, tmp_path: Path) -> None:
    base = made.commit({"n": "1"})
    made.git("checkout", "-q", "-b", "side")
    side = made.commit({"s": "1"})
    made.git("checkout", "-q", "main")
    mine = made.commit({"n": "2"})
    merge = made.merge("side")
    tip = made.commit({"n": "3"})
    ours = private(made)
    good, bad = ours.revision(base), ours.revision(tip)
    assert ours.between(good, bad) == {tip: (merge,), merge: (mine, side), mine: (base,), side: (base,)}
    assert ours.between(good, bad, first_parent=True) == {tip: (merge,), merge: (mine,), mine: (base,)}
    log = ours.bisect_log(good, bad, [(merge, BAD), (side, GOOD), (mine, GOOD)])
    assert replayed(ours.path, log, tmp_path)[1] == merge
    log = ours.bisect_log(good, bad, [(merge, BAD), (mine, GOOD)], first_parent=True)
    said, found = replayed(ours.path, log, tmp_path)
    assert found == merge
    assert f"{merge} is the first" in said
