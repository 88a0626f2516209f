"""Sessions that are over, or were cut short: their reports, what may go on, and what `clean` may delete."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.core.redact import Redactor
from bisect_celery.errors import UserError
from bisect_celery.flow.sweep import REQUEST, sweep
from bisect_celery.home import Home, Kept
from bisect_celery.lab.guardian import owner_of
from bisect_celery.model import Session
from bisect_celery.repo.user import open_repository
from bisect_celery.report.build import build
from bisect_celery.report.model import Report
from bisect_celery.stack.containers.kept import kept_images, kept_volumes, remove_kept_image, remove_kept_volume
from bisect_celery.store.database import Store


def report_of(session_id: str | None, folder: Path, home: Home) -> tuple[Session, Report]:
    """A session and its report, rendered anew from the store. Raises UserError for unknown ids."""
    repository = None
    if session_id is None:
        with contextlib.suppress(UserError):
            repository = open_repository(folder).root
    with Store.open(home.make().database) as store:
        session = store.load(session_id, repository)
    redactor = Redactor(session.request.secrets)
    return session, build(session, redactor, redactor.exact)


def resumable(session_id: str | None, folder: Path, home: Home) -> Session:
    """The session to go on with: the one named, else the latest of this repository that did not end.

    Raises UserError when there is none, when it is over, or when it is running right now.
    """
    with Store.open(home.make().database) as store:
        if session_id is None:
            unfinished = store.unfinished(open_repository(folder).root)
            waiting = [one for one in unfinished if (home.sessions / one.id / REQUEST).exists()]
            if not waiting:
                raise UserError("No session of this repository waits to go on.", "`bisect-celery run GOOD BAD`")
            session_id = waiting[0].id
        session = store.load(session_id)
    if session.outcome is not None and not session.outcome.resumable:
        raise UserError(f"Session {session.id} is over: {session.headline}", f"`bisect-celery report {session.id}`")
    if is_running(home, session.id):
        raise UserError(f"Session {session.id} is running right now.", "Wait for it, or stop it first.")
    return session


def is_running(home: Home, session_id: str) -> bool:
    """Whether the process that owns a session still lives."""
    owner = owner_of(home.sessions / session_id)
    return owner is not None and proc.is_alive(owner)


# --- cleaning ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cleanable:
    """What `clean` would delete, and what it leaves because somebody uses it."""

    things: tuple[Kept, ...]
    in_use: tuple[Kept, ...]

    @property
    def size(self) -> int:
        return sum(thing.size for thing in self.things)


def cleanable(home: Home, *, sessions_only: bool, remote: bool = False) -> Cleanable:
    """Everything of ours on this disk and at the engine. While any session runs, what sessions share is left.

    An engine on another machine is asked only with `remote`; so it is with `clean`.
    """
    running = {session.name for session in _sessions(home) if is_running(home, session.name)}
    things: list[Kept] = []
    in_use: list[Kept] = []
    found = kept_volumes(os.environ, remote=remote)
    volumes = (Kept("volume", name, None, size, 0.0) for name, size in found)
    images = (Kept("image", name, None, size, 0.0) for name, size in kept_images(remote=remote))
    for kept in (*home.make().kept(), *volumes, *images):
        if sessions_only and kept.kind != "session":
            continue
        used = kept.name in running if kept.kind == "session" else bool(running)
        (in_use if used else things).append(kept)
    return Cleanable(tuple(things), tuple(in_use))


def _sessions(home: Home) -> list[Path]:
    return list(home.sessions.glob("*")) if home.sessions.is_dir() else []


def clean(home: Home, cleanable: Cleanable, *, remote: bool = False) -> tuple[str, ...]:
    """Delete what was listed, and what dead sessions left running; says what was removed."""
    removed = list(sweep(home, remote=remote))
    with Store.open(home.database) as store:
        for thing in cleanable.things:
            if thing.kind == "session":
                with contextlib.suppress(UserError):
                    store.delete(thing.name)
            if thing.kind == "image":
                remove_kept_image(thing.name)
            elif thing.path is None:
                remove_kept_volume(thing.name)
            else:
                shutil.rmtree(thing.path, ignore_errors=True)
            removed.append(f"{thing.kind} {thing.name}")
    return tuple(removed)
