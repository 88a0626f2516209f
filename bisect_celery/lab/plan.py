"""What is the same in every trial of a session: the worker's start line, what programs may see, what is sent."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from bisect_celery.core import pools
from bisect_celery.model import STARTS, Environment, Fallback, Place, Probe, Program, Step, WorkerFacts

LEAST_PROBES = 20
DEFAULT_CONCURRENCY = 2
# Every name under which projects read their broker; the first three are Celery's own override (DESIGN 6).
BROKER_NAMES = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "BROKER_URL",
    "RABBITMQ_URL",
    "AMQP_URL",
    "CLOUDAMQP_URL",
)
# Every name under which projects read their services, with what it is bound to.
SERVICE_NAMES = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url"}
# Switched off for speed only after both ends showed the same symptoms without them (DESIGN 20).
FAST_FLAGS = ("--without-mingle", "--without-gossip")
FIRST_WITH_FAST_FLAGS = (3, 1)
# Result backends that live in the broker or in a trial's own folder; any other is replaced, and that is said.
PROVIDED = frozenset(
    {
        None,
        "disabled",
        "rpc",
        "amqp",
        "file",
        "filesystem",
        "cache+memory",
        "memory",
        "django-db",
        "database",
        "db+sqlite",
    }
)
REPLACEMENT = "rpc://"
# Backends that a Redis of a trial's own stands in for: a Redis stays a Redis.
OF_REDIS = frozenset({"redis", "rediss"})
REDIS_RESULTS = "{redis_url}"
OF_POSTGRES = frozenset({"db+postgresql", "db+postgres", "db+postgresql+psycopg2", "db+postgresql+psycopg"})
DATABASE_RESULTS = "db+{database_url}"
# Where results go, if that is a service of this trial's.
OURS = "ours"
# The app of a worker that is started without naming one.
NO_APP = "celery.app:default_app"


@dataclass(frozen=True)
class Plan:
    """How programs of a trial are started. `start` is the worker's program (`model.STARTS`), `worker` the words after
    it, `django_settings` what `manage.py` would name; `variables` may hold placeholders.

    `beside` are the words of further workers that run in the same trial.
    `result_url` replaces the project's result backend where that cannot be provided (None: it stays).
    `source_roots` are folders, relative to the checkout, that must be importable; each tree has its own.
    `migrate` is a command that may be run again, and then does only what is missing; trees of one `database_key`
    migrate to the same database (`lab.migrated`). `fallback` is what may come to `variables` after the first trial,
    `example` the file that it came from once it did.
    """

    app: str
    probe: Probe
    worker: tuple[str, ...] = ()
    subfolder: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    prepare: str | None = None
    result_url: str | None = None
    source_roots: tuple[str, ...] = ()
    fast: bool = False
    scenario: tuple[Step, ...] = ()
    start: str = STARTS[0]
    django_settings: str | None = None
    services: tuple[str, ...] = ()
    migrate: str | None = None
    database_key: str | None = None
    beside: tuple[tuple[str, ...], ...] = ()
    fallback: Fallback | None = None
    example: str | None = None

    @property
    def workers(self) -> int:
        """How many workers a trial has."""
        return 1 + len(self.beside)

    def faster(self) -> Plan:
        return replace(self, fast=True)

    # --- programs -----------------------------------------------------------------------------------

    def worker_programs(
        self, place: Place, environment: Environment, broker_url: str | None = None
    ) -> tuple[Program, ...]:  # fmt: skip
        """Of every worker, the first one first; those beside it have names of their own, for Celery and for us."""
        made = [self.worker_program(place, environment, broker_url)]
        for number, words in enumerate(self.beside, 2):
            name = f"worker-{number}"
            named = words if any(word.startswith(("-n", "--hostname")) for word in words) else (*words, "-n", name)
            program = replace(self, worker=named).worker_program(place, environment, broker_url)
            made.append(replace(program, name=name))
        return tuple(made)

    def worker_program(self, place: Place, environment: Environment, broker_url: str | None = None) -> Program:
        """`broker_url` is a way to the place's broker of the worker's own (None: the place's)."""
        program, *words = self._start()
        if program == "celery" and not any(name == "celery" for name, _ in environment.packages):
            program, words = "python", ["-m", "celery", *words]  # Celery itself is under test: nobody installed it
        found = environment.python if program == "python" else f"{environment.bin}/{program}"
        argv = (found, *words, *self.worker_words(environment))
        return Program("worker", argv, self._variables(place, environment, broker_url), self._folder(environment))

    def sender_program(self, place: Place, environment: Environment) -> Program:
        argv = (environment.python, f"{place.guest}/sender.py")
        variables = self._variables(place, environment)
        if self.start.startswith("manage.py") and self.django_settings is not None:
            # `manage.py` says so itself; nothing says so to us.
            variables = tuple({"DJANGO_SETTINGS_MODULE": self.django_settings, **dict(variables)}.items())
        return Program("sender", argv, variables, self._folder(environment), stdin=True, private=True)

    def migrate_program(self, place: Place, environment: Environment) -> Program:
        argv = ("/bin/sh", "-c", self.migrate or "true")
        return Program("migrate", argv, self._variables(place, environment), self._folder(environment))

    def prepare_program(self, place: Place, environment: Environment) -> Program:
        argv = ("/bin/sh", "-c", self.prepare or "true")
        return Program("prepare", argv, self._variables(place, environment), self._folder(environment))

    def _folder(self, environment: Environment) -> str:
        """Where programs start, seen from the checkout, which in an image of the project's is the app's own folder."""
        return self.subfolder if environment.image is None else ""

    def _start(self) -> tuple[str, ...]:
        """The program in the environment's `bin` and its words up to the worker's own.

        Workers of before Celery 3 know `--app`, not `-A`; without one they look for a `celeryconfig`.
        """
        if self.start.startswith("manage.py"):
            return ("python", *self.start.split())
        named = self.app != NO_APP
        if self.start == "celeryd":
            return ("celeryd", *([f"--app={self.app}"] if named else []))
        return ("celery", *(["-A", self.app] if named else []), "worker")

    def worker_words(self, environment: Environment) -> tuple[str, ...]:
        """The start line's words plus what the harness needs to see: task events and the log at INFO."""
        words = list(self.worker)
        if not any(word in ("-E", "--task-events", "--events") for word in words):
            words.append("-E")
        if not any(word.startswith(("-l", "--loglevel")) for word in words):
            words += ["-l", "INFO"]
        if self.fast and knows_fast_flags(dict(environment.packages).get("celery")):
            words += [flag for flag in FAST_FLAGS if flag not in words]
        return tuple(words)

    def concurrency(self, settings: int | None = None) -> int:
        """What the start lines say together, else the project's settings; the workers themselves are asked too, and
        know better."""
        return sum(_said_by(words) or settings or DEFAULT_CONCURRENCY for words in (self.worker, *self.beside))

    @property
    def said_pool(self) -> str | None:
        """The pool that the start lines name; several where they differ."""
        said = {_option(words, "-P", "--pool") or "prefork" for words in (self.worker, *self.beside)}
        return " ".join(sorted(said))

    def consumed(self) -> tuple[str, ...]:
        """The queues that the start lines name, in their order; empty where one names none and takes the settings'."""
        named = [(_option(words, "-Q", "--queues") or "").split(",") for words in (self.worker, *self.beside)]
        return tuple(dict.fromkeys(queue for queues in named for queue in queues)) if all(map(any, named)) else ()

    def count(self, concurrency: int, prefetch: int | None, pool: str | None = None) -> int:
        """How many probes prove every slot: concurrency × (prefetch + 1) + 1 (DESIGN 10), at least 20.

        `prefetch` is the worker's whole prefetch count (multiplier × concurrency).
        """
        if self.probe.count:
            return self.probe.count
        if pools.green(pool):
            return LEAST_PROBES
        return max(LEAST_PROBES, (prefetch if prefetch is not None else 4 * concurrency) + concurrency + 1)

    # --- variables ----------------------------------------------------------------------------------

    def _variables(
        self, place: Place, environment: Environment, broker_url: str | None = None
    ) -> tuple[tuple[str, str], ...]:  # fmt: skip
        """The whole environment of a program: an allow-list of ours, then what the user named (DESIGN 6)."""
        broker_url = broker_url or place.broker_url
        bound = dict(place.bindings)
        values = {
            "LANG": "C.UTF-8",
            **_of_environment(environment),
            "HOME": place.work_dir,
            "TMPDIR": place.work_dir,
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "C_FORCE_ROOT": "1",  # else Celery refuses to serve projects that use pickle when we are root
            **{name: bound[what] for name, what in SERVICE_NAMES.items() if what in bound},
            **dict.fromkeys(BROKER_NAMES, broker_url),
        }
        result_url = fill(self.result_url, bound) if self.result_url is not None else None
        if result_url is not None:
            values["CELERY_RESULT_BACKEND"] = result_url
        if self.source_roots and environment.image is None:
            values["PYTHONPATH"] = ":".join(f"{place.checkout}/{root}" for root in self.source_roots)
        filled = {
            **_of_broker(broker_url),
            "result_url": result_url or "rpc://",
            "work_dir": place.work_dir,
            "checkout": place.checkout,
            **bound,
        }
        for name, value in self.variables:
            values[name] = fill(value, filled)
        return tuple(values.items())

    def worker_line(self) -> str:
        return " and ".join(shlex.join((*self._start(), *words)) for words in (self.worker, *self.beside))


def _of_broker(url: str) -> dict[str, str]:
    """The address, whole and in the parts that some projects read one by one."""
    said = urlsplit(url)
    return {
        "broker_url": url,
        "broker_host": said.hostname or "",
        "broker_port": str(said.port or ""),
        "broker_user": unquote(said.username or ""),
        "broker_password": unquote(said.password or ""),
        "broker_vhost": unquote(said.path.removeprefix("/")),
    }


def _of_environment(environment: Environment) -> dict[str, str]:
    """Where programs are found; an image of the project's says that itself, and more."""
    if environment.image is None:
        bin_folder = environment.bin
        return {"PATH": f"{bin_folder}:/usr/local/bin:/usr/bin:/bin", "VIRTUAL_ENV": bin_folder.rpartition("/")[0]}
    own = dict(environment.image.variables)
    path = own.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**own, "PATH": path if environment.bin in path.split(":") else f"{environment.bin}:{path}"}


def provided(worker: WorkerFacts) -> bool:
    """Whether results stay within the trial."""
    return worker.result_backend in PROVIDED or worker.result_at == OURS


def _said_by(words: tuple[str, ...]) -> int | None:
    """The concurrency that a start line names."""
    said = _option(words, "-c", "--concurrency")
    return int(said) if said is not None and said.isdigit() else None


def _option(words: tuple[str, ...], short: str, long: str) -> str | None:
    """The value of an option of a start line: `-c 2`, `-c2`, `--concurrency 2`, `--concurrency=2`."""
    for index, word in enumerate(words):
        if word in (short, long):
            return words[index + 1] if index + 1 < len(words) else None
        for prefix in (f"{long}=", short):
            if word.startswith(prefix):
                return word[len(prefix) :]
    return None


def fill(value: str, filled: dict[str, str]) -> str:
    """Put the known placeholders in; any other brace stays as it is, since values may be JSON."""
    for name, text in filled.items():
        value = value.replace("{" + name + "}", text)
    return value


def knows_fast_flags(celery: str | None) -> bool:
    """Whether a worker of this version of Celery knows the flags that save time at its start."""
    return tuple(int(part) for part in (celery or "0").split(".")[:2] if part.isdigit()) >= FIRST_WITH_FAST_FLAGS
