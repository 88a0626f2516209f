"""`--upgrade-from`: the older revision is run once, and every trial begins with what it left behind."""

from __future__ import annotations

from pathlib import Path

from bisect_celery.core import deadline, judge
from bisect_celery.environment.resolve import EnvironmentFailed
from bisect_celery.errors import UserError
from bisect_celery.flow.adopt import adopted
from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Doing, Note
from bisect_celery.flow.session import Room, upgraded_from
from bisect_celery.flow.sweep import EARLIER
from bisect_celery.lab import earlier
from bisect_celery.lab.earlier import Earlier
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import LEFT
from bisect_celery.model import Difference, Observation, Revision
from bisect_celery.repo.layout import LayoutFailed


def provide(room: Room, lab: Lab, plan: Plan, *, keep: bool = False) -> Earlier | None:
    """Give the lab the earlier state that was asked for, if one was: kept from before, or made now.

    `keep`: for a session that can go on. Raises UserError when the older revision does not come through its warm-up.
    """
    revision = upgraded_from(room)
    if revision is None:
        return None
    tree, folder = as_tree(revision), (room.folder if keep else room.scratch) / EARLIER
    lab.earlier = earlier.kept(folder, tree)
    if lab.earlier is None:
        room.listener(Doing(f"{tree.label} {tree.title}".strip(), "warm-up"))
        lab.earlier = _made(room, lab, plan, revision, folder)
        room.listener(Doing(""))
    room.listener(Note(f"Every trial begins with what {revision.short} left behind: {lab.earlier.words()}."))
    return lab.earlier


def _made(room: Room, lab: Lab, plan: Plan, revision: Revision, folder: Path) -> Earlier:
    order = Order("0000-earlier", as_tree(revision), plan, deadline.before(room.request.ceiling))
    try:
        seen, left = lab.leave(order, folder)
    except EnvironmentFailed as failed:
        raise _refused(revision, failed.failure.reason) from failed
    except LayoutFailed as failed:
        raise _refused(revision, failed.reason) from failed
    if left is not None:
        return left
    found = adopted(seen, plan, lab.serve)
    if found is not None:  # as in the trials, which say so
        return _made(room, lab, found.plan, revision, folder)
    raise _refused(revision, _why(seen))


def _why(seen: Observation) -> str:
    if seen.ended == LEFT:
        return "its messages did not stay in a queue"
    if seen.failure is not None:
        return seen.failure.reason
    found = judge.symptom(seen)
    return f"{found.symptom}, {found.rule}"


def _refused(revision: Revision, why: str) -> UserError:
    return UserError(
        f"`--upgrade-from {revision.short}` does not come through its warm-up: {why}.",
        f"Look at it alone: `bisect-celery try {revision.short}`.",
    )


def difference(found: Earlier | None) -> tuple[Difference, ...]:
    """For the report: what every trial began with."""
    if found is None:
        return ()
    ours = f"what {found.label} left behind: {found.words()}"
    return (Difference("state before a trial", "what production had", ours, "`--upgrade-from`"),)
