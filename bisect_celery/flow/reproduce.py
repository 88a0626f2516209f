"""The same trial once more, but its place stays up until it is left."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bisect_celery.core import deadline, judge
from bisect_celery.environment.resolve import EnvironmentFailed
from bisect_celery.errors import UserError
from bisect_celery.flow.adopt import adopted, as_session
from bisect_celery.flow.ask import WORKING_TREE, Typed, request
from bisect_celery.flow.earlier import provide
from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Listener
from bisect_celery.flow.session import Room, opened, plan_of, running, upgraded_from
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Environment, Observation, Place, Request, Session, Tree
from bisect_celery.repo.layout import LayoutFailed
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository
from bisect_celery.store.database import Store

OF_SESSION = ("culprit", "parent", "fixed")
SCRIPT = "send-probe.sh"
# Seconds of silence after which a worker that looks like the bad end is shown as it stands.
SOON = 5.0


@dataclass(frozen=True)
class Kept:
    """A place that stays up: what was seen in it, and how to look around."""

    observation: Observation
    rule: str
    rows: tuple[tuple[str, str], ...]
    checkout: str
    environment: dict[str, str]


def reproduce(
    asked: Request,
    what: str,
    home: Home,
    *,
    listener: Listener,
    cancel: Token,
    command: str,
    stay: Callable[[Kept], None],
) -> None:
    """Try a revision, or `culprit`, `parent`, `fixed` of the last session, and call `stay` while all of it is up.

    Everything goes when `stay` returns. Raises UserError when there is no such thing to reproduce.
    """
    with opened(asked, home, command=command, listener=listener, cancel=cancel) as room:
        tree, repository = _tree(room, what)
        upgraded_from(room)  # there is none of that name: said before anything is started
        if repository is not None:
            room.repository = repository
        with running(room, as_of=_date(room, what)) as lab:
            plan: Plan | None = _plan(room, lab, what)
            provide(room, lab, plan_of(room.request))
            while plan is not None:
                plan = _kept(lab, asked, _order(room, what, tree, plan), stay, good=what not in OF_SESSION)


def _plan(room: Room, lab: Lab, what: str) -> Plan:
    plan = plan_of(room.request)
    return as_session(_solved(room.store, room.request.repository), plan, lab.serve) if what in OF_SESSION else plan


def _kept(lab: Lab, asked: Request, order: Order, stay: Callable[[Kept], None], *, good: bool) -> Plan | None:
    """Keep one trial up until it is left; another plan when it needs one (`flow.adopt`)."""
    try:
        with lab.kept(order) as (place, environment, seen):
            found = adopted(seen, order.plan, lab.serve, good=good)
            if found is None:
                _stay(order.plan, asked, place, environment, seen, stay)
            return found.plan if found is not None else None
    except EnvironmentFailed as failed:
        reason, name = failed.failure.reason, order.tree.label
        raise UserError(f"{name} has no environment here: {reason}", "`--python`, `--overlay FILE`") from failed
    except LayoutFailed as failed:
        raise UserError(f"{order.tree.label} cannot be laid out: {failed.reason}", "Look at its filters.") from failed


def _stay(
    plan: Plan,
    asked: Request,
    place: Place,
    environment: Environment,
    seen: Observation,
    stay: Callable[[Kept], None],
) -> None:
    """Tell what was seen and how to look around, and wait for whoever looks."""
    rule = judge.symptom(seen, judge.standard_of(asked.probe))
    rows = (*place.describe(), ("send again", _script(place, plan, environment)))
    variables = dict(plan.sender_program(place, environment).env)
    stay(Kept(seen, f"{rule.symptom}: {rule.rule}", rows, place.checkout, variables))


def shell(kept: Kept, program: str) -> None:
    """An interactive shell in the checkout, with the variables of the trial. It has the terminal to itself."""
    inside = next((value for name, value in kept.rows if name == "worker" and value.startswith("docker ")), None)
    if inside is not None:
        subprocess.call(shlex.split(inside))
    else:
        subprocess.call([program], cwd=kept.checkout, env={**kept.environment, "TERM": "xterm"})


def _order(room: Room, what: str, tree: Tree, plan: Plan) -> Order:
    """The trial to keep. What a session saw already is known again sooner."""
    deadlines = deadline.before(room.request.ceiling)
    bad = _solved(room.store, room.request.repository).bad_symptom if what in OF_SESSION else None
    if bad is None:
        return Order("0001-kept", tree, plan, deadlines)
    standard = judge.standard_of(plan.probe)
    return Order(
        "0001-kept",
        tree,
        plan,
        dataclasses.replace(deadlines, quick=SOON),
        lambda picture: judge.symptom(picture, standard).symptom.same_failure(bad),
    )


# --- which tree ----------------------------------------------------------------------------------------


def _tree(room: Room, what: str) -> tuple[Tree, PrivateRepository | None]:
    """The tree to run, and the private repository that has it when that is a session's."""
    if what == WORKING_TREE:
        return room.repository.working_tree(), None
    if what not in OF_SESSION:
        return as_tree(room.revision(what)), None
    session = _solved(room.store, room.request.repository)
    theirs = PrivateRepository.create(
        room.home.session_folder(session.id) / "git", open_repository(room.request.repository)
    )
    return _of(session, what, theirs), theirs


def _solved(store: Store, repository: Path) -> Session:
    """The latest session of a repository that named a culprit. Raises UserError when there is none."""
    for summary in store.sessions():
        if summary.repository == repository and summary.outcome is not None:
            session = store.load(summary.id)
            if session.culprit is not None:
                return session
    raise UserError("No session of this repository named a culprit.", "Name a revision instead.")


def _of(session: Session, what: str, repository: PrivateRepository) -> Tree:
    assert session.culprit is not None
    revision = session.culprit.revision
    if what == "culprit":
        return as_tree(revision)
    if what == "parent":
        parents = repository.parents(revision)
        if not parents:
            raise UserError(f"The culprit {revision.short} has no parent.", "`reproduce culprit` works.")
        return as_tree(parents[0])
    if session.culprit.fixed_tree is None:
        raise UserError(f"Session {session.id} proved no fix.", "`reproduce culprit` works.")
    return Tree(session.culprit.fixed_tree, f"{revision.short} fixed", revision.title)


def _date(room: Room, what: str) -> str:
    if what == WORKING_TREE:
        return room.revision("HEAD").date
    if what in OF_SESSION:
        session = _solved(room.store, room.request.repository)
        return session.bad.date if session.bad else room.revision("HEAD").date
    return room.revision(what).date


# --- sending again ---------------------------------------------------------------------------------------


def _script(place: Place, plan: Plan, environment: Environment) -> str:
    """How to run a script in the work folder that sends one more probe as a trial does."""
    program = plan.sender_program(place, environment)
    broker = urlsplit(place.broker_url)
    load = {
        "do": "load",
        "app": plan.app,
        "broker": {
            "host": broker.hostname,
            "port": broker.port,
            "vhost": unquote(broker.path.lstrip("/")),
            "user": unquote(broker.username or ""),
        },
    }
    probe = plan.probe
    send = {
        "do": "send",
        "task": probe.task,
        "args": json.loads(probe.args),
        "kwargs": json.loads(probe.kwargs),
        "queue": probe.queue,
        "ids": ["00000000-0000-4000-8000-000000000001"],
        "wave": 1,
    }
    if probe.periodic is not None:
        load["periodic"] = probe.periodic
        send = {"do": "script", "count": 1, "wave": 1}
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in program.env)
    folder = shlex.quote("/".join(part for part in (place.checkout, program.folder) if part))
    orders = " ".join(shlex.quote(json.dumps(order)) for order in (load, send))
    text = (
        "#!/bin/sh\n# Sends one more probe and waits five seconds for its result.\n"
        f"cd {folder} && {{ printf '%s\\n' {orders}; sleep 5; }} | env -i {variables} {shlex.join(program.argv)}\n"
    )
    return place.script(SCRIPT, text)


def under_terms_of_last(typed: Typed, home: Home) -> Request:
    """What the latest session of this repository was asked, with what is said now in its place.

    Values of variables are never kept: raises UserError naming those that must be given again.
    """
    with Store.open(home.make().database) as store:
        session = _solved(store, open_repository(typed.folder).root)
    revision = session.culprit.revision.sha if session.culprit else (session.bad.sha if session.bad else "HEAD")
    now = request(dataclasses.replace(typed, good=revision, bad=revision), home)
    given = dict(now.environment)
    missing = [name for name, _ in session.request.environment if name not in given]
    if missing:
        raise UserError(
            f"Session {session.id} ran with {', '.join(missing)}; values are never kept.",
            "Give them again: " + " ".join(f"--env {name}=…" for name in missing),
        )
    return dataclasses.replace(
        session.request,
        good=revision,
        bad=revision,
        environment=now.environment,
        secrets=now.secrets,
        worker_image=now.worker_image or session.request.worker_image,
        companions=now.companions,
        worker_files=now.worker_files,
        stack=typed_or(typed, "stack", now.stack, session.request.stack),
        broker=typed_or(typed, "broker", now.broker, session.request.broker),
        rabbitmq_image=typed_or(typed, "rabbitmq_image", now.rabbitmq_image, session.request.rabbitmq_image),
        remote_engine=now.remote_engine or session.request.remote_engine,
    )


def typed_or(typed: Typed, key: str, now: str | None, then: str | None) -> str | None:
    return now if typed.flags.get(key) else then
