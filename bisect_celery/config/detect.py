"""Finds the app and the worker's start line in a revision's files: one answer is used, several are listed.

What a start file says (Procfile, compose, unit files) comes before what the Python files suggest: it is what
production runs. Nothing is imported and nothing is run.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bisect_celery.config.apps import App, django_settings, find_apps, loads_djcelery
from bisect_celery.config.brokers import named_broker
from bisect_celery.config.commands import Command, commands_in, rank
from bisect_celery.config.dotenv import DotenvError, parse
from bisect_celery.config.listing import Cached, Listing
from bisect_celery.errors import UserError
from bisect_celery.model import STARTS

DEFAULT_WORKER = ("-c", "2")
# The app of django-celery, which `manage.py` starts by the settings; this start every version of it has.
DJCELERY = "djcelery.app"
MANAGED = "manage.py celeryd"


@dataclass(frozen=True)
class Detected:
    """What a revision says about how it is started. Each `*_source` names the place in words.

    `left_out` are words of the start line that a trial does without, with the reason; `other_workers` are further
    start lines of the same app that were found, with their places: production may run several kinds of worker.
    `broker` is the scheme of its broker's URL.
    """

    app: str
    app_source: str
    subfolder: str = ""
    worker: tuple[str, ...] = DEFAULT_WORKER
    worker_source: str = "default"
    django_settings: str | None = None
    django_source: str = ""
    left_out: tuple[str, ...] = ()
    other_workers: tuple[tuple[tuple[str, ...], str], ...] = ()
    start: str = STARTS[0]
    broker: str | None = None
    broker_source: str = ""


@dataclass(frozen=True)
class Candidate:
    """An app that could be meant: `spec` is for `-A`, seen from `subfolder`; `path` is its module's file."""

    spec: str
    subfolder: str
    path: str
    source: str


def detect(
    listing: Listing, *, typed_in: str = "", app: str | None = None, started: Sequence[Command] = ()
) -> Detected:
    """What the files of a revision say. `typed_in` is the folder the command was typed in: an app there is preferred.

    `app` is the user's own `--app`: then only its folder and start line are looked for. Raises UserError when there
    is no app, or more than one. `started` are the start lines of a compose file that was resolved: they come first.
    """
    files = Cached(listing)
    commands = [*started, *_commands(files)]
    apps = find_apps(files)
    found = (
        _the_users(files, app, typed_in) if app is not None else _the_one(files, commands, apps, typed_in, started[:1])
    )
    old = found.spec == DJCELERY
    matching = [one for one in commands if (one.manage if old else _starts(files, one, found))]
    broker, broker_source = named_broker(files) or (None, "")
    settings = django_settings(files, found.subfolder, found.path or None)
    django, django_source = settings if settings is not None else (None, "")
    if not matching:
        start = MANAGED if old else STARTS[0]
        return Detected(
            found.spec, found.source, found.subfolder, django_settings=django, django_source=django_source, start=start,
            broker=broker, broker_source=broker_source,
        )  # fmt: skip
    chosen = matching[0]
    words, source = _with_concurrency(chosen)
    others = {one.words: one.source for one in reversed(matching[1:]) if one.words != chosen.words}
    return Detected(
        found.spec, found.source, found.subfolder, words, source, django, django_source, chosen.left_out,
        tuple(others.items()), chosen.start, broker, broker_source,
    )  # fmt: skip


def _commands(files: Cached) -> list[Command]:
    """All start lines, production's files first."""
    ranked = [(place, path) for path in files.paths if (place := rank(path)) is not None]
    files.prefetch(path for _, path in ranked)
    found: list[Command] = []
    for _, path in sorted(ranked):
        found += commands_in(path, files.text(path), _beside(files, posixpath.dirname(path)))
    return found


def _beside(files: Cached, folder: str) -> dict[str, str]:
    """Defaults from the `.env` that compose and honcho read beside their file."""
    try:
        found = parse(files.text(posixpath.join(folder, ".env")))
    except DotenvError:
        return {}
    return {name: value for name, value in found.items() if value}


def _with_concurrency(command: Command) -> tuple[tuple[str, ...], str]:
    """Without a number of its own a worker takes one child for each processor: other trials on other machines."""
    sized = ("-c", "--concurrency", "--autoscale")
    single = {"solo"} & set(command.words)
    if single or any(word.startswith(sized) for word in command.words):
        return command.words, command.source
    return (*command.words, *DEFAULT_WORKER), f"{command.source}, with 2 children"


# --- which app ---------------------------------------------------------------------------------------


def _the_users(files: Cached, app: str, typed_in: str) -> Candidate:
    located = _locate(files, app, typed_in)
    if located is None and app == DJCELERY and (old := _djcelery(files, _commands(files), typed_in)) is not None:
        return old
    if located is None:
        return Candidate(app, typed_in, "", "--app")
    return Candidate(app, located[0], located[1], "--app")


def _the_one(
    files: Cached, commands: Sequence[Command], apps: Sequence[App], typed_in: str, chosen: Sequence[Command]
) -> Candidate:
    if first := _unique(_started(files, chosen, typed_in)):
        return first[0]
    started = _unique(_started(files, commands, typed_in))
    defined = _unique(Candidate(app.spec, _folder(files, app.root), app.path, app.source) for app in apps)
    for candidates in (_inside(started, typed_in), _inside(defined, typed_in), started, defined):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise _several(candidates, typed_in)
    if (old := _djcelery(files, commands, typed_in)) is not None:
        return old
    raise _none(files, commands)


def _djcelery(files: Cached, commands: Sequence[Command], typed_in: str) -> Candidate | None:
    """django-celery's own app, where nothing names another: it stands where `manage.py` does."""
    command = next((one for one in commands if one.manage), None)
    place = command.source if command is not None else loads_djcelery(files)
    hints = [command.workdir, command.folder, typed_in] if command is not None else [typed_in]
    places = [posixpath.dirname(path) for path in files.paths if posixpath.basename(path) == "manage.py"]
    if place is None or not places:
        return None
    folder = min(places, key=lambda one: _distance(one, [hint.strip("/") for hint in hints if hint is not None]))
    return Candidate(DJCELERY, folder, posixpath.join(folder, "manage.py"), place)


def _started(files: Cached, commands: Iterable[Command], typed_in: str) -> list[Candidate]:
    found = []
    for command in commands:
        if command.app is None or command.manage:
            continue
        located = _locate(files, command.app, command.folder, command.workdir, typed_in)
        if located is not None:
            found.append(Candidate(command.app, *located, command.source))
    return found


def _unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One of each app: two ways to write it (`shop`, `shop.celery:app`) are the same when they are the same file."""
    found: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        name = candidate.spec.partition(":")[2] or "app"
        found.setdefault((candidate.path, "app" if name == "celery" else name), candidate)
    return list(found.values())


def _inside(candidates: Sequence[Candidate], folder: str) -> list[Candidate]:
    if not folder:
        return []
    return [one for one in candidates if one.subfolder == folder or one.path.startswith(f"{folder}/")]


def _locate(files: Cached, spec: str, *hints: str | None) -> tuple[str, str] | None:
    """(subfolder, module's file) of what `-A` names, the nearest to the hints if there are several; None: nowhere."""
    module = spec.partition(":")[0]
    tails = [tail for name in _modules(module) for tail in (f"{name}/celery.py", f"{name}.py", f"{name}/__init__.py")]
    for tail in tails:
        found = [path for path in files.paths if path == tail or path.endswith(f"/{tail}")]
        if found:
            folders = [hint.strip("/") for hint in hints if hint is not None]
            best = min(found, key=lambda path: _distance(path.removesuffix(tail).rstrip("/"), folders))
            return _folder(files, best.removesuffix(tail).rstrip("/")), best
    return None


def _modules(module: str) -> list[str]:
    """The module as a path, and its parent: Celery takes `shop.app` as the attribute `app` of `shop`, too."""
    whole = module.replace(".", "/")
    parent = whole.rpartition("/")[0]
    return [whole, parent] if parent else [whole]


def _distance(folder: str, hints: Sequence[str]) -> tuple[int, int, str]:
    """The first hint that a folder fits (itself, or its `src`), then how deep it is."""
    for index, hint in enumerate(hints):
        if folder in (hint, posixpath.join(hint, "src")) or (hint and folder.endswith(posixpath.basename(hint))):
            return index, 0, folder
    return len(hints), folder.count("/") + bool(folder), folder


def _folder(files: Cached, root: str) -> str:
    """Where the worker is started for code in `root`: above a `src` whose project is described beside it.

    Not where Django's `manage.py` stands in `src` as well: people go there to start things.
    """
    parent, name = posixpath.split(root)
    if posixpath.join(root, "manage.py") in files.known:
        return root
    described = ("pyproject.toml", "setup.py", "setup.cfg")
    if name == "src" and any(posixpath.join(parent, file) in files.known for file in described):
        return parent
    return root


def _starts(files: Cached, command: Command, app: Candidate) -> bool:
    if command.manage:
        return False
    if command.app is None:
        return True  # `celery worker` of old reads celeryconfig or CELERY_APP: the one app there is
    located = _locate(files, command.app, command.folder, command.workdir, app.subfolder)
    return located is not None and app.path in (located[1], "") and _same_name(command.app, app.spec)


def _same_name(left: str, right: str) -> bool:
    names = {spec.partition(":")[2] or "app" for spec in (left, right)}
    return len(names - {"celery"}) <= 1


def _several(candidates: Sequence[Candidate], typed_in: str) -> UserError:
    lines = []
    for one in candidates:
        move = f"cd {shlex.quote(one.subfolder)} && " if one.subfolder and one.subfolder != typed_in else ""
        lines.append(f"{move}bisect-celery run GOOD BAD --app {one.spec}    ({one.source})")
    return UserError(f"There are {len(candidates)} Celery apps here: say which one.", "\n".join(lines))


def _none(files: Cached, commands: Sequence[Command]) -> UserError:
    managed = next((command.source for command in commands if command.manage), None) or loads_djcelery(files)
    if managed is not None:
        return UserError(
            f"{managed} starts Celery through django-celery, but no manage.py is in the tree.",
            "Name an app that `celery -A` can take: --app MODULE.",
        )
    unlocated = next((command.app for command in commands if command.app), None)
    if unlocated is not None and re.fullmatch(r"[\w.:]+", unlocated):
        return UserError(
            f"A start line names the app {unlocated}, but no module of that name is in the tree.",
            f"Say where it is: --app {unlocated}, typed in the folder it is imported from.",
        )
    return UserError(
        "No Celery app was found (looked for `app = Celery(...)` at the top of a module, and for `celery -A` in "
        "Procfile, compose files, Dockerfiles, unit files, scripts and Makefiles).",
        "Name it as for `celery -A`: --app MODULE or --app MODULE:NAME.",
    )
