"""What was missing when a trial did not come to its probes, or in them, and the flag that supplies it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from bisect_celery.config.bindings import SET, service_of
from bisect_celery.config.naming import part_of
from bisect_celery.lab.missing import missing_in
from bisect_celery.model import Failure, Fallback, Judged, Observation, Stage, Verdict
from bisect_celery.stack.services.protocol import ALIASES

OF_A_SYSTEM = "an image that has {} (`--dockerfile FILE`, `--image NAME`), or `--stack process` on a machine with it"
FLAGS = {
    "variable": "`--env {name}=VALUE`, `--env-file FILE` or `--pass {name}`",
    "module": "`--overlay FILE` if it is a file that is not committed, or its package in the requirements",
    "host": "`--env` for the variable that names this host; `--service` has redis, postgres, mariadb and mysql",
    "package": OF_A_SYSTEM.format("this system library"),
    "file": "`--overlay FILE:{name}`",
    "python": "`--python VERSION`",
    "image": "`docker login` or `docker pull` for it, or `--build-arg` where the Dockerfile takes its name",
    "program": OF_A_SYSTEM.format("it"),
    "header": OF_A_SYSTEM.format("this library's headers"),
    "library": OF_A_SYSTEM.format("this library's headers"),
}
# `NotRegistered('orders.mail')`, as events tell it, and "Task of kind 'orders.mail' never registered", as results do.
_NAMED = re.compile(r"(?<=')[^\s']+(?=')|^[^\s']+$")
_ALIKE = 0.8  # of two names, as difflib measures it: letters that differ, not words
_LISTED = 5
MIGRATE = "`--migrate 'python manage.py migrate'`"
# How databases say that a table or column is not there: PostgreSQL, SQLite, MariaDB and MySQL.
_NO_TABLE = re.compile(
    r"(?:relation|column) \W*[\w.]+\W* does not exist|no such (?:table|column)|Table '[^']+' doesn't exist|"
    r"Unknown column '"
)


def for_trial(judged: Judged, fallback: Fallback | None = None) -> tuple[str, ...]:
    """What a single trial that did not go well may want; nothing where all it says is how the code behaves."""
    if judged.judgement.verdict is Verdict.GOOD:
        return ()
    failure = judged.trial.observation.failure
    return advice(failure, fallback) if failure is not None else of_probes(judged.trial.observation)


def advice(failure: Failure, fallback: Fallback | None = None) -> tuple[str, ...]:
    """What to do about a trial that did not come to its probes: each thing that is missing, with its flag."""
    found = [f"missing {kind} `{name}`: {_flag(kind, name, fallback)}." for kind, name in failure.missing]
    if failure.stage is Stage.ENVIRONMENT:
        found.append(_other_pins(failure))
    if failure.stage is Stage.PREPARE and not failure.missing:
        found.append("Its output is in the trial's log. What the command needs: `--env`, `--env-file`, `--overlay`.")
    return tuple(found)


def _other_pins(failure: Failure) -> str:
    listed = re.search(r"that (\S+) asks for|^No release of .* what (\S+) asks", failure.reason)
    named = next((group for group in listed.groups() if group), "") if listed else ""
    target = named if named.endswith((".txt", ".in", ".pip")) else "requirements.txt"
    return f"Another interpreter: `--python VERSION`. Pins of your own: `--overlay FILE:{target}`."


def _flag(kind: str, name: str, fallback: Fallback | None) -> str:
    """As `flag`; where the project shows an example that sets the variable, that comes first."""
    if kind == "variable" and fallback is not None and name in dict(fallback.variables):
        return f"`--env-file {fallback.source}` sets it; {flag(kind, name)}"
    return flag(kind, name)


def of_probes(seen: Observation) -> tuple[str, ...]:
    """What the failures of tasks say is missing: a table, a host, a variable, a task. The first of each is enough."""
    return tuple(dict.fromkeys(_of_tasks(seen)))


def _of_tasks(seen: Observation) -> Iterator[str]:
    for message in seen.messages:
        if message.exception is None:
            continue
        detail = message.detail or ""
        if message.exception == "NotRegistered":
            named = _NAMED.search(detail)
            yield from _like(named[0] if named else "", seen.worker.registered)
        if _NO_TABLE.search(detail):
            yield f"A task found no table or column: {MIGRATE}, and `--prepare` for what must be in it."
        for kind, name in missing_in(message.exception, detail):
            yield f"missing {kind} `{name}`: {flag(kind, name)}."


def _like(task: str, registered: tuple[str, ...]) -> Iterator[str]:
    """Which task may have been meant; nothing where the app has it, so that only its worker does not."""
    names = [name for name in registered if not name.startswith("celery.")]
    if not task or not names or task in names:
        return
    same_end = [name for name in names if name.rpartition(".")[2] == task.rpartition(".")[2]]
    close = same_end or get_close_matches(task, names, 3, _ALIKE)
    known = f"Named like it: {_listed(close)}" if close else f"It has {_listed(names)}"
    yield f"The app has no task `{task}`. {known}."


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def flag(kind: str, name: str) -> str:
    """The flag that supplies what is missing, `kind` and `name` as in `Failure.missing`."""
    service = service_of(name) if kind in ("variable", "host") else None
    if service is None:
        return FLAGS.get(kind, "see its log").format(name=name)
    what = "redis" if service == "redis" else "database"
    if kind == "host":
        found = f"; in containers `{name}` is found as it is" if name in ALIASES.get(service, ()) else ""
        parts = f"`{{{what}_host}}` and `{{{what}_port}}`, or `{{{what}_url}}`"
        return f"`--service {service}`, with {parts} for the variables that the settings read (`--env`){found}"
    if name == SET[service]:
        return f"`--service {service}` sets it"
    part = part_of(name) or "url"
    return f"`--service {service} --env {name}={{{what}_{part}}}`, or a value of your own: `--env {name}=VALUE`"
