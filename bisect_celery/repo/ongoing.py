"""Somebody's own `git bisect`, as far as its refs and files tell. Only read; never their English."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.repo.user import UserRepository

_REFS = "refs/bisect/"


@dataclass(frozen=True)
class Ongoing:
    """A bisection that is going on: `at` is what it asks for now, `good` and `bad` one end each as it stands.

    `identity` names this bisection from its start to its end: another one of the same ends is another.
    """

    at: str
    good: str
    bad: str
    identity: str


def ongoing(user: UserRepository) -> Ongoing | None:
    """The bisection that goes on in the user's working tree; None when there is none, or an end is missing."""
    start = user.git_dir / "BISECT_START"
    if not start.exists():
        return None
    bad_term, good_term = _terms(user.git_dir / "BISECT_TERMS")
    bad = user.git.line("rev-parse", "--verify", "--quiet", f"{_REFS}{bad_term}")
    goods = user.git.lines("for-each-ref", "--format=%(objectname)", f"{_REFS}{good_term}-*")
    if not bad or not goods:
        return None
    detached = user.git.line("rev-parse", "--verify", "--quiet", "BISECT_HEAD")
    return Ongoing("BISECT_HEAD" if detached else "HEAD", goods[0], bad, _identity(user.git_dir, start))


def asked_by_git() -> bool:
    """Whether a `git bisect run` started us, as far as this system tells who started whom."""
    return any(_is_bisect_run(words) for words in proc.ancestors())


def _is_bisect_run(words: tuple[str, ...]) -> bool:
    """`git bisect run …`, or the helper that older versions of git do it by."""
    if not words or Path(words[0]).name not in ("git", "git-bisect", "git-bisect--helper"):
        return False
    rest = words[1:8]
    return ("bisect" in rest and "run" in rest) or "bisect--helper" in rest or "--bisect-run" in rest


def _terms(path: Path) -> tuple[str, str]:
    """The words for bad and good: git's own, or those of `git bisect start --term-new`."""
    try:
        words = path.read_text("utf-8").split()
    except OSError:
        words = []
    return (words[0], words[1]) if len(words) == 2 else ("bad", "good")


def _identity(git_dir: Path, start: Path) -> str:
    """The file is written once, when a bisection starts."""
    seen = start.stat()
    text = f"{git_dir}\0{seen.st_mtime_ns}\0{seen.st_ino}\0{start.read_text('utf-8', 'replace')}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
