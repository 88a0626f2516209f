"""Where the start line differs between the ends: one line is used for all trials, so its change is looked at by itself.

A worker is started as BAD's files say, at every revision, or what differs would be two things at once. So a commit that
breaks by its Procfile breaks GOOD as well, and no search can name it; but GOOD with its own line can be tried.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace

from bisect_celery import config
from bisect_celery.errors import UserError
from bisect_celery.flow.ask import TreeListing
from bisect_celery.flow.ends import EndsWrong, as_tree
from bisect_celery.flow.session import Room
from bisect_celery.flow.trials import BudgetSpent, Trials
from bisect_celery.model import Culprit, Kind, Revision, Symptom

# How many of the commits that changed the line's file are named.
MOST_NAMED = 4


@dataclass(frozen=True)
class StartLines:
    """The two lines that differ; `file` is where BAD's stands, `used` and `own` (GOOD's) are the worker's words."""

    file: str
    used: str
    own: str
    start: str
    words: tuple[str, ...]

    def note(self) -> str:
        return (
            f"Every revision is started as BAD's {self.file} says (`{self.used}`); GOOD's own line is `{self.own}`. "
            "That difference is a suspect of its own: it is looked at if GOOD fails."
        )

    def not_tested(self) -> str:
        return (
            f"The change of the start line from `{self.own}` to `{self.used}` ({self.file}): BAD's is used at every "
            "revision (`--worker` sets another)."
        )


def differing(room: Room, good: Revision, bad: Revision) -> StartLines | None:
    """The start lines of both ends, where BAD's was found in its files, is used, and GOOD's is another."""
    said = dict(room.request.sources).get("worker", "")
    place = re.match(r"(.+?):\d+", said)
    if place is None or room.request.workload is not None:
        return None
    used, own = _detected(room, bad), _detected(room, good)
    if used is None or own is None or said != used.worker_source:
        return None
    if (used.start, used.worker) == (own.start, own.worker):
        return None
    return StartLines(place[1], _line(used), _line(own), own.start, own.worker)


def _detected(room: Room, end: Revision) -> config.Detected | None:
    listing = TreeListing(room.repository, end.tree)
    try:
        return config.detect(listing, typed_in=room.request.subfolder, app=room.request.app)
    except UserError:
        return None


def _line(detected: config.Detected) -> str:
    return f"{detected.start} {shlex.join(detected.worker)}"


def blamed(lines: StartLines, room: Room, trials: Trials, good: Revision, bad: Revision) -> EndsWrong | None:
    """GOOD failed with BAD's line: what is to be said if it works with its own; None where it does not, or that says
    nothing, because BAD does not fail or another end is wrong."""
    shown = {one.trial.purpose: one.judgement.symptom for one in trials.judged}
    with_theirs, at_bad = shown.get("good end"), shown.get("bad end")
    if with_theirs is None or at_bad is None or not _same(with_theirs, at_bad):
        return None
    theirs = trials.terms.plan
    its_own = replace(theirs, worker=lines.words, start=lines.start)
    try:
        for plan in (its_own, theirs, its_own):
            trials.terms.plan = plan
            works = trials.settled(as_tree(good), "good end").judgement.symptom.kind is Kind.COMPLETED
            if works is (plan is theirs):
                return None
    except BudgetSpent:
        return None
    words = shlex.quote(shlex.join(lines.words))
    return EndsWrong(
        f"The start line brings it: GOOD {good.short} works as its own files start it (`{lines.own}`), and fails as "
        f"BAD's {lines.file} does (`{lines.used}`): {with_theirs}, as BAD. Tried in turn, twice each.",
        (
            f"What changed the file: {_changed_by(lines, room, good, bad)}.",
            f"If the code is to blame as well, search with GOOD's line: `--worker {words}`.",
        ),
    )


def _same(one: Symptom, other: Symptom) -> bool:
    return one.kind is not Kind.COMPLETED and one.same_failure(other)


def _changed_by(lines: StartLines, room: Room, good: Revision, bad: Revision) -> str:
    changed = room.repository.suspects([good], bad, (lines.file,), room.request.first_parent)
    names = [f"{one.short} “{one.title}”" for one in changed[-MOST_NAMED:]]
    return ", ".join(names) if names else f"`git log -- {lines.file}`"


def with_caveat(lines: StartLines | None, room: Room, found: Culprit) -> Culprit:
    """The culprit, with a word where it changes the file that the start line came from."""
    if lines is None:
        return found
    parents = room.repository.parents(found.revision)
    changed = {path for parent in parents for path in room.repository.changed_paths(parent.tree, found.revision.tree)}
    if lines.file not in changed:
        return found
    told = (
        f"It changes {lines.file}, where the start line stands: every trial was started as BAD's says, so what that "
        "change does by itself is not in these counts."
    )
    return replace(found, caveats=(*found.caveats, told))
