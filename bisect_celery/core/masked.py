"""Who else it may have begun with, where commits right before the first that shows the failure fail differently. Pure.

A commit that shows another failure says nothing of the one that is looked for: it may be there already, unseen. So the
first commit that shows it is the culprit only if nothing of that kind stands right before it. What `--match any` would
name follows from the same trials, as far as they reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bisect_celery.model import Masked, Revision


def masked(
    first: Revision,
    before: Sequence[Revision],
    parents: Mapping[str, Sequence[str]],
    failing: frozenset[str],
    skipped: Sequence[Revision] = (),
) -> Masked | None:
    """None where nothing before `first` fails differently.

    `before`: the skipped commits that nothing that works parts from `first`, ancestors first. `parents`: of all commits
    between the ends, by sha. `failing`: the shas of those that ran and showed another failure. `skipped`: all that were
    skipped, wherever they stand.
    """
    different = tuple(one for one in before if one.sha in failing)
    if not different:
        return None
    unjudged = tuple(one for one in before if one.sha not in failing)
    older = {one.sha: ancestors(one.sha, parents) for one in (first, *before)}
    # Git goes on from what fails to what is older, so it ends where nothing older is known to fail.
    names = tuple(one for one in different if not any(other.sha in older[one.sha] for other in different))
    doubted = [one for one in unjudged if any(one.sha in older[name.sha] for name in names)]
    near = {first.sha, *(one.sha for one in before)}
    doubted += [
        one
        for one in skipped
        if one.sha in failing and one.sha not in near and first.sha not in ancestors(one.sha, parents)
    ]
    return Masked(first, different, unjudged, names, tuple(doubted))


def before_it(first: Revision, skipped: Sequence[Revision]) -> tuple[Revision, ...]:
    """Of the skipped commits those that stand right before `first`, or with only skipped ones between them and it."""
    known = {one.sha: one for one in skipped}
    found: dict[str, Revision] = {}
    row = list(first.parents)
    while row:
        one = known.get(row.pop())
        if one is not None and one.sha not in found:
            found[one.sha] = one
            row += one.parents
    return tuple(one for one in skipped if one.sha in found)


def ancestors(commit: str, parents: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The proper ancestors of a commit that `parents` knows of, by sha."""
    found: set[str] = set()
    row = list(parents.get(commit, ()))
    while row:
        one = row.pop()
        if one not in found:
            found.add(one)
            row += parents.get(one, ())
    return frozenset(found)
