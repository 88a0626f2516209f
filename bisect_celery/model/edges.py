"""What the lab needs of engines, brokers, environments and processes: protocols, and the values they take and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bisect_celery.model.found import StackFacts
from bisect_celery.model.seen import Dump, QueueCount


class Cancel(Protocol):
    """The one way to wait. Set from a signal, it ends every wait of the session."""

    def wait(self, condition: Callable[[], bool], deadline: float, poll: float = 0.02) -> bool:
        """Wait until `condition()` holds or `deadline` seconds are over; which of the two is the answer.

        Raises Cancelled when the session was told to stop.
        """
        ...

    def check(self) -> None:
        """Raise Cancelled if the session was told to stop."""
        ...


@dataclass(frozen=True)
class Owner:
    """Who owns a process, container or folder: names one run of one process of one machine, for ever."""

    machine: str
    boot: str
    pid: int
    started: int
    session: str

    def label(self) -> str:
        return "/".join((self.machine, self.boot, str(self.pid), str(self.started), self.session))

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        parts = text.split("/")
        if len(parts) != 5 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4])


@dataclass(frozen=True)
class Credentials:
    """A fresh namespace on the broker: RabbitMQ's vhost with a user of its own. Never printed."""

    vhost: str
    user: str
    password: str


@dataclass(frozen=True)
class BrokerTraits:
    """What a kind of broker tells and does, for whoever watches a trial on it. `port` is where its URLs lead that name
    none.

    `tells_consumers`: it knows who stands on a queue; else only workers can say what they consume. `keeps_questions`: a
    question to workers waits until they listen; else who does not listen yet never hears it.
    """

    kind: str
    port: int = 5672
    tells_consumers: bool = True
    keeps_questions: bool = True


@dataclass(frozen=True)
class Image:
    """An image of the project's own that a tree's programs run in, with its environment inside.

    `folder` is where the app's folder is in it, `root` the folder of the code that a trial's programs share (None: each
    has its own). `files` are (path in the laid-out tree, path in the image), put in for each trial; with `bare` nothing
    of what the image itself has in `root` is seen. `user` is the number of who runs programs, `variables` its ENV.
    `left_out` are commands of its Dockerfile that were not run.
    """

    id: str
    folder: str
    root: str | None
    files: tuple[tuple[str, str], ...]
    user: int
    variables: tuple[tuple[str, str], ...] = ()
    bare: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """A project's dependencies, built. `python` and `bin` are paths as programs of a trial see them.

    `key` is the digest of the resolved set, interpreter and platform; `packages` are (name, version). `image` is set
    where they are an image's.
    """

    key: str
    python: str
    bin: str
    packages: tuple[tuple[str, str], ...] = ()
    lock: str = ""
    image: Image | None = None


@dataclass(frozen=True)
class RunResult:
    """What a builder's command left: exit status (0 is success) and its output, both streams together."""

    code: int
    text: str


class Runner(Protocol):
    """Where environments are built: this machine, or a builder container with index access.

    `root` is the folder that keeps environments and uv's cache, on one mount, at the same path inside
    workers. `platform` goes into an environment's key.
    """

    root: str
    platform: str

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], source: Path | None, deadline: float, cancel: Cancel
    ) -> RunResult:
        """Run a command with the index in reach; `source` (a laid-out tree) is its working folder, a copy.

        Raises InfraError when it cannot be run at all or passes its deadline (seconds).
        """
        ...

    def uv(self) -> tuple[str, ...]:
        """The words that start uv there."""
        ...

    def interpreter(self, version: str | None) -> tuple[str, str]:
        """(path, full version) of a Python of `version` ("3.11", None: the default). Raises UserError if none."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a file below `root`, None if there is none."""
        ...


@dataclass(frozen=True)
class ImageFacts:
    """What an engine tells of an image. `triggers` are its ONBUILD instructions, `folder` its WORKDIR."""

    id: str
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = "/"
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageOrder:
    """An image to build. `files` are (path in the context, file here; None: an empty folder), `buildkit` the line that
    only BuildKit understands ("": none). `key` names all that it is made of. The values of `arguments` are private.
    """

    key: str
    text: str
    files: tuple[tuple[str, Path | None], ...]
    arguments: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    buildkit: str = ""


class Images(Protocol):
    """An engine's images, as far as the project's own are needed."""

    platform: str

    def known(self, reference: str, cancel: Cancel) -> ImageFacts | None:
        """An image by its name or id, from its registry where need be; None where there is none of that name.

        Raises InfraError when no registry can be reached.
        """
        ...

    def built(self, key: str) -> ImageFacts | None:
        """The image that was built for a key."""
        ...

    def build(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        """Build and keep an image; what the builder said. Raises InfraError when it cannot be built here at all."""
        ...

    def run(self, image: str, argv: Sequence[str], deadline: float, cancel: Cancel) -> RunResult:
        """Run a command in an image, as its user, without its entry point or a network; 127 where it is not there."""
        ...


@dataclass(frozen=True)
class Program:
    """One program to start in a place. `folder` is relative to the checkout; `env` is its whole environment.

    `{python}`-like placeholders are already filled in. With `stdin`, `Running.write` reaches it. What a `private` one
    writes to its standard output is never an artifact: it goes with the place.
    """

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    folder: str = ""
    stdin: bool = False
    private: bool = False


class Running(Protocol):
    """A program that was started in a place. `out` and `err` are files here that grow as it writes."""

    out: Path
    err: Path

    def write(self, line: str) -> None:
        """Send a line (the newline is added) to its standard input."""
        ...

    def alive(self) -> bool: ...

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        ...

    def ask_to_end(self) -> None:
        """SIGTERM to the program itself, not to its children: a worker's warm shutdown. Nothing when it has ended."""
        ...

    def stop(self) -> None:
        """End it and all its children at once. Idempotent; after it nothing of it runs."""
        ...


class Place(Protocol):
    """A tree laid out in a slot, with a fresh namespace, a fresh folder and its dependencies: room for one trial.

    `checkout`, `work_dir` (HOME, TMPDIR, databases) and `guest` (our guest files) are paths as programs see
    them; `broker_url` is how programs reach the broker, `harness_url` how we do, `broker` what it is like. `idle` is
    the share of one core up to which a worker that does nothing may seem to work, by `worked`. `bindings` are what
    programs reach services by, and the trial's database: placeholders (`database_url`, `redis_host` …), filled.
    """

    checkout: str
    work_dir: str
    guest: str
    broker_url: str
    harness_url: str
    broker: BrokerTraits
    vhost: str
    idle: float
    bindings: Mapping[str, str]

    def start(self, program: Program) -> Running:
        """Start a program; its stop is registered with the place."""
        ...

    def script(self, name: str, text: str) -> str:
        """Put a shell script into `work_dir`, for a person who looks around; returns how to run it from here."""
        ...

    def queues(self) -> tuple[QueueCount, ...]:
        """The broker's live counts of this place's namespace. Raises InfraError when the broker does not answer."""
        ...

    def healthy(self) -> bool:
        """Whether the broker takes messages: no alarm holds publishers back. Raises InfraError when it is gone."""
        ...

    def stop_broker(self) -> None:
        """Shut the broker down in order: connections are closed, what is durable stays. Only in a place made `alone`.

        Raises InfraError. Leaving the place starts it again, whatever happened.
        """
        ...

    def start_broker(self) -> None:
        """Bring a broker that was shut down up again, at the same address. Raises InfraError."""
        ...

    def save(self, archive: Path) -> None:
        """Pack what the work folder holds into a tar archive on this machine; programs should have ended."""
        ...

    def restore(self, archive: Path) -> None:
        """Fill the work folder from such an archive. Before the first program is started."""
        ...

    def copy_database(self, key: str) -> bool:
        """Fill the trial's database with what was kept under `key`; False when nothing was. Raises InfraError."""
        ...

    def empty_database(self) -> None:
        """Take back what was copied or put into the trial's database. Raises InfraError."""
        ...

    def keep_database(self, key: str) -> None:
        """Keep what the trial's database holds under `key`, for the session's later trials. Its programs have ended."""
        ...

    def definitions(self) -> bytes:
        """The exchanges, queues and bindings of this namespace, with arguments, as the broker's API writes them."""
        ...

    def define(self, definitions: bytes) -> None:
        """Declare in this namespace what another one's `definitions` says. Raises InfraError."""
        ...

    def memory(self, worker: Running, *, at_end: bool) -> Mapping[int, int]:
        """The peak of resident memory, in KiB, of each pool process of the worker that is alive, by its number; of the
        worker itself where it has none. Empty when nobody can look, or, while the trial runs (not `at_end`), when
        looking would take too long."""
        ...

    def worked(self, worker: Running) -> float | None:
        """The seconds of CPU that the worker's pool processes have used so far (the whole worker's, where it has none
        or they cannot be told apart): who computes is not stuck. None when nobody can look."""
        ...

    def dump(self, worker: Running) -> tuple[Dump, ...]:
        """Where the worker's processes stand, by py-spy, without locals. Empty when it cannot be had."""
        ...

    def describe(self) -> tuple[tuple[str, str], ...]:
        """What a person needs to look around in a kept place: (name, how to get there)."""
        ...


class Stack(Protocol):
    """What trees run in: broker, and worker places. One a session; many places, one after the other a slot."""

    facts: StackFacts

    @property
    def runner(self) -> Runner:
        """Where environments are built; known once the stack was started."""
        ...

    def own_images(self) -> Images | None:
        """The project's own images; None where programs run without images. Known once the stack was started."""
        ...

    def start(self, cancel: Cancel) -> None:
        """Bring up what stays for the session and wait until it is healthy. Raises InfraError."""
        ...

    def stop(self) -> None:
        """Take everything down. Idempotent."""
        ...

    def serve(self, kind: str, cancel: Cancel) -> bool:
        """From now on every place has this service as well (`Request.services`); False where it cannot be had."""
        ...

    def place(
        self,
        name: str,
        layout: Path,
        environment: Environment,
        artifacts: Path,
        cancel: Cancel,
        *,
        alone: bool = False,
    ) -> AbstractContextManager[Place]:
        """A place for one trial of the tree laid out at `layout`; leaving it kills its programs, then its namespace.

        `artifacts` is where the programs' outputs are kept. `layout` may be used in place (it is ours alone). `alone`:
        while it is open no other place uses the broker, so that it may be shut down; waits for those that are open.
        """
        ...


class Redact(Protocol):
    """Takes every secret we know of out of a text."""

    def __call__(self, text: str) -> str: ...
