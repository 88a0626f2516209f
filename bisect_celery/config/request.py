"""All that was said and found, as one Request; and that Request, told with its sources."""

from __future__ import annotations

import dataclasses
import json
import operator
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bisect_celery.config import secret
from bisect_celery.config.commands import worker_command, worker_words
from bisect_celery.config.compose import Composed, service_source, unknown_service
from bisect_celery.config.detect import Detected
from bisect_celery.config.load import Loaded
from bisect_celery.config.message import HINT, Stuck
from bisect_celery.config.rebind import rebound
from bisect_celery.config.settings import SETTINGS
from bisect_celery.config.values import KINDS
from bisect_celery.core import scenario
from bisect_celery.errors import UserError
from bisect_celery.model import Companion, Probe, Request, Script, Step

DEFAULT = "default"
HIDDEN = "***"
ELLIPSIS = "…"
# Under this name a request's sources say what stands in for what nobody has.
STOOD_IN = "compose stood in"
MESSAGE = "message "


def to_request(
    loaded: Loaded,
    detected: Detected,
    *,
    good: str,
    bad: str,
    paths: Sequence[str] = (),
    repository: Path,
    composed: Composed | None = None,
) -> Request:
    """The Request of a run. `good`, `bad` and `paths` are as typed; `detected` is of the BAD revision.

    The user's own `--worker` is taken as it is, but for the words that a trial never has (beat, logs, names): so
    production's whole start line can be pasted. The sources also tell what was left out of it ("worker left out") and
    which other start lines the project has ("other workers"). Raises UserError.
    """
    composed = composed or NOTHING
    sources = {"good": "argument", "bad": "argument", **loaded.sources, **_sources_of(composed)}
    sources.setdefault("app", detected.app_source)
    start, worker = _worker(loaded, detected, sources)
    if detected.broker and "broker" not in sources:
        sources.setdefault("project's broker", detected.broker_source)
    if detected.django_settings:
        sources["django-settings"] = detected.django_source
    probe = dataclasses.replace(_stuck(loaded, sources), **_said(loaded, "probe."))
    _refuse_contradictions(probe)
    bare = Request(
        repository=repository,
        good=good,
        bad=bad,
        app=loaded.text("app") or detected.app,
        subfolder=detected.subfolder,
        paths=tuple(paths),
        probe=probe,
        worker=worker,
        start=start,
        environment=_environment(loaded, composed, sources),
        secrets=secret.unique((*loaded.secrets, *composed.secrets)),
        overlays=loaded.overlays,
        django_settings=detected.django_settings,
        project_broker=composed.broker or detected.broker,
        sources=tuple(sorted(sources.items())),
        worker_image=composed.image,
        companions=composed.companions,
        worker_files=composed.worker_files,
    )
    request = dataclasses.replace(bare, **_said(loaded, ""))
    request = dataclasses.replace(request, beside=tuple(map(_words_of, request.beside)))
    request = _beside_compose(request, composed)
    request = dataclasses.replace(request, services=_services(request))
    if probe.judges and request.fails is not None and request.fails < 1:
        raise UserError(
            "`--fails` is for failures that come and go, `--judge` for what is worse in every start.",
            "Leave one of them out.",
        )
    return request


NOTHING = Composed((), "")


def _sources_of(composed: Composed) -> dict[str, str]:
    """What is told of a compose file: where it is, what was made of it, and what the user ought to know."""
    if not composed.files:
        return {}
    found = {"compose": composed.named, "compose files": ", ".join(composed.files)}
    beside = ", ".join(f"{one.name} ({one.image})" for one in composed.companions)
    parts = [f"the worker is its service {composed.worker}"] if composed.worker else []
    parts += [f"beside the trials stand {beside}"] if beside else []
    found["compose service"] = service_source(composed.source, composed.worker)
    if composed.broker:
        found["project's broker"] = found["compose service"]
    found["compose told"] = "; ".join((*parts, *composed.notes, *composed.stood_in))
    if composed.stood_in:
        found[STOOD_IN] = "; ".join(composed.stood_in)
    return found


def told_of_compose(request: Request) -> str | None:
    """What was made of the project's compose file, in a line."""
    sources = dict(request.sources)
    told = sources.get("compose told")
    return f"{sources['compose files']}: {told.rstrip('.')}." if told else None


def _environment(loaded: Loaded, composed: Composed, sources: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The worker's of the compose file; what the user said is louder."""
    for one in composed.variables:
        sources.setdefault(f"env {one.name}", one.source)
    pairs = {one.name: one.value for one in (*composed.variables, *loaded.variables)}
    return tuple(pairs.items())


def _beside_compose(request: Request, composed: Composed) -> Request:
    """The kinds that `--service` asks for are ours: what the compose file has of them gives way, with all that led
    there. Its other names are of services of that file."""
    kinds = tuple(name for name in request.services if name in KINDS)
    for name in request.services:
        if name not in kinds and not composed.worker:
            raise unknown_service(name, composed.services)
    theirs = [one for one in request.companions if one.kind in kinds]
    kept = tuple(one for one in request.companions if one not in theirs)
    return dataclasses.replace(led_to_ours(request, theirs), services=kinds, companions=kept)


def led_to_ours(request: Request, companions: Sequence[Companion]) -> Request:
    """The request with the compose file's variables leading to servers of ours in place of these companions; what the
    user said by name stays."""
    sources = dict(request.sources)
    theirs = [pair for pair in request.environment if sources.get(f"env {pair[0]}") == sources.get("compose service")]
    moved = dict(rebound(theirs, companions))
    return dataclasses.replace(
        request, environment=tuple((name, moved.get(name, value)) for name, value in request.environment)
    )


def _stuck(loaded: Loaded, sources: dict[str, str]) -> Probe:
    """The probe that a stuck message makes, as far as nothing else was said. Raises UserError where it says too little.

    Flags and files win, whatever layer they stand in: a message is an example, what is spelt out is meant.
    """
    stuck = loaded.settings.get("message")
    if not isinstance(stuck, Stuck):
        return Probe()
    taken = {"task": stuck.task, "args": stuck.args, "kwargs": stuck.kwargs, "queue": stuck.queue}
    if stuck.task is None and "task" not in loaded.settings:
        raise UserError(f"{stuck.name} does not show the task's name, which is in the message's headers.", HINT)
    if stuck.unread and not {"args", "kwargs"} <= set(loaded.settings):
        raise UserError(
            f"The arguments in {stuck.name} cannot be used: {stuck.unread}.",
            f"Give both by hand: `--task {stuck.task or 'NAME'} --args JSON --kwargs JSON`. {HINT}",
        )
    found: dict[str, Any] = {
        key: value for key, value in taken.items() if value is not None and key not in loaded.settings
    }
    sources.update({key: f"{MESSAGE}{stuck.name}" for key in found})
    if stuck.left_out:
        sources["message left out"] = ", ".join(stuck.left_out)
    if stuck.routing_key and stuck.queue is None:
        sources["message routing key"] = stuck.routing_key
    if stuck.count > 1:
        sources["message others"] = str(stuck.count - 1)
    return dataclasses.replace(Probe(), **found)


def told_of_message(request: Request) -> str | None:
    """What was made of a stuck message, in a line; its arguments are nobody's business."""
    sources = dict(request.sources)
    taken = [key for key in ("task", "args", "kwargs", "queue") if sources.get(key, "").startswith(MESSAGE)]
    if "message" not in sources:
        return None
    probe = request.probe
    shown = {"task": f"task {probe.task}", "queue": f"queue {probe.queue}"}
    parts = ["the probe takes " + (", ".join(shown.get(key, key) for key in taken) or "nothing from it")]
    for key, words in (
        ("message left out", "not taken over: {}"),
        ("message routing key", "its routing key {} is left to the project's own routes"),
        ("message others", "{} more messages in it are not sent"),
    ):
        if key in sources:
            parts.append(words.format(sources[key]))
    return f"Message: {'; '.join(parts)}."


_OF_REDIS = re.compile(r"\{redis_(?:url|host|port|name|password)\}")
_OF_DATABASE = re.compile(r"\{database_(?:host|port|name|user|password)\}")


def _services(request: Request) -> tuple[str, ...]:
    """What was asked for, and a Redis where a variable names one. Raises UserError where one names a server's parts
    and no server was asked for."""
    found = request.services
    if any(_OF_REDIS.search(value) for _, value in request.environment) and "redis" not in found:
        found = (*found, "redis")
    if not set(found) - {"redis"}:
        for name, value in request.environment:
            if part := _OF_DATABASE.search(value):
                raise UserError(
                    f"`{name}` takes {part[0]}, and a trial's own database is a file without `--service`.",
                    "Say which server: `--service postgres` or `--service mariadb`.",
                )
    beside = [*found, *(one.name for one in request.companions if one.kind != "rabbitmq")]
    if request.upgrade_from and beside:
        raise UserError(
            "What an older revision leaves in a service cannot be carried over yet, so `--upgrade-from` would be half "
            f"of a state beside {', '.join(beside)}.",
            "Leave `--service` out, and the compose file (`--compose none`), or `--upgrade-from`.",
        )
    return found


def _refuse_contradictions(probe: Probe) -> None:
    if probe.sender == "harness" and probe.queue is None:
        raise UserError(
            "`--send harness` needs to know where to send.", "Name the queue: --send harness --queue celery."
        )
    if probe.sender == "harness" and (probe.check or probe.script):
        which = "--check" if probe.check else "--script"
        raise UserError(f"`{which}` runs inside the project, and `--send harness` does not.", "Leave one of them out.")
    told = bool(probe.task or probe.queue or probe.args != "[]" or probe.kwargs != "{}")
    if probe.periodic is not None and (told or probe.script or probe.sender == "harness"):
        raise UserError(
            "`--periodic` sends what the schedule says: its task, with its arguments and options.",
            "Leave out `--periodic`, or task, args, kwargs, queue, script and send (they may stand in "
            "bisect-celery.toml).",
        )
    if probe.script is not None and told:
        raise UserError(
            f"{probe.script.name} sends by itself; task, args, kwargs and queue would be ignored.",
            "Leave out `--script`, or these (they may stand in bisect-celery.toml).",
        )


def _said(loaded: Loaded, prefix: str) -> dict[str, Any]:
    """What was said for the fields of one dataclass, by the field's name: "" is the Request, "probe." the Probe."""
    placed = {setting.key: setting.field for setting in SETTINGS if setting.field}
    return {
        field.removeprefix(prefix): loaded.settings[key]
        for key, field in placed.items()
        if key in loaded.settings and field.rpartition(".")[0] == prefix.rstrip(".")
    }


def _worker(loaded: Loaded, detected: Detected, sources: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """What starts the worker, and its words; a whole start line tells both."""
    sources.setdefault("start", detected.worker_source)
    if "worker" not in loaded.settings:
        sources["worker"] = detected.worker_source
        if detected.left_out:
            sources["worker left out"] = "; ".join(detected.left_out)
        if detected.other_workers:
            others = (f"{shlex.join(words)} ({place})" for words, place in detected.other_workers)
            sources["other workers"] = "; ".join(others)
        return detected.start, detected.worker
    said = loaded.get("worker", tuple, ())
    whole = worker_command(said)
    if whole is not None and "start" not in loaded.settings:
        sources["start"] = sources["worker"]
    start, (_, words, left_out) = (whole[3], whole[:3]) if whole else (detected.start, worker_words(said))
    if left_out:
        sources["worker left out"] = "; ".join(left_out)
    return start, words


def _words_of(line: tuple[str, ...]) -> tuple[str, ...]:
    """A further worker's own words: like the first one's, without those that a trial never has."""
    whole = worker_command(line)
    return whole[1] if whole is not None else worker_words(line)[1]


def describe(request: Request) -> list[tuple[str, str, str]]:
    """(key, value, source) of every setting, in the order of a command line; secrets hidden."""
    sources = dict(request.sources)
    rows = [
        (key, _shown(value) if not _private(key, sources) else ELLIPSIS, sources.get(key, DEFAULT))
        for key, value in _settings(request)
    ]
    rows += [
        (f"env {name}", _redacted(value, request.secrets), sources.get(f"env {name}", DEFAULT))
        for name, value in request.environment
    ]
    rows += [
        (f"overlay {one.target}", str(one.source), sources.get(f"overlay {one.target}", DEFAULT))
        for one in request.overlays
    ]
    return [(key, _redacted(value, request.secrets), source) for key, value, source in rows]


def _private(key: str, sources: Mapping[str, str]) -> bool:
    """Whether a setting is somebody's business whom nobody asked: the arguments of a message out of a queue."""
    return key in ("args", "kwargs") and sources.get(key, "").startswith(MESSAGE)


def _settings(request: Request) -> list[tuple[str, object]]:
    return [
        ("good", request.good),
        ("bad", request.bad),
        ("app", request.app),
        ("subfolder", request.subfolder or "."),
        ("worker", shlex.join(request.worker)),
        ("compose", dict(request.sources).get("compose files")),
        *((setting.key, operator.attrgetter(setting.field)(request)) for setting in SETTINGS if setting.field),
        ("django-settings", request.django_settings),
        *_image(request),
    ]


def _image(request: Request) -> list[tuple[str, object]]:
    image = request.worker_image
    if image is None or image.build is None:
        return [("image", image.image)] if image is not None else []
    build = image.build
    arguments = [(f"build-arg {name}", value) for name, value in build.args]
    return [
        ("dockerfile", build.dockerfile),
        ("build-context", build.context or "."),
        ("target", build.target),
        *arguments,
    ]


def _shown(value: object) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, Script):
        return f"{value.name} ({len(value.text.splitlines())} lines)"
    if isinstance(value, tuple):
        return ", ".join(_part(one) for one in value)
    if isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _part(one: object) -> str:
    if isinstance(one, tuple):
        return shlex.join(one)
    return scenario.words(one) if isinstance(one, Step) else str(one)


def _redacted(value: str, secrets: Sequence[str]) -> str:
    for hidden in secrets:
        value = value.replace(hidden, HIDDEN)
    return value
