"""The container stack: RabbitMQ and every program of a trial in containers, with no way out for code under test.

What is started is described by `docker-compose.yml` beside this file. The engine is spoken to through its API only, so
it may be a virtual machine's; nothing of this machine is mounted anywhere. A place is one volume (checkout, work
folder, guest files) that the containers of its programs share, and one namespace on the session's broker.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import (
    Cancel,
    Companion,
    Dump,
    Environment,
    Image,
    Owner,
    Program,
    Running,
    StackFacts,
)
from bisect_celery.stack import compose, pyspy
from bisect_celery.stack.companions import Cast, broker_hosts, need_images
from bisect_celery.stack.compose import Composition, Mount, Service
from bisect_celery.stack.container_about import about
from bisect_celery.stack.container_broker import ContainerBroker
from bisect_celery.stack.container_engine import IMAGE_HINT, Engine, labels
from bisect_celery.stack.container_files import NOBODY, archive_of, moved, placed_archive, tree_archive
from bisect_celery.stack.container_images import ContainerImages, Workshop, own_image
from bisect_celery.stack.container_program import ContainerRunning, Watch
from bisect_celery.stack.container_redis import ContainerRedis
from bisect_celery.stack.container_runner import Bench, ContainerRunner
from bisect_celery.stack.container_services import ContainerDatabase, SlotRedis, Yard, hosts_of
from bisect_celery.stack.container_slots import Slots
from bisect_celery.stack.endpoint import Endpoint, find
from bisect_celery.stack.namespace import Broker, InNamespace, Space
from bisect_celery.stack.redis_broker import RedisBroker
from bisect_celery.stack.services import COMPANIONS, KINDS, MYSQL, REDIS, Taken
from bisect_celery.stack.services import Service as Beside
from bisect_celery.stack.sharing import Sharing

GUEST = Path(__file__).resolve().parent.parent / "guest"
ANSWER_DEADLINE = 4.0
REMOTE_DEADLINE = 15.0
REMOTE_HINT = (
    "`--remote-engine` lets the code under test, its files and its variables go there; DOCKER_CONTEXT=default takes "
    "this machine's own engine; `--stack process` needs none."
)
REGISTRY_DEADLINE = 4.0

# What `scripts/build-images` makes, taken where an official image is neither there nor to be had.
STAND_INS = {
    "rabbitmq": "bisect-celery/rabbitmq:local",
    "redis-broker": "bisect-celery/services:local",
    "worker": "bisect-celery/worker:local",
    **dict.fromkeys(KINDS, "bisect-celery/services:local"),
    MYSQL: "bisect-celery/mysql:local",
}
RABBITMQ = "rabbitmq"
# The compose file's service for each kind of broker.
BROKERS = {RABBITMQ: "rabbitmq", REDIS: "redis-broker"}
_CHOSEN = ("RABBITMQ", "WORKER", "BUILDER", *(kind.upper() for kind in KINDS))

# In a worker's container its init is process 1, and the worker that one's first child: orphans that it takes in stand
# behind. `$0` is the command that dumps one process; the list of children ends without a newline, so `read` "fails".
_NEXT = "\f"
_DUMP_ALL = r"""
children() { cat "/proc/$1/task/"*/children 2>/dev/null; }
dump() { printf '\f'; $0 "$1" 2>/dev/null; for child in $(children "$1"); do dump "$child"; done; }
read -r worker others < /proc/1/task/1/children
printf '%s' "$worker"
for process in $(children 1); do dump "$process"; done
"""

# Each pool process and the peak of its memory, in KiB; of the worker itself where it has no pool of processes.
_PEAKS = r"""
peak() {
  while read -r key value rest; do
    if [ "$key" = VmHWM: ]; then echo "$1 $value"; fi
  done < "/proc/$1/status"
} 2>/dev/null
read -r worker others < /proc/1/task/1/children
children=$(cat "/proc/$worker/task/"*/children 2>/dev/null)
for process in ${children:-$worker}; do peak "$process"; done
"""

TRIAL = "/trial"
CHECKOUT, WORK, GUESTS = f"{TRIAL}/checkout", f"{TRIAL}/work", f"{TRIAL}/guest"


def available(
    environ: Mapping[str, str], services: Sequence[str] = (), broker: str = RABBITMQ, *, remote: bool = False
) -> tuple[bool, str]:
    """Whether containers can be had here and now, with these `services` beside the broker, and why or why not in words.

    `remote` says that the engine may be on another machine. Takes seconds at most, and by ssh as long as that takes.
    """
    composition = compose.load(environ)
    try:
        endpoint = find(environ)
    except InfraError as error:
        return False, _words(error)
    if (unsaid := _unsaid(endpoint)) and not remote:
        return False, unsaid
    try:
        with Engine.connect(REMOTE_DEADLINE if endpoint.machine else ANSWER_DEADLINE, endpoint=endpoint) as engine:
            answers = f"{about(engine).name} answers"
            wanted = [one for one in composition.services.values() if _needed(one.name, services, broker)]
            images = {service.image: service.name for service in wanted}
            absent = [image for image, name in images.items() if _present(engine, name, image, environ) is None]
            with engine.fresh(REGISTRY_DEADLINE) as asking:
                for image in absent:
                    if not asking.obtainable(image):
                        return False, f"{answers}, but the image {image} is not there and no registry offers it"
    except InfraError as error:
        # Of an engine of this machine it says enough that it does not answer; of one elsewhere, what is in the way.
        return False, _words(error) if endpoint.machine else f"no container engine answers {endpoint.words}".rstrip()
    return True, answers


def _needed(name: str, services: Sequence[str], broker: str) -> bool:
    """Whether a service of the compose file has a part in a session with these beside this broker."""
    if name in BROKERS.values():
        return name == BROKERS[broker]
    return name not in KINDS or name in services


def _words(error: InfraError) -> str:
    return error.message[:1].lower() + error.message[1:].rstrip(".")


def _unsaid(endpoint: Endpoint) -> str:
    """Why an engine is not taken unless that is said, "" for one of this machine."""
    if not endpoint.machine:
        return ""
    return f"the container engine is {endpoint.words}, and nothing is sent there without `--remote-engine`"


def _present(engine: Engine, service: str, image: str, environ: Mapping[str, str]) -> str | None:
    """The image to take for a service without asking a registry: its own, or the stand-in for one nobody chose."""
    if engine.image(image) is not None:
        return image
    stand_in = STAND_INS.get(service, STAND_INS["worker"])
    chosen = any(environ.get(f"BISECT_CELERY_{name}_IMAGE") == image for name in _CHOSEN)
    return stand_in if not chosen and engine.image(stand_in) is not None else None


class ContainerStack:
    """A `model.Stack` of containers. One a session."""

    def __init__(
        self,
        *,
        owner: Owner,
        state: Path,
        environ: Mapping[str, str],
        why: str,
        ca_bundle: Path | None = None,
        user_files: Mapping[str, Path] | None = None,
        services: Sequence[str] = (),
        more: bool = True,
        broker: str = RABBITMQ,
        companions: Sequence[Companion] = (),
        remote: bool = False,
    ) -> None:
        """`state` is a folder for what is packed; `environ` the caller's environment, of which images, limits and
        the package index's settings are taken; `ca_bundle` certificates of the company's own, for builds only, as are
        `user_files`, by where they stand in a build's home.
        `why` says in words why this stack was taken; `services` stand beside the broker, and `more` may come in later.
        `broker` is its kind, one of `BROKERS`; `companions` are those of the project's compose file.
        `remote` says that the engine may be on another machine. Raises InfraError when no engine answers, UserError for
        one elsewhere that nobody asked for, and for a compose file that is not understood.
        """
        self._owner = owner
        self._state = state
        self._environ = dict(environ)
        self._why = why
        self._ca_bundle = ca_bundle
        self._user_files = dict(user_files or {})
        self._prefix = f"bisect-celery-{owner.session}-{secrets.token_hex(3)}"
        self._composition = compose.load(environ)
        self._names = {name: f"{self._prefix}-{name}" for name in self._composition.networks}
        self._names |= {name: fixed for name, fixed in self._composition.volumes.items() if fixed}
        endpoint = find(environ)
        if (unsaid := _unsaid(endpoint)) and not remote:
            raise UserError(f"The container stack cannot be had: {unsaid}.", REMOTE_HINT)
        self._engine = Engine.connect(endpoint=endpoint)
        self._about = about(self._engine)
        self._cpus = self._about.processors
        self._machine = self._about.machine
        self._kind = broker
        self._broker: Broker | None = None
        self._runner: ContainerRunner | None = None
        self._own_images: ContainerImages | None = None
        self._tools_asked = False
        self._slots: Slots | None = None
        self._sharing = Sharing()
        self._services, self._more = list(services), more
        self._databases: list[ContainerDatabase] = []
        self._versions: dict[str, str] = {}
        self._companions = tuple(companions)
        self.absent: tuple[str, ...] = ()
        self.images: tuple[tuple[str, str], ...] = ()
        self.facts = self._describe()

    def _describe(self) -> StackFacts:
        images = ", ".join(dict.fromkeys(reference for reference, _ in self.images))
        return StackFacts(
            name="container",
            broker=self._kind,
            broker_version=self._broker.version if self._broker else "",
            emulated=False,
            why=self._why,
            walled=self._about.walls,
            detail="; ".join(filter(None, (self._about.name, *self._about.lacks, images))),
            services=tuple((kind, self._versions.get(kind, "")) for kind in self._services) + self._beside(),
        )

    def _beside(self) -> tuple[tuple[str, str], ...]:
        """What the project's compose file has beside its worker: its kind or name, and its image."""
        theirs = [one for one in self._companions if one.kind != RABBITMQ]
        absent = [(name, "not there: its image cannot be had") for name in self.absent]
        return (*((one.kind or one.name, one.image) for one in theirs), *absent)

    @property
    def runner(self) -> ContainerRunner:
        """Where environments are built. Raises InfraError before `start`: what it builds depends on the images."""
        if self._runner is None:
            raise InfraError("The container stack has not been started.")
        return self._runner

    def own_images(self) -> ContainerImages:
        """The project's own. Raises InfraError before `start`."""
        if self._own_images is None:
            raise InfraError("The container stack has not been started.")
        return self._own_images

    # --- up and down

    def start(self, cancel: Cancel) -> None:
        try:
            self._composition = self._with_images(cancel)
            self._runner = self._new_runner()
            self._own_images = self._new_images()
            for name, network in self._composition.networks.items():
                self._engine.create_network(self._names[name], network, labels(self._owner, "network"))
            self._broker = broker = self._new_broker()
            broker.start(cancel)
            for kind in self._services:
                self._start_service(kind, cancel)
            theirs = [one for one in self._companions if one.kind != RABBITMQ]
            players = [one for one in self._companions if one.kind == RABBITMQ]
            found, self.absent = need_images(self._engine, theirs, cancel, STAND_INS)
            self._companions = (*players, *found)
            self._new_slots()
            if found and self._slots is not None:
                with self._slots.taken(self._engine, cancel):
                    """What cannot be started is told before anything is built."""
            self.facts = self._describe()
        except BaseException:
            self.stop()
            raise

    def _new_broker(self) -> Broker:
        service = self._composition.services[BROKERS[self._kind]]
        made_from = (self._engine, service, self._owner, self._prefix, self._names, self._cpus)
        return RedisBroker(ContainerRedis(*made_from)) if self._kind == REDIS else ContainerBroker(*made_from)

    def _with_images(self, cancel: Cancel) -> Composition:
        """The composition with the images that the engine really has, pulled where need be."""
        services, images = {}, dict(self.images)
        for name, service in self._composition.services.items():
            if not _needed(name, self._services, self._kind):
                services[name] = service
                continue
            reference = self._image(name, service.image, cancel)
            services[name] = replace(self._about.fitted(service), image=reference)
            found = self._engine.image(reference)
            if found is None:
                raise InfraError(f"The image {reference} went away.", IMAGE_HINT)
            images[reference] = str(found["Id"])
        self.images = tuple(images.items())
        return replace(self._composition, services=services)

    def _image(self, service: str, image: str, cancel: Cancel) -> str:
        present = _present(self._engine, service, image, self._environ)
        if present is not None:
            return present
        self._engine.pull(image, cancel)
        return image

    def _new_runner(self) -> ContainerRunner:
        service = self._composition.services["builder"]
        image = dict(self.images)[service.image].removeprefix("sha256:")[:12]
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ContainerRunner(
            Bench(
                engine=self._engine,
                service=service,
                owner=self._owner,
                prefix=self._prefix,
                names=self._names,
                spool=self._state,
                platform=f"container-{self._machine}-{image}",
                machine=self._machine,
                cpus=self._cpus,
                caller=self._environ,
                authorities=_read(self._ca_bundle),
                user_files={name: text for name, path in self._user_files.items() if (text := _read(path)) is not None},
            )
        )

    def _new_images(self) -> ContainerImages:
        worker = self._composition.services["worker"]
        shop = Workshop(self._engine, worker, self._owner, self._prefix, self._state, self._machine, self._environ)
        return ContainerImages(shop)

    def stop(self) -> None:
        """Take down broker, networks and what the runner keeps; the environments' volume stays for the next session.

        Everything is tried, whatever fails first. Raises the first failure.
        """
        with contextlib.ExitStack() as stops:
            stops.callback(self._engine.close)
            for name in self._composition.networks:
                stops.callback(self._engine.remove_network, self._names[name])
            if self._slots is not None:
                stops.callback(self._slots.close, self._engine)
            for database in self._databases:
                stops.callback(database.stop)
            if self._runner is not None:
                stops.callback(self._runner.close)
            if self._broker is not None:
                stops.callback(self._broker.stop)

    # --- services

    def serve(self, kind: str, cancel: Cancel) -> bool:
        if kind in self._services or any(one.kind == kind for one in self._companions):
            return True
        broker, slots = self._broker, self._slots
        if broker is not None and kind in broker.serves:
            return True
        if broker is None or slots is None or not self._more or not self._obtainable(kind):
            return False
        self._services.append(kind)
        self._composition = self._with_images(cancel)
        self._start_service(kind, cancel)
        slots.close(self._engine)  # the next ones know its name
        self._new_slots()
        self.facts = self._describe()
        return True

    def _obtainable(self, kind: str) -> bool:
        image = self._composition.services[kind].image
        if _present(self._engine, kind, image, self._environ) is not None:
            return True
        with self._engine.fresh(REGISTRY_DEADLINE) as asking:
            return asking.obtainable(image)

    def _yard(self) -> Yard:
        return Yard(self._engine, self._owner, self._prefix, self._names, self._cpus)

    def _start_service(self, kind: str, cancel: Cancel) -> None:
        """A database now; a Redis comes with each trial."""
        described = self._composition.services[kind]
        if kind == REDIS:
            self._versions[kind] = described.image
            return
        database = ContainerDatabase(self._yard(), kind, described)
        self._databases.append(database)
        database.start(cancel)
        self._versions[kind] = database.version

    def _new_slots(self) -> None:
        named = self._broker
        ours = {named.inside_host: named.inside_address} if isinstance(named, ContainerBroker) else {}
        hosts = {**ours, **hosts_of(self._services, self._databases)}
        if isinstance(named, ContainerBroker):
            hosts |= broker_hosts(self._companions, named.inside_address)
        theirs = [one for one in self._companions if one.kind != RABBITMQ]
        described = self._composition.services
        cast = Cast(self._yard(), theirs, described, hosts) if theirs else None
        self._slots = Slots(described["slot"], self._owner, self._prefix, self._names, hosts, cast)

    def _of_slot(self, slot: str) -> list[Beside]:
        redis = [SlotRedis(self._yard(), self._composition.services[REDIS], slot)] if REDIS in self._services else []
        mates = self._slots.mates(slot) if self._slots is not None else None
        return [*redis, *self._databases, *(mates.services if mates is not None else ())]

    # --- places

    @contextlib.contextmanager
    def place(
        self,
        name: str,
        layout: Path,
        environment: Environment,
        artifacts: Path,
        cancel: Cancel,
        *,
        alone: bool = False,
    ) -> Iterator[ContainerPlace]:
        made = self._made(name, layout, environment.image, artifacts, cancel, alone)
        with self._sharing.taken(alone, cancel), made as place:
            yield place

    @contextlib.contextmanager
    def _made(
        self, name: str, layout: Path, image: Image | None, artifacts: Path, cancel: Cancel, alone: bool
    ) -> Iterator[ContainerPlace]:  # fmt: skip
        broker, slots = self._broker, self._slots
        if broker is None or slots is None:
            raise InfraError("The container stack has not been started.")
        if image is not None:
            self._bring_tools(cancel)
        artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as leaving:
            namespace = leaving.enter_context(broker.namespace(name, cancel, alone=alone))
            engine = leaving.enter_context(self._engine.fresh())
            slot = leaving.enter_context(slots.taken(engine, cancel))
            prefix = f"{self._prefix}-{re.sub(r'[^a-zA-Z0-9_.-]', '-', name)}"
            tools = self.runner.tools
            room = _Room(
                self._composition, self._owner, prefix, self._names, self._cpus, self._state, slot, tools, image
            )
            taken = Taken.of(self._of_slot(slot), name, cancel)
            leaving.callback(taken.drop)
            mates = slots.mates(slot)
            place = ContainerPlace(engine, room, layout, artifacts, namespace, taken)
            if mates is not None:
                place.bindings = {**place.bindings, COMPANIONS: " ".join(sorted(mates.known))}
            leaving.callback(place.stop)
            place.fill()
            yield place

    def _bring_tools(self, cancel: Cancel) -> None:
        """py-spy, which comes with the first environment that is built, or for the first image; it only explains."""
        if not self._tools_asked:
            self._tools_asked = True
            with contextlib.suppress(InfraError):
                self.runner.prepare(cancel)


@dataclass(frozen=True)
class _Room:
    """What a place's containers are made from.

    `names` are of the session; the place's volumes come on top. `slot` is the container whose network they share,
    `tools` the folder of py-spy in the environments' volume. `image` is the project's own, where programs run in one.
    """

    composition: Composition
    owner: Owner
    prefix: str
    names: Mapping[str, str]
    cpus: float
    spool: Path
    slot: str
    tools: str
    image: Image | None = None

    @property
    def programs(self) -> Service:
        """What programs' containers are made like. In an image of the project's nothing of our environments is seen."""
        worker = self.composition.services["worker"]
        if self.image is None:
            return worker
        volumes = [Mount("place", TRIAL)]
        if self.image.root is not None:
            volumes.append(Mount("code", self.image.root, bare=self.image.bare))
        return replace(own_image(worker), image=self.image.id, volumes=tuple(volumes))


class ContainerPlace(InNamespace):
    """A `model.Place`: one volume and one namespace for one trial; each program in a container of its own."""

    work_dir = WORK
    guest = GUESTS
    # The worker's main process is counted with its pool: heartbeats, and answering us.
    idle = 0.1

    def __init__(
        self,
        engine: Engine,
        room: _Room,
        layout: Path,
        artifacts: Path,
        namespace: Space,
        taken: Taken,
    ) -> None:
        super().__init__(namespace)
        self.checkout = room.image.folder if room.image is not None else CHECKOUT
        self._taken = taken
        self._restored: Path | None = None
        self.bindings: Mapping[str, str] = {
            "database_url": f"sqlite:///{WORK}/database.sqlite3", **namespace.bindings, **taken.filled
        }  # fmt: skip
        self._engine = engine
        self._room = room
        self._layout = layout
        self._artifacts = artifacts
        self._private = room.spool / f"{room.prefix}-private"
        self._volume = f"{room.prefix}-place"
        self._code = f"{room.prefix}-code"
        self._names = {**room.names, "place": self._volume, "code": self._code}
        self._numbers = itertools.count(1)
        self._programs: list[ContainerRunning] = []
        self._filled = False
        self._lock = threading.Lock()

    def fill(self) -> None:
        """Make the volume. Code and guest files go in with the first program: it takes a container to reach it."""
        shutil.rmtree(self._private, ignore_errors=True)
        self._private.mkdir(parents=True, mode=0o700)
        for volume in self._volumes():
            self._engine.remove_volume(volume)
            self._engine.create_volume(volume, labels(self._room.owner, "place"))

    def _volumes(self) -> tuple[str, ...]:
        image = self._room.image
        return (self._volume,) if image is None or image.root is None else (self._volume, self._code)

    def start(self, program: Program) -> Running:
        container = self._create(self._room.programs, program.name, program.argv, dict(program.env), program)
        try:
            self._put_code(container)
            if not self._filled:
                self._put_files(container)
                self._filled = True
        except BaseException:
            self._engine.remove(container)
            raise
        outputs = self._private if program.private else self._artifacts, self._artifacts
        running = ContainerRunning(self._engine, container, program.name, *outputs, program.stdin)
        self._programs.append(running)
        return running

    def _create(
        self,
        service: Service,
        role: str,
        argv: tuple[str, ...],
        environment: Mapping[str, str],
        program: Program | None = None,
        worker: str = "",
    ) -> str:
        room = self._room
        folder = program.folder.strip("/") if program else ""
        entered = program is not None and room.image is not None  # an image of the project's may have an entry point
        return self._engine.create(
            service,
            name=f"{room.prefix}-{next(self._numbers)}-{re.sub(r'[^a-zA-Z0-9_.-]', '-', role)}",
            labels=labels(room.owner, role),
            names=self._names,
            command=argv[1:] if entered else argv,
            entrypoint=argv[:1] if entered else None,
            environment=environment,
            folder=f"{self.checkout}/{folder}".rstrip("/") or "/" if program else None,
            stdin=program.stdin if program else False,
            shared={"slot": room.slot, "worker": worker},
            cpus_at_most=room.cpus,
        )

    def _put_files(self, container: str) -> None:
        image = self._room.image
        guests = {f"guest/{path.name}": path.read_bytes() for path in GUEST.glob("*.py")}
        trees, user = ({"checkout": self._layout}, NOBODY) if image is None else ({}, image.user)
        with tree_archive(trees, {"work": None, "guest": None, **guests}, self._room.spool, user) as tar:
            self._engine.put(container, TRIAL, tar)
        if self._restored is not None:
            with self._restored.open("rb") as archive:
                self._engine.put(container, WORK, archive)

    def _put_code(self, container: str) -> None:
        """The tree's files where the project's image has them: once those that programs share, the others each time."""
        image = self._room.image
        if image is None:
            return
        shared = [one for one in image.files if image.root is not None and one[1].startswith(f"{image.root}/")]
        inside = frozenset(shared)
        own = [one for one in image.files if one not in inside]
        for files, root, wanted in ((own, None, bool(own)), (shared, image.root, not self._filled)):
            if wanted:
                with placed_archive(self._layout, files, self._room.spool, image.user, root) as tar:
                    self._engine.put(container, "/", tar)

    def script(self, name: str, text: str) -> str:
        container = self._programs[0].container
        self._engine.put(container, TRIAL, archive_of({f"work/{name}": text.encode()}))
        return f"docker exec {container[:12]} sh {WORK}/{name}"

    def copy_database(self, key: str) -> bool:
        """Not of a file: it is in a volume, and as quickly migrated as brought there."""
        return self._taken.copy_databases(key)

    def empty_database(self) -> None:
        self._taken.empty_databases()

    def keep_database(self, key: str) -> None:
        self._taken.keep_databases(key)

    def save(self, archive: Path) -> None:
        with tempfile.TemporaryFile(dir=self._room.spool) as file:
            self._engine.fetch(self._programs[0].container, WORK, file)
            file.seek(0)
            moved(file, archive, WORK.rpartition("/")[2])

    def restore(self, archive: Path) -> None:
        """With the first program: it takes a container to reach the volume."""
        self._restored = archive

    def dump(self, worker: Running) -> tuple[Dump, ...]:
        """By py-spy in a container that shares the worker's processes and alone may look into them (DESIGN 16)."""
        if not isinstance(worker, ContainerRunning):
            return ()
        with contextlib.suppress(InfraError):
            if worker.alive():
                words = " ".join(pyspy.arguments(f"{self._room.tools}/bin/py-spy", 0)[:-1])
                first, *parts = self._beside(worker.container, _DUMP_ALL, words).split(_NEXT)
                return _dumps(parts, int(first)) if first.isdigit() else ()
        return ()

    def memory(self, worker: Running, *, at_end: bool) -> dict[int, int]:
        """Only at the end: each look takes a container. What was replaced before is not seen."""
        if not at_end or not isinstance(worker, ContainerRunning):
            return {}
        with contextlib.suppress(InfraError):
            if worker.alive():
                found = re.findall(r"^(\d+) (\d+)$", self._beside(worker.container, _PEAKS), re.MULTILINE)
                return {int(pid): int(peak) for pid, peak in found}
        return {}

    def worked(self, worker: Running) -> float | None:
        """Of the whole container: to look at its processes one by one takes another container each time."""
        if not isinstance(worker, ContainerRunning):
            return None
        with contextlib.suppress(InfraError):
            return self._engine.cpu(worker.container)
        return None

    def _beside(self, worker: str, script: str, *words: str) -> str:
        """What a shell script says that shares the worker's processes."""
        dump = self._room.composition.services["dump"]
        container = self._create(dump, "dump", ("sh", "-c", script, *words), {}, worker=worker)
        out: list[bytes] = []
        try:
            watch = Watch(self._engine, container, lambda is_error, chunk: None if is_error else out.append(chunk))
            watch.ended.wait(pyspy.DEADLINE)  # what came until then is worth having
        finally:
            self._engine.remove(container)
        return b"".join(out).decode("utf-8", "replace")

    def describe(self) -> tuple[tuple[str, str], ...]:
        image = self._room.programs.image
        mounts = [f"{self._volume}:{TRIAL}"]
        if self._room.image is not None and self._room.image.root is not None:
            mounts.append(f"{self._code}:{self._room.image.root}")
        seen = f"docker run --rm -it {' '.join(f'-v {mount}' for mount in mounts)} -w {self.checkout}"
        entry = f"--entrypoint sh {image}" if self._room.image is not None else f"{image} sh"
        running = [one.container[:12] for one in self._programs if one.alive()]
        return (
            ("checkout", f"{seen} {entry}"),
            ("work folder", f"{WORK} in the volume {self._volume}"),
            ("logs", str(self._artifacts)),
            ("broker", self.harness_url),
            *((one.kind, f"{one.url} from its programs") for one in self._taken.bindings),
            *(("worker", f"docker exec -it {container} sh") for container in running[:1]),
        )

    def stop(self) -> None:
        """End every program, the latest first: senders before the worker they talk to; then the volume goes."""
        with self._lock, contextlib.ExitStack() as stops:
            stops.callback(shutil.rmtree, self._private, ignore_errors=True)
            for volume in self._volumes():
                stops.callback(self._engine.remove_volume, volume)
            for running in self._programs:
                stops.callback(running.stop)


def _dumps(parts: Sequence[str], worker: int) -> tuple[Dump, ...]:
    dumps = [dump for part in parts for dump in pyspy.parse_dump(part, worker)]
    return tuple(sorted(dumps, key=lambda dump: (dump.role != "parent", dump.pid)))


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InfraError(f"{path}, which builds need, cannot be read: {error.strerror}.") from error
