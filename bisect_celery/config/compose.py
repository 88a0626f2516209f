"""A project's own compose file: which files belong to it, which service is its worker, and what that one says. Pure.

What is read here was resolved by a compose program (`stack.compose.project`) in a folder of ours that holds the files
of the BAD revision: so its paths lie below that folder, and are told from the repository's root.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bisect_celery.config.commands import Command, worker_command
from bisect_celery.config.companions import companions_of, is_code, pairs_of, words_of
from bisect_celery.config.handed import Handed, inside
from bisect_celery.config.listing import Cached
from bisect_celery.config.load import Variable
from bisect_celery.config.private import passwords_of, secrets_of
from bisect_celery.config.values import KINDS
from bisect_celery.errors import UserError
from bisect_celery.model import Build, Companion, WorkerImage

# --- what it says ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Composed:
    """What a project's compose file says. `services` are the names of all, `worker` which of them ours replaces ("":
    none could be told). `commands` are the start lines, the worker's first; `notes` what the user ought to know.
    `contents` are the files of the revision that were read, by their paths; `named` says by whom the file was. `broker`
    is the scheme of the worker's broker. `stood_in` are sentences of what nobody has and what is there instead.
    `worker_files` are secrets and configs: (path in its container, content)."""

    files: tuple[str, ...]
    source: str
    services: tuple[str, ...] = ()
    worker: str = ""
    image: WorkerImage | None = None
    commands: tuple[Command, ...] = ()
    variables: tuple[Variable, ...] = ()
    companions: tuple[Companion, ...] = ()
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contents: tuple[tuple[str, bytes], ...] = ()
    named: str = "found"
    broker: str | None = None
    worker_files: tuple[tuple[str, bytes], ...] = ()
    stood_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """A compose file that was resolved: its `document`, in the folder `root`; `order` are its services as written,
    `private` the texts of files of variables, `shown` those of examples. `handed` are the contents of its secrets and
    configs, by their paths in the repository, `variables` all that fills the file in."""

    document: Mapping[str, Any]
    root: str
    files: tuple[str, ...]
    source: str
    order: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    handed: Mapping[str, bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()


def understood(
    read: Read, contents: Cached, *, named: Sequence[str] = (), queue: str | None = None
) -> Composed:  # fmt: skip
    """What the file says for trials. `named` are services that the user named as workers; `queue` is the probe's.

    Raises UserError when there is no service of that name.
    """
    services: Mapping[str, Mapping[str, Any]] = read.document["services"]
    names = [name for name in read.order if name in services]
    names += [name for name in services if name not in names]
    for name in named:
        if name not in services:
            raise unknown_service(name, names)
    lines = {name: line for name in names if (line := _line(read, name, services[name])) is not None}
    worker, why = _worker(names, lines, named, queue)
    bare = Composed(read.files, read.source, tuple(names), worker, notes=(why,) if why else ())
    if not worker:
        return _with_companions(bare, read, contents)
    body = services[worker]
    variables = tuple(_variables(body, read, service_source(read.source, worker)))
    others = [lines[name] for name in dict.fromkeys((*named, *lines)) if name != worker and name in lines]
    first = (lines[worker],) if worker in lines else ()
    broker = next(_schemes(pairs_of(body.get("environment"))), None)
    whole = replace(bare, broker=broker, image=_image(body, read), commands=(*first, *others), variables=variables)
    return _with_companions(whole, read, contents)


def service_source(file: str, worker: str) -> str:
    """Who said what the worker's service is given."""
    return f"{file}, service {worker}"


def unknown_service(name: str, services: Sequence[str]) -> UserError:
    has = f"the compose file has {', '.join(services)}" if services else "no compose file was read"
    return UserError(f"`--service {name}`: of ours there are {', '.join(KINDS)}, and {has}.", "Name one of them.")


def _with_companions(composed: Composed, read: Read, contents: Cached) -> Composed:
    handed = Handed(read.document, read.root, composed.source, read.handed, read.variables)
    found, notes = companions_of(read.document, read.root, composed.worker, contents, handed, _profiles(read))
    pairs = [(one.name, one.value) for one in composed.variables]
    pairs += [pair for companion in found for pair in companion.environment]
    services = read.document["services"]
    started = [services[one.name] for one in found if one.kind != "rabbitmq"]
    started += [services[composed.worker]] if composed.worker else []
    hidden = [*handed.secrets(started), *passwords_of(found)]
    return replace(
        composed, companions=found, secrets=secrets_of(pairs, read.private, hidden, _known(read.document), read.shown),
        worker_files=handed.files(services[composed.worker]) if composed.worker else (),
        notes=(*composed.notes, *notes), stood_in=tuple(handed.notes(started)),
    )  # fmt: skip


def _profiles(read: Read) -> frozenset[str]:
    """Those that are on by themselves: as the project's `.env` says, or the user."""
    return frozenset(re.split(r"[\s,]+", read.variables.get("COMPOSE_PROFILES", ""))) - {""}


# --- the worker --------------------------------------------------------------------------------------

_BY_NAME = re.compile(r"(?:^|[-_.])(?:celery|celeryd|worker|workers)(?:[-_.]?(?:celery|worker|workers|\d+))?$", re.I)


def _line(read: Read, name: str, body: Mapping[str, Any]) -> Command | None:
    """The start line of a service, where it starts a Celery worker."""
    words = [*words_of(body.get("entrypoint")), *words_of(body.get("command"))]
    if len(words) > 1 and words[-2] in ("-c", "-lc", "-ec"):
        words = [*words[:-1], *words_of(words[-1])]
    found = worker_command(words)
    if found is None:
        return None
    app, kept, left_out, start = found
    folder = posixpath.dirname(read.files[0])
    return Command(app, kept, f"{read.source}: {name}", folder, left_out, _place(read, body), start)


def _worker(
    names: Sequence[str], lines: Mapping[str, Command], named: Sequence[str], queue: str | None
) -> tuple[str, str]:
    """Which service is the worker, and what is to be said of the choice."""
    if named:
        return named[0], ""
    if not lines:
        by_name = [name for name in names if _BY_NAME.search(name)]
        if not by_name:
            return "", "none of its services starts a Celery worker; `--service NAME` names the one that does"
        return by_name[0], f"the service {by_name[0]} is taken for the worker, by its name (`--service NAME`)"
    if len(lines) == 1:
        return next(iter(lines)), ""
    serving = [name for name, line in lines.items() if queue is not None and queue in _queues(line.words)]
    chosen = next(iter(serving or lines))
    others = ", ".join(name for name in lines if name != chosen)
    why = f", which serves the queue {queue}" if serving else ", the first of its workers"
    return chosen, f"the service {chosen} is taken{why}; others: {others} (`--service NAME`, or beside it `--beside`)"


def _queues(words: Sequence[str]) -> set[str]:
    for option, value in itertools.pairwise(words):
        if option in ("-Q", "--queues"):
            return set(value.split(","))
    return {"celery"}


def _image(body: Mapping[str, Any], read: Read) -> WorkerImage | None:
    """What it runs in. An image that another service builds is no ready one."""
    root, image = read.root, body.get("image")
    builders = (one.get("build") for one in read.document["services"].values() if image and one.get("image") == image)
    build = body.get("build") or next(filter(None, builders), None)
    if isinstance(build, str):
        build = {"context": build}
    if not isinstance(build, Mapping):
        return WorkerImage(image=str(image)) if image else None
    context = inside(str(build.get("context") or root), root)
    if context is None:
        return None
    dockerfile = inside(posixpath.join(root, context, str(build.get("dockerfile") or "Dockerfile")), root)
    if dockerfile is None or build.get("dockerfile_inline"):
        return None
    given = build.get("args") or {}
    args = given if isinstance(given, Mapping) else dict(str(one).partition("=")[::2] for one in given)
    target = str(build["target"]) if build.get("target") else None
    kept = tuple((str(name), str(value)) for name, value in args.items() if value is not None)
    return WorkerImage(build=Build(context, dockerfile, target, kept))


# --- what it is given --------------------------------------------------------------------------------

# What is a container's own business, and would be wrong in any other.
_CONTAINERS_OWN = re.compile(
    r"^(?:PATH|HOME|USER|SHELL|HOSTNAME|PWD|TMPDIR|VIRTUAL_ENV|LD_\w+|PYTHONHOME|UV_\w+|PIP_\w+)$"
)
_BROKERS = re.compile(r"^(?:CELERY_)?BROKER(?:_READ|_WRITE)?_URL$")
_AMQP = re.compile(r"^(?:amqps?|pyamqp|librabbitmq)://", re.I)


def _variables(body: Mapping[str, Any], read: Read, source: str) -> Iterator[Variable]:
    """The worker's environment: its broker is ours, and its folders are where the tree is laid out."""
    mounts = [(target, folder) for target, folder in is_code(body, read.root)]
    for name, value in pairs_of(body.get("environment")).items():
        if _CONTAINERS_OWN.match(name) or (_BROKERS.match(name) and not _AMQP.match(value)):
            continue
        if _AMQP.match(value):
            value = "{broker_url}"
        elif mounts:
            value = _moved(value, mounts)
        yield Variable(name, value, source)


def _schemes(pairs: Mapping[str, str]) -> Iterator[str]:
    """Of the broker's URL, as far as its name or kind tells that it is one."""
    for name, value in pairs.items():
        if "://" in value and (_BROKERS.match(name) or _AMQP.match(value)):
            yield value.partition("://")[0].lower()


def _moved(value: str, mounts: Sequence[tuple[str, str]]) -> str:
    """Paths below the place where the container has the code, each of a list of them, as paths of a checkout."""
    parts = value.split(":") if value.startswith("/") else [value]
    return ":".join(_moved_one(part, mounts) for part in parts)


def _moved_one(path: str, mounts: Sequence[tuple[str, str]]) -> str:
    for target, folder in mounts:
        if path == target or path.startswith(f"{target}/"):
            return posixpath.normpath(posixpath.join("{checkout}", folder, path[len(target) :].lstrip("/")))
    return path


def _place(read: Read, body: Mapping[str, Any]) -> str | None:
    """Where the worker is started, as a folder of the repository; None where that cannot be told."""
    place = body.get("working_dir")
    for target, folder in is_code(body, read.root) if isinstance(place, str) else ():
        if place == target or str(place).startswith(f"{target}/"):
            return posixpath.normpath(posixpath.join(folder, str(place)[len(target) :].lstrip("/"))).strip(".")
    return None


def _known(document: Mapping[str, Any]) -> set[str]:
    """Names that everybody may read: of services, and of their images."""
    return {str(name) for name, body in document["services"].items() for name in (name, body.get("image"))}
