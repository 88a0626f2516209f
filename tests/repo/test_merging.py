"""What two branches merge to without help, compared with what the real `git merge` makes of them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from made_repository import Content, Made, fingerprint

from bisect_celery.repo.private import PrivateRepository

Private = Callable[..., PrivateRepository]
START = {name: "".join(f"{name}{line}\n" for line in range(12)) for name in "abcd"}


def diverged(made: Made, ours: dict[str, Content], theirs: dict[str, Content], start: dict[str, Content]) -> None:
    """Two branches from `start`, on `main` and `other`; `main` is checked out."""
    made.commit(start)
    made.git("config", "merge.renames", "false")
    made.git("checkout", "-q", "-b", "other")
    made.commit(theirs)
    made.git("checkout", "-q", "main")
    made.commit(ours)


def by_git(made: Made) -> str | None:
    """The tree that `git merge` makes, None when it stops at a conflict. Leaves a merge commit either way."""
    words = ["git", "merge", "-q", "--no-ff", "-m", "merge", "other"]
    if subprocess.run(words, cwd=made.path, capture_output=True, timeout=60).returncode == 0:
        return made.tree()
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "merge with help")
    return None


def edited(chance: random.Random, files: dict[str, Content]) -> dict[str, Content]:
    """A few random changes: lines changed, files removed and added."""
    changes: dict[str, Content] = {}
    for name, content in files.items():
        what = chance.randrange(6)
        if what == 0:
            changes[name] = None
        elif what < 4:
            lines = str(content).splitlines(keepends=True)
            lines[chance.randrange(len(lines))] = f"changed {chance.randrange(3)}\n"
            changes[name] = "".join(lines)
    if chance.randrange(3) == 0:
        changes["new"] = f"new {chance.randrange(2)}\n"
    return {name: content for name, content in changes.items() if content != files.get(name, "")}


def test_as_git_merges(tmp_path: Path, private: Private) -> None:
    chance, clean = random.Random(7), 0
    for number in range(25):
        made = Made(tmp_path / f"made{number}")
        diverged(made, edited(chance, {**START}), edited(chance, {**START}), {**START})
        expected = by_git(made)
        before = fingerprint(made.path)
        repository = private(made, f"private{number}")
        assert repository.merged(repository.resolve("HEAD")) == expected, number
        assert fingerprint(made.path) == before
        clean += expected is not None
    assert 3 <= clean <= 22, "both kinds must be among them"


def test_what_is_no_plain_merge_needs_help(tmp_path: Path, private: Private) -> None:
    made = Made(tmp_path / "made")
    made.commit({"a": "1\n"})
    repository = private(made)
    assert repository.merged(repository.resolve("HEAD")) is None


def test_a_merge_that_was_helped_is_told_apart_by_its_own_changes(tmp_path: Path, private: Private) -> None:
    made = Made(tmp_path / "made")
    diverged(made, {"a": "ours\n"}, {"b": "theirs\n"}, {**START})
    made.git("merge", "-q", "--no-commit", "--no-ff", "other")
    made.commit({"c": "slipped in\n"}, "merge, and a little more")
    repository = private(made)
    merge = repository.resolve("HEAD")
    assert len(merge.parents) == 2
    base = repository.merged(merge)
    assert base is not None
    assert {atom.path for atom in repository.atoms_between(base, merge.tree)} == {"c"}
