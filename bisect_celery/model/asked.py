"""What a user asks for: the probe, the faults, what stands beside the worker, and the whole request."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path


class Match(enum.StrEnum):
    """Which failures count as the failure we look for."""

    SAME = "same"
    ANY = "any"


@dataclass(frozen=True)
class Probe:
    """The task to send. `task` None means Celery's own `celery.accumulate`-like task every Celery has.

    `args`, `kwargs`, `expect` are JSON texts; `expect` None means any value. `count` 0 means: as many
    as prove every slot (DESIGN 10), at least 20. `queue` is set only when the user names one.
    `done_log` is a regular expression for the worker's log line that says a body has done its work.
    `check` is a Python expression about `value`, a task's result, that must hold. `log_must` and `log_must_not` are
    regular expressions for lines of the worker's log from when it is ready. `judges` ("latency", "memory") are held
    against the good end; `effect` (percent) is how much worse counts. `script` sends in place of a task, and so does
    beat where `periodic` names an entry of the project's schedule.
    """

    task: str | None = None
    args: str = "[]"
    kwargs: str = "{}"
    expect: str | None = None
    count: int = 0
    queue: str | None = None
    done_log: str | None = None
    sender: str = "guest"
    check: str | None = None
    log_must: str | None = None
    log_must_not: str | None = None
    judges: tuple[str, ...] = ()
    effect: float = 25.0
    script: Script | None = None
    periodic: str | None = None


@dataclass(frozen=True)
class Script:
    """A file of the user's that sends and judges inside the project's environment (`probe.py`): its name and text."""

    name: str
    text: str


class Act(enum.StrEnum):
    """What a step of a scenario does."""

    SEND = "send"
    WAIT = "wait"
    EXPECT = "expect"
    RESTART_BROKER = "restart-broker"
    CUT = "cut"
    RESTART_WORKER = "restart-worker"


@dataclass(frozen=True)
class Step:
    """One step of a scenario, as `core.scenario` reads it.

    `what` is waited for or expected: "received", "started", "finished", "quiet" (wait only), "completed" (expect only).
    `count`: of how many of the probes sent so far (0: all); for `send`, how many (0: as many as prove every slot).
    `seconds`: how long a fault lasts, or silence must, to be "quiet". `hard` is the nastier way of a fault: packets
    that stop without a word instead of a closed connection, a worker that is killed instead of asked to end.
    """

    act: Act
    what: str = ""
    count: int = 0
    seconds: float = 0.0
    hard: bool = False


@dataclass(frozen=True)
class Overlay:
    """A file of the user's that is copied into every tree: `source` on this machine, `target` in the tree."""

    source: Path
    target: str


@dataclass(frozen=True)
class Fallback:
    """Variables that the project itself shows as an example, for where a trial says that one of them is missing.

    `source` is the file's path in the tree. `variables` are all it sets, those of `services` as placeholders; `bound`
    names these with their service ("" is the broker). `services` are those that the placeholders need.
    """

    source: str
    variables: tuple[tuple[str, str], ...] = ()
    bound: tuple[tuple[str, str], ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Build:
    """How an image is built. Paths are in the repository, POSIX style; the context "" is its root."""

    context: str = ""
    dockerfile: str = "Dockerfile"
    target: str | None = None
    args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class WorkerImage:
    """What the project runs its worker in: an image by its name, or one that is built. One of both is set."""

    image: str | None = None
    build: Build | None = None


@dataclass(frozen=True)
class Companion:
    """A service of the project's compose file that stands beside the trials, with nothing of the project's own data.

    `name` and `names` are the hosts by which programs know it. `kind` is "redis", "postgres" or "mariadb" where it is
    reset in place, "rabbitmq" where our broker plays it, "" for all others, which begin anew in each trial. `command`
    and `entrypoint` are empty where the image's own serve. `health` are the words of its healthcheck, as Compose writes
    them (`CMD-SHELL`, `CMD`). `after` are the companions that come first. `files` are (path in the container, content)
    of configuration that the project keeps in its repository, and of secrets; `ports` what it listens on, where the
    file says so.
    """

    name: str
    image: str
    kind: str = ""
    names: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    ports: tuple[int, ...] = ()
    user: str = ""


# How a worker is started: today's program, django-celery's through `manage.py`, and the one of before Celery 3.
STARTS = ("celery worker", "manage.py celery worker", "manage.py celeryd", "celeryd")


@dataclass(frozen=True)
class Request:
    """All that a session was asked, resolved once. `sources` says where each value came from.

    `subfolder` is where in the tree the app lives ("" or "services/mail"), POSIX style. `worker` are the
    words after `celery -A APP worker`. `environment` are variables for every program of a trial, with
    the placeholders `{broker_url}`, `{result_url}`, `{database_url}`, `{work_dir}` and others still in them;
    `secrets` are those of their values that must never be printed. `budget` is in minutes,
    `ceiling` the longest a trial may be watched, in seconds. `scenario` replaces the first wave of probes (empty: send
    and wait). `upgrade_from` names the revision whose leavings every trial begins with: "good", or any revision.
    `start` is the program that those words belong to, one of `STARTS`.
    `beside` are the words of further workers that run in every trial.
    `fails` is how often a start at BAD is known to fail (1: always; None: not known), `confidence` how sure to be of a
    commit when trials contradict one another.
    `services` stand beside the broker ("redis", "postgres", "mariadb"), fresh in each trial. `migrate` is a command
    that fills a database and does only what is missing when it is run again: what it made is copied to other trials.
    `workload` is the folder of the app when what is searched is a library that it uses; then `subfolder` is in there.
    `worker_image` is what the project itself runs its worker in, and `companions` what its compose file has beside it.
    `project_broker` is the scheme of the broker's URL in the project's files (None: they name none).
    `fallback` is what the project shows as an example of its variables, used where a trial says that one is missing.
    `remote_engine` says that the container engine may be on another machine, `rabbitmq_image` is the broker's image.
    `worker_files` are the compose file's secrets and configs for the worker: (path in its container, content).
    """

    repository: Path
    good: str
    bad: str
    app: str
    subfolder: str = ""
    paths: tuple[str, ...] = ()
    first_parent: bool = False
    probe: Probe = field(default_factory=Probe)
    worker: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    prepare: str | None = None
    python: str | None = None
    match: Match = Match.SAME
    output: Path | None = None
    budget: float = 30.0
    ceiling: float = 120.0
    stack: str | None = None
    broker: str | None = None
    django_settings: str | None = None
    sources: tuple[tuple[str, str], ...] = ()
    scenario: tuple[Step, ...] = ()
    upgrade_from: str | None = None
    fails: float | None = None
    confidence: float = 0.95
    start: str = "celery worker"
    beside: tuple[tuple[str, ...], ...] = ()
    services: tuple[str, ...] = ()
    migrate: str | None = None
    workload: Path | None = None
    worker_image: WorkerImage | None = None
    companions: tuple[Companion, ...] = ()
    project_broker: str | None = None
    fallback: Fallback | None = None
    remote_engine: bool = False
    rabbitmq_image: str | None = None
    worker_files: tuple[tuple[str, bytes], ...] = ()
