"""The life of one session: what is opened, in which order it is closed, and how its end is told."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from bisect_celery import proc
from bisect_celery.config import told_of_compose, told_of_message
from bisect_celery.core.redact import Redactor
from bisect_celery.core.scenario import restarts_broker
from bisect_celery.environment.images.image import unfit
from bisect_celery.errors import UserError
from bisect_celery.flow import stacks
from bisect_celery.flow.events import Listener, Note, StackTaken
from bisect_celery.flow.sweep import REQUEST, forget_requests, sweep
from bisect_celery.flow.trials import Trials
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.guardian import OWNER, Guardian
from bisect_celery.lab.lab import Lab
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.workload import Workload
from bisect_celery.model import Owner, Request, Revision, Session, Stack, WorkerImage
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository
from bisect_celery.report.build import elapsed
from bisect_celery.stack.brokers.node import NO_RESTART
from bisect_celery.store import codec
from bisect_celery.store.database import Store

SCHEMA = 1
# What makes a session's folder worth keeping.
KEPT = ("trials", "report", REQUEST)


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
    guardian: Guardian

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
    folder = home.session_folder(identity)
    scratch = folder / "scratch"
    with _claimed(folder, identity) as owner, _guarded(owner, scratch) as guardian:
        sweep(home, remote=request.remote_engine)
        with _scratch(scratch), Store.open(home.database) as store:
            forget_requests(home, store)
            repository = PrivateRepository.create(folder / "git", open_repository(request.repository))
            earlier = _earlier(store, session_id) if session_id else 0.0
            session = Session(id=identity, command=command, request=request, started_at=now(), earlier=earlier)
            redactor = Redactor(request.secrets)
            store.redact = redactor.exact
            for told in (told_of_message(request), told_of_compose(request)):
                if told is not None:
                    listener(Note(told))
            try:
                yield Room(
                    session, request, home, store, repository, redactor, cancel, listener, folder, scratch, guardian
                )
            finally:
                repository.close()
                if not any((folder / name).exists() for name in KEPT):
                    shutil.rmtree(folder, ignore_errors=True)


def _earlier(store: Store, session_id: str) -> float:
    """The seconds that a session took before it goes on; of one that was killed, those of its finished trials."""
    before = store.load(session_id)
    tried = sum(one.trial.seconds for one in before.judged if one.trial.reused is None)
    return elapsed(before) or max(before.earlier, tried)


@contextlib.contextmanager
def _claimed(folder: Path, identity: str) -> Iterator[Owner]:
    """This process works on the session, and no other. Raises UserError when another one does."""
    with (folder / OWNER).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"Session {identity} is running right now.", "Wait for it, or stop it first.") from None
        owner = proc.own(identity)
        _say(file, owner.label())
        yield owner
        _say(file, "")


def _say(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


@contextlib.contextmanager
def _guarded(owner: Owner, scratch: Path) -> Iterator[Guardian]:
    """Guarded from before there is anything to take down until nothing is left."""
    guardian = Guardian(owner, scratch)
    yield guardian
    proc.kill_labelled(owner, spare=guardian.pid)
    guardian.dismiss()


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """A folder for all that must not be left, temporary files of every library included."""
    shutil.rmtree(folder, ignore_errors=True)
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o700, parents=True)
    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(room: Room, *, as_of: str) -> Iterator[Lab]:
    """Bring the stack up with a lab on it; take everything down again, in the opposite order."""
    owner = proc.owner()
    assert owner is not None
    stack = stacks.choose(room.request, room.home, owner, room.scratch)
    if stack.facts.emulated and restarts_broker(room.request.scenario):
        raise UserError(NO_RESTART, "`--broker rabbitmq`, or a scenario without `restart-broker`.")
    if stack.facts.name == "container":
        room.guardian.expect_containers()
    workload = Workload(room.request.workload, room.scratch / "workload") if room.request.workload else None
    try:
        room.listener(StackTaken(stack.facts, room.session.id))
        if stack.facts.name == "process":
            if (missing := stacks.left_out(room.request)) is not None:
                room.listener(Note(missing))
            room.request = stacks.for_processes(room.request)
        stack.start(room.cancel)
        worker_image = usable(room, stack)
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
            workload=workload,
            worker_image=worker_image,
            tells=lambda text: room.listener(Note(text)),
        )
        try:
            yield lab
        finally:
            lab.close()
    finally:
        stack.stop()


def usable(room: Room, stack: Stack) -> WorkerImage | None:
    """The image that trials run in: what was asked for, or a compose file's where its programs can run in it."""
    image, images = room.request.worker_image, stack.own_images()
    if image is None or images is None:
        return None
    if image.image is not None and not stacks.image_was_asked_for(room.request):
        why = unfit(image.image, images, room.cancel)
        if why is not None:
            words = f"The compose file's worker runs in {image.image}, which does not serve here: {why}"
            room.listener(Note(f"{words} Dependencies are installed from the project's own files instead."))
            return None
    return image


def upgraded_from(room: Room) -> Revision | None:
    """The revision whose leavings every trial begins with. Raises UserError when there is none of that name."""
    request = room.request
    if request.upgrade_from is None:
        return None
    if request.upgrade_from != "good":
        return room.revision(request.upgrade_from)
    if request.good == request.bad:
        raise UserError("`--upgrade-from good` needs a GOOD, and only one revision is tried.", "Name the revision.")
    return room.revision(request.good)


def plan_of(request: Request, source_roots: tuple[str, ...] = ()) -> Plan:
    return Plan(
        app=request.app,
        probe=request.probe,
        worker=request.worker or ("-c", "2"),
        subfolder=request.subfolder,
        variables=request.environment,
        prepare=request.prepare,
        source_roots=source_roots,
        scenario=request.scenario,
        start=request.start,
        beside=request.beside,
        django_settings=request.django_settings,
        services=request.services,
        migrate=request.migrate,
        fallback=request.fallback,
    )


def trials_of(room: Room, lab: Lab, plan: Plan, *, as_of: str) -> Trials:
    return Trials(
        lab,
        room.store,
        room.session.id,
        plan,
        digest=digest(room, lab, as_of),
        ceiling=room.request.ceiling,
        budget=60 * room.request.budget,
        listener=room.listener,
    )


def digest(room: Room, lab: Lab, as_of: str) -> Callable[[Plan], str]:
    """What names everything that was held the same in a trial (DESIGN 18); values only as a keyed hash."""
    request = room.request
    overlays = [(overlay.target, _content(overlay.source)) for overlay in request.overlays]

    def of(plan: Plan) -> str:
        facts = lab.stack.facts  # a service may have come in between
        probe = replace(plan.probe, expect=None)
        parts = [
            SCHEMA,
            [plan.start, plan.django_settings],
            [plan.app, plan.subfolder, list(plan.worker), plan.result_url, plan.prepare, list(plan.source_roots)],
            codec.encode(probe),
            plan.probe.expect is None,  # then no results are kept; what they are compared with is the judge's
            [list(pair) for pair in plan.variables],
            overlays,
            codec.encode(plan.scenario),
            before.tree if (before := upgraded_from(room)) is not None else None,
            [request.python, as_of, facts.name, facts.broker, facts.broker_version, facts.detail],
        ]
        if plan.beside:
            parts.append([list(words) for words in plan.beside])
        if facts.services or plan.migrate:
            parts.append([[list(one) for one in facts.services], plan.migrate])
        if request.companions:
            parts.append(codec.encode(request.companions))
        if request.worker_files:
            parts.append(codec.encode(request.worker_files))
        if lab.workload is not None:
            parts.append(lab.workload.digest)
        if lab.worker_image is not None:
            parts.append(codec.encode(lab.worker_image))
        return room.store.fingerprint(json.dumps(parts))

    return of


def _content(path: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
