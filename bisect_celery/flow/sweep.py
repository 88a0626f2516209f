"""What dead sessions left behind, removed at the next start: only this machine's, and only what is provably dead."""

from __future__ import annotations

import contextlib
import shutil

from bisect_celery import proc
from bisect_celery.home import Home
from bisect_celery.lab.guardian import guarded, owner_of, remove_folders
from bisect_celery.model import Owner
from bisect_celery.stack.containers import sweep as container_sweep
from bisect_celery.store.database import Store

# In a session's folder: what `resume` needs and the database must not know.
REQUEST = "request.json"
# There, too: what an older revision left behind (`lab.earlier`), raw messages among it.
EARLIER = "earlier"


def sweep(home: Home, *, remote: bool = False) -> tuple[str, ...]:
    """Kill processes, remove containers and scratch folders whose owner is dead; says what was removed.

    With `remote` also at a container engine on another machine.
    """
    removed = []
    dead = {owner for _, owner in proc.labelled() if _is_dead(owner)}
    for owner in dead:
        if _has_a_guardian_elsewhere(owner, home):
            continue
        killed = proc.kill_labelled(owner)
        removed += [f"{killed} processes of session {owner.session}"] if killed else []
    with contextlib.suppress(Exception):  # no engine, no containers
        known = {owner_of(folder) for folder in home.sessions.glob("*")}
        removed += container_sweep.sweep(_is_dead, remote=remote, known=known.__contains__)
    for scratch in home.sessions.glob("*/scratch"):
        left_by = owner_of(scratch.parent)
        if left_by is not None and _is_dead(left_by):
            remove_folders(left_by, scratch)
            removed.append(f"the scratch folder of session {left_by.session}")
    return tuple(removed)


def _has_a_guardian_elsewhere(owner: Owner, home: Home) -> bool:
    """Whether it is being taken down by who alone knows its folders. Here we know them, and go on where it stood."""
    scratch = guarded(owner)
    return scratch is not None and home.sessions not in scratch.parents


def forget_requests(home: Home, store: Store) -> None:
    """Remove what only going on needs of sessions that are over: one that was killed in its last words left its own."""
    over = {one.id for one in store.sessions() if one.outcome is not None and not one.outcome.resumable}
    for path in home.sessions.glob(f"*/{REQUEST}"):
        if path.parent.name in over:
            path.unlink(missing_ok=True)
    for folder in home.sessions.glob(f"*/{EARLIER}"):
        if folder.parent.name in over:
            shutil.rmtree(folder, ignore_errors=True)


def _is_dead(owner: Owner) -> bool:
    return proc.same_machine(owner) and not proc.is_alive(owner)
