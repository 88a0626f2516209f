"""A trial's place in containers: one volume (checkout, work folder, guest files) that the containers of its programs
share, in the network of its slot, and one namespace on the session's broker.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.errors import InfraError
from bisect_celery.model import (
    Dump,
    Image,
    Owner,
    Program,
    Running,
)
from bisect_celery.stack import pyspy
from bisect_celery.stack.brokers.namespace import InNamespace, Space
from bisect_celery.stack.compose.described import Composition, Mount, Service
from bisect_celery.stack.containers.images import own_image
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.files import NOBODY, archive_of, moved, placed_archive, tree_archive
from bisect_celery.stack.engine.program import ContainerRunning, Watch
from bisect_celery.stack.services.protocol import Taken

GUEST = Path(__file__).resolve().parents[2] / "guest"

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


@dataclass(frozen=True)
class Room:
    """What a place's containers are made from.

    `names` are of the session; the place's volumes come on top. `slot` is the container whose network they share,
    `tools` the folder of py-spy in the environments' volume. `image` is the project's own, where programs run in one.
    `files` are (path, content) of what each program finds in its container besides the code. `counts` says whether the
    engine can tell what CPU a container used.
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
    files: tuple[tuple[str, bytes], ...] = ()
    counts: bool = True

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
        room: Room,
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
            if self._room.files:
                files = {path.lstrip("/"): content for path, content in self._room.files}
                self._engine.put(container, "/", archive_of(files))
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
        if not isinstance(worker, ContainerRunning) or not self._room.counts:
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
