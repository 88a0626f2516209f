"""The life of one session: what is opened, in which order it is closed, and how its end is told."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery import proc
from bisect_celery.core.redact import Redactor
from bisect_celery.flow import stacks
from bisect_celery.flow.events import Listener, StackTaken
from bisect_celery.flow.sweep import sweep
from bisect_celery.flow.trials import Trials
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.guardian import Guardian
from bisect_celery.lab.lab import Lab
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Request, Revision, Session, StackFacts
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository
from bisect_celery.store.database import Store

SCHEMA = 1


@dataclass
class Room:
    """Everything a flow works with while a session is open."""

    session: Session
    request: Request
    home: Home
    store: Store
    repository: PrivateRepository
    redactor: Redactor
    cancel: Token
    listener: Listener
    folder: Path
    scratch: Path

    def revision(self, name: str) -> Revision:
        return self.repository.resolve(name)

    def save(self, **changes: object) -> None:
        """Change the session's record and keep it."""
        self.session = replace(self.session, **changes)  # type: ignore[arg-type]
        self.store.save(self.session)


def new_id(now: datetime.datetime) -> str:
    """Sorts by time, and two of one second differ: `20260322-174501-3fa2`."""
    stamp = now.strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{hashlib.sha256(f'{now.timestamp()}-{proc.start_time(1)}-{id(now)}'.encode()).hexdigest()[:4]}"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def opened(
    request: Request,
    home: Home,
    *,
    command: str,
    listener: Listener,
    cancel: Token,
    session_id: str | None = None,
) -> Iterator[Room]:
    """Open a session: its folder, store, private repository; swept of what dead sessions left. Close it again.

    `session_id` names the session that is resumed; None begins a new one.
    """
    home.make()
    identity = session_id or new_id(datetime.datetime.now(datetime.UTC))
    owner = proc.own(identity)
    sweep(home)
    folder = home.session_folder(identity)
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    (scratch / "owner").write_text(owner.label())
    store = Store.open(home.database)
    try:
        repository = PrivateRepository.create(folder / "git", open_repository(request.repository))
        session = Session(id=identity, command=command, request=request, started_at=now())
        redactor = Redactor(request.secrets)
        yield Room(session, request, home, store, repository, redactor, cancel, listener, folder, scratch)
    finally:
        store.close()
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def running(room: Room, *, as_of: str) -> Iterator[Lab]:
    """Bring the stack up, guarded, with a lab on it; take everything down again, in the opposite order."""
    owner = proc.owner()
    assert owner is not None
    stack = stacks.choose(room.request, room.home, owner, room.scratch)
    guardian = Guardian(owner, room.scratch, containers=stack.facts.name == "container")
    try:
        room.listener(StackTaken(stack.facts, room.session.id))
        stack.start(room.cancel)
        lab = Lab(
            room.repository,
            stack,
            room.folder / "trials",
            room.scratch,
            python=room.request.python,
            as_of=as_of,
            overlays=room.request.overlays,
            redactor=room.redactor,
            cancel=room.cancel,
        )
        try:
            yield lab
        finally:
            lab.close()
    finally:
        stack.stop()
        guardian.dismiss()


def plan_of(request: Request, source_roots: tuple[str, ...] = ()) -> Plan:
    return Plan(
        app=request.app,
        probe=request.probe,
        worker=request.worker or ("-c", "2"),
        subfolder=request.subfolder,
        variables=request.environment,
        prepare=request.prepare,
        source_roots=source_roots,
    )


def trials_of(room: Room, lab: Lab, plan: Plan) -> Trials:
    return Trials(
        lab,
        room.store,
        room.session.id,
        plan,
        digest=digest(room, lab.stack.facts),
        ceiling=room.request.ceiling,
        budget=60 * room.request.budget,
        listener=room.listener,
    )


def digest(room: Room, facts: StackFacts) -> Callable[[Plan], str]:
    """What names everything that was held the same in a trial (DESIGN 18); values only as a keyed hash."""
    request = room.request
    overlays = [(overlay.target, _content(overlay.source)) for overlay in request.overlays]

    def of(plan: Plan) -> str:
        probe = plan.probe
        parts = [
            SCHEMA,
            [plan.app, plan.subfolder, list(plan.worker), plan.result_url, plan.prepare, list(plan.source_roots)],
            [probe.task, probe.args, probe.kwargs, probe.count, probe.queue, probe.done_log, probe.sender],
            [list(pair) for pair in plan.variables],
            overlays,
            [request.python, facts.name, facts.broker, facts.broker_version],
        ]
        return room.store.fingerprint(json.dumps(parts))

    return of


def _content(path: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
