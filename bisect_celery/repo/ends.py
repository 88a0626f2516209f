"""Whether GOOD and BAD can be the ends of a search, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.errors import EndsError, UserError
from bisect_celery.model import Revision
from bisect_celery.repo import revisions
from bisect_celery.repo.git import Git, failed, text


@dataclass(frozen=True)
class Range:
    """What is searched: commits that BAD has and GOOD has not, limited to `paths` (pathspecs relative to the top)."""

    good: tuple[str, ...]
    bad: str
    paths: tuple[str, ...] = ()
    first_parent: bool = False

    def words(self) -> list[str]:
        """The range as arguments of `git rev-list`."""
        first_parent = ["--first-parent"] if self.first_parent else []
        return [*first_parent, self.bad, "--not", *self.good, "--", *self.paths]


@dataclass(frozen=True)
class Ends:
    """How GOOD and BAD stand to each other.

    `kind` is "ancestor" (GOOD is one of BAD's ancestors) or "diverged": then git tries `merge_bases` first.
    `merge_base` is the first of these, GOOD itself when it is an ancestor. `count`: commits in the range.
    `steps`: about how many of them git will ask for.
    """

    kind: str
    merge_base: Revision | None
    count: int
    steps: int
    merge_bases: tuple[Revision, ...] = ()


def check_ends(git: Git, shallow: Path, span: Range, named: tuple[str, str]) -> Ends:
    """How the ends of `span` (one good) stand to each other. `shallow`: where git keeps what a clone was cut at.

    `named` are GOOD and BAD as the user typed them. Raises EndsError when they cannot be ends (swapped, the
    same, unrelated), UserError when the range is not in this clone or no commit in it touches the paths.
    """
    (good,) = span.good
    if good == span.bad:
        raise EndsError(
            f"GOOD and BAD are the same commit, {good[:10]}.",
            f"Name an older commit that works as GOOD: bisect-celery run OLDER {named[1]}",
        )
    if _is_ancestor(git, span.bad, good):
        raise EndsError(
            f"The ends are swapped: BAD ({named[1]}) is an ancestor of GOOD ({named[0]}).",
            f"bisect-celery run {named[1]} {named[0]}",
        )
    bases = merge_bases(git, good, span.bad)
    _check_complete(git, shallow, span, related=bool(bases))
    if not bases:
        raise EndsError(
            f"GOOD ({named[0]}) and BAD ({named[1]}) have no common history.",
            "Name two commits of one history: git merge-base GOOD BAD prints something for these.",
        )
    count, steps = estimate(git, span)
    if count == 0:
        raise UserError(
            f"No commit between GOOD and BAD touches {' '.join(span.paths)}.",
            f"See what does: git log --oneline --stat {named[0]}..{named[1]}",
        )
    found = revisions.read(git, bases)
    return Ends("ancestor" if bases == [good] else "diverged", found[0], count, steps, found)


def merge_bases(git: Git, one: str, two: str) -> list[str]:
    """All best common ancestors, none for unrelated histories."""
    finished = git.run("merge-base", "--all", one, two, check=False)
    if finished.code not in (0, 1):
        raise failed(finished, "compare the histories of GOOD and BAD")
    return text(finished.out).split()


def estimate(git: Git, span: Range) -> tuple[int, int]:
    """(commits that can still be the first bad one, about how many trials git will ask for), as git counts them."""
    counted = git.having(literal=False).lines("rev-list", "--bisect-vars", *span.words())
    values = dict(line.split("=", 1) for line in counted if "=" in line)
    suspects = int(values.get("bisect_all", "0"))
    # Git's steps are those after the next trial.
    return suspects, int(values.get("bisect_steps", "0")) + 1 if suspects > 1 else 0


def commits(git: Git, span: Range, *options: str) -> list[str]:
    """The commits of a range, ancestors first."""
    return git.having(literal=False).lines("rev-list", "--topo-order", "--reverse", *options, *span.words())


def parents_between(git: Git, span: Range) -> dict[str, tuple[str, ...]]:
    """The parents of every commit of a range, descendants first, whatever paths it is limited to."""
    lines = git.lines("rev-list", "--topo-order", "--parents", *replace(span, paths=()).words())
    found = {commit: tuple(parents) for commit, *parents in map(str.split, lines)}
    return {commit: parents[:1] for commit, parents in found.items()} if span.first_parent else found


def _is_ancestor(git: Git, one: str, two: str) -> bool:
    finished = git.run("merge-base", "--is-ancestor", one, two, check=False)
    if finished.code not in (0, 1):
        raise failed(finished, "compare the histories of GOOD and BAD")
    return finished.code == 0


def _check_complete(git: Git, shallow: Path, span: Range, related: bool) -> None:
    """Refuse a range that a shallow clone cuts off: a commit whose parents are missing lies inside it."""
    cut = _shallow_commits(shallow)
    if not cut:
        return
    words = ["--first-parent"] if span.first_parent else []
    inside = git.lines("rev-list", *words, span.bad, "--not", *span.good)
    others = git.lines("rev-list", *span.good, "--not", span.bad)
    if not related or cut.intersection(inside) or cut.intersection(others):
        raise UserError(
            "This clone is shallow and lacks a part of the history between GOOD and BAD.", "git fetch --unshallow"
        )


def _shallow_commits(shallow: Path) -> set[str]:
    return set(shallow.read_text().split()) if shallow.exists() else set()
