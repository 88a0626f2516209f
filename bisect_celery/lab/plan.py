"""What is the same in every trial of a session: the worker's start line, what programs may see, what is sent."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from bisect_celery.model import STARTS, Environment, Place, Probe, Program, Step

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
# The app of a worker that is started without naming one.
NO_APP = "celery.app:default_app"


@dataclass(frozen=True)
class Plan:
    """How programs of a trial are started. `start` is the worker's program (`model.STARTS`), `worker` the words after
    it, `django_settings` what `manage.py` would name; `variables` may hold placeholders.

    `result_url` replaces the project's result backend where that cannot be provided (None: it stays).
    `source_roots` are folders, relative to the checkout, that must be importable; each tree has its own.
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

    def faster(self) -> Plan:
        return replace(self, fast=True)

    # --- programs -----------------------------------------------------------------------------------

    def worker_program(self, place: Place, environment: Environment, broker_url: str | None = None) -> Program:
        """`broker_url` is a way to the place's broker of the worker's own (None: the place's)."""
        program, *words = self._start()
        argv = (f"{environment.bin}/{program}", *words, *self.worker_words(environment))
        return Program("worker", argv, self._variables(place, environment, broker_url), self.subfolder)

    def sender_program(self, place: Place, environment: Environment) -> Program:
        argv = (environment.python, f"{place.guest}/sender.py")
        variables = self._variables(place, environment)
        if self.start.startswith("manage.py") and self.django_settings is not None:
            # `manage.py` says so itself; nothing says so to us.
            variables = tuple({"DJANGO_SETTINGS_MODULE": self.django_settings, **dict(variables)}.items())
        return Program("sender", argv, variables, self.subfolder, stdin=True, private=True)

    def prepare_program(self, place: Place, environment: Environment) -> Program:
        argv = ("/bin/sh", "-c", self.prepare or "true")
        return Program("prepare", argv, self._variables(place, environment), self.subfolder)

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
        """What the start line says, else the project's settings; the worker itself is asked too, and knows better."""
        words = list(self.worker)
        for index, word in enumerate(words):
            if word in ("-c", "--concurrency") and index + 1 < len(words) and words[index + 1].isdigit():
                return int(words[index + 1])
            for prefix in ("--concurrency=", "-c"):
                if word.startswith(prefix) and word[len(prefix) :].isdigit():
                    return int(word[len(prefix) :])
        return settings or DEFAULT_CONCURRENCY

    def count(self, concurrency: int, prefetch: int | None) -> int:
        """How many probes prove every slot: concurrency × (prefetch + 1) + 1 (DESIGN 10), at least 20.

        `prefetch` is the worker's whole prefetch count (multiplier × concurrency).
        """
        if self.probe.count:
            return self.probe.count
        return max(LEAST_PROBES, (prefetch if prefetch is not None else 4 * concurrency) + concurrency + 1)

    # --- variables ----------------------------------------------------------------------------------

    def _variables(
        self, place: Place, environment: Environment, broker_url: str | None = None
    ) -> tuple[tuple[str, str], ...]:  # fmt: skip
        """The whole environment of a program: an allow-list of ours, then what the user named (DESIGN 6)."""
        broker_url = broker_url or place.broker_url
        database = f"sqlite:///{place.work_dir}/database.sqlite3"
        values = {
            "PATH": f"{environment.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": place.work_dir,
            "TMPDIR": place.work_dir,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "C_FORCE_ROOT": "1",  # else Celery refuses to serve projects that use pickle when we are root
            "VIRTUAL_ENV": environment.bin.rpartition("/")[0],
            "DATABASE_URL": database,
            **dict.fromkeys(BROKER_NAMES, broker_url),
        }
        if self.result_url is not None:
            values["CELERY_RESULT_BACKEND"] = self.result_url
        if self.source_roots:
            values["PYTHONPATH"] = ":".join(f"{place.checkout}/{root}" for root in self.source_roots)
        filled = {
            "broker_url": broker_url,
            "result_url": self.result_url or "rpc://",
            "database_url": database,
            "work_dir": place.work_dir,
        }
        for name, value in self.variables:
            values[name] = fill(value, filled)
        return tuple(values.items())

    def worker_line(self) -> str:
        return shlex.join((*self._start(), *self.worker))


def fill(value: str, filled: dict[str, str]) -> str:
    """Put the known placeholders in; any other brace stays as it is, since values may be JSON."""
    for name, text in filled.items():
        value = value.replace("{" + name + "}", text)
    return value


def knows_fast_flags(celery: str | None) -> bool:
    """Whether a worker of this version of Celery knows the flags that save time at its start."""
    return tuple(int(part) for part in (celery or "0").split(".")[:2] if part.isdigit()) >= FIRST_WITH_FAST_FLAGS
