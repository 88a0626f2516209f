"""The process stack: workers as processes of this machine, for where no container engine answers.

It has no wall: code under test may reach whatever this machine reaches. That is said in the first line of every run.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import (
    Cancel,
    Dump,
    Environment,
    Program,
    Runner,
    Running,
    StackFacts,
)
from bisect_celery.stack import pyspy
from bisect_celery.stack.brokers.namespace import Broker, InNamespace, Space
from bisect_celery.stack.brokers.sharing import Sharing
from bisect_celery.stack.services.protocol import Service, Taken, versions
from bisect_celery.stack.work_files import pack, unpack

MAX_DUMPED = 16
# Every program of a place carries the place's own mark under this name: it is found wherever it went.
MARK = "BISECT_CELERY_PLACE"
GUEST = Path(__file__).resolve().parent.parent / "guest"
# In a trial's work folder, for projects that have their database in a file.
DATABASE_FILE = "database.sqlite3"


class ProcessStack:
    """A `model.Stack` of plain processes beside one broker of ours, and the services that were asked for."""

    def __init__(
        self,
        broker: Broker,
        runner: Runner,
        folder: Path,
        why: str,
        services: Sequence[Service] = (),
        more: Callable[[str], Service | None] = lambda _: None,
    ) -> None:
        """`folder` is where places are made; `why` says in words why this stack was taken. `more` makes a service by
        its kind, for `serve`; None where it is not installed."""
        self.runner = runner
        self._broker = broker
        self._services, self._more = list(services), more
        self._started: list[Service] = []
        self._kept: dict[str, Path] = {}
        self._folder = folder
        self._why = why
        self._sharing = Sharing()
        self.facts = self._describe()

    def _describe(self) -> StackFacts:
        return StackFacts(
            name="process",
            broker=self._broker.kind,
            broker_version=self._broker.version,
            emulated=self._broker.emulated,
            why=self._why,
            walled=False,
            detail="workers are processes of this machine, with no wall around them",
            services=versions(self._services),
        )

    def own_images(self) -> None:
        return None

    def start(self, cancel: Cancel) -> None:
        self._broker.start(cancel)
        for service in self._services:
            self._start(service, cancel)
        self.facts = self._describe()

    def _start(self, service: Service, cancel: Cancel) -> None:
        self._started.append(service)
        service.start(cancel)

    def serve(self, kind: str, cancel: Cancel) -> bool:
        if kind in self._broker.serves or any(service.kind == kind for service in self._services):
            return True
        service = self._more(kind)
        if service is None:
            return False
        self._start(service, cancel)
        self._services.append(service)
        self.facts = self._describe()
        return True

    def stop(self) -> None:
        with contextlib.ExitStack() as stops:
            stops.callback(self._broker.stop)
            for service in self._started:
                stops.callback(service.stop)

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
    ) -> Iterator[ProcessPlace]:
        with self._sharing.taken(alone, cancel), self._made(name, layout, artifacts, cancel, alone) as place:
            yield place

    @contextlib.contextmanager
    def _made(
        self, name: str, layout: Path, artifacts: Path, cancel: Cancel, alone: bool
    ) -> Iterator[ProcessPlace]:  # fmt: skip
        folder = self._folder / name
        with self._broker.namespace(name, cancel, alone=alone) as namespace:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.ExitStack() as leaving:
                leaving.callback(shutil.rmtree, folder, ignore_errors=True)
                taken = Taken.of(self._services, name, cancel)
                leaving.callback(taken.drop)
                kept = Kept(self._folder / "kept", self._kept)
                place = ProcessPlace(folder, layout, artifacts, namespace, taken, kept)
                leaving.callback(place.stop)
                yield place


@dataclass(frozen=True)
class Kept:
    """Copies of database files by key, in `folder`; the same for all places of a session."""

    folder: Path
    files: dict[str, Path]

    def keep(self, key: str, file: Path) -> None:
        if key not in self.files and file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = self.folder / secrets.token_hex(8)
            shutil.copyfile(file, target)
            self.files[key] = target

    def copy(self, key: str, file: Path) -> bool:
        kept = self.files.get(key)
        if kept is not None:
            shutil.copyfile(kept, file)
        return kept is not None


class ProcessPlace(InNamespace):
    """A `model.Place`: a checkout, a fresh work folder and a fresh namespace for one trial."""

    # Pool processes that wait use nothing at all; one that computes beside thirty others still uses more than this.
    idle = 0.02

    def __init__(
        self,
        folder: Path,
        layout: Path,
        artifacts: Path,
        namespace: Space,
        taken: Taken,
        kept: Kept,
    ) -> None:
        """`taken` are the trial's own of the services."""
        super().__init__(namespace)
        self._taken, self._kept = taken, kept
        self._database = folder / "work" / DATABASE_FILE
        self.bindings: Mapping[str, str] = {
            "database_url": f"sqlite:///{self._database}", **namespace.bindings, **taken.filled
        }  # fmt: skip
        self.checkout = str(layout)
        self.work_dir = str(folder / "work")
        self.guest = str(folder / "guest")
        self._artifacts = artifacts
        self._private = folder / "private"
        self._programs: list[ProcessRunning] = []
        self._mark = secrets.token_hex(8)
        # A trial that was cut short may have left its outputs under the same name: they are not this one's facts.
        shutil.rmtree(artifacts, ignore_errors=True)
        for made in (Path(self.work_dir), Path(self.guest), self._private, artifacts):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
        for source in GUEST.glob("*.py"):
            shutil.copy(source, self.guest)

    def start(self, program: Program) -> Running:
        env = {**dict(program.env), MARK: self._mark}
        outputs = self._private if program.private else self._artifacts, self._artifacts
        running = ProcessRunning(program, env, Path(self.checkout) / program.folder, *outputs)
        self._programs.append(running)
        return running

    def script(self, name: str, text: str) -> str:
        path = Path(self.work_dir) / name
        path.write_text(text)
        return f"sh {path}"

    def copy_database(self, key: str) -> bool:
        served = self._taken.databases()
        return self._taken.copy_databases(key) if served else self._kept.copy(key, self._database)

    def empty_database(self) -> None:
        if not self._taken.databases():
            self._database.unlink(missing_ok=True)
        self._taken.empty_databases()

    def keep_database(self, key: str) -> None:
        if not self._taken.databases():
            self._kept.keep(key, self._database)
        self._taken.keep_databases(key)

    def save(self, archive: Path) -> None:
        pack(Path(self.work_dir), archive)

    def restore(self, archive: Path) -> None:
        unpack(archive, Path(self.work_dir))

    def memory(self, worker: Running, *, at_end: bool) -> dict[int, int]:
        """As the kernel keeps it (`VmHWM`): no process notices, and no peak between two looks is missed."""
        if not isinstance(worker, ProcessRunning) or not worker.alive():
            return {}
        children = {pid: peak for pid in _children(worker.pid) if (peak := _peak(pid)) is not None}
        own = _peak(worker.pid)
        return children or ({worker.pid: own} if own is not None else {})

    def worked(self, worker: Running) -> float | None:
        if not isinstance(worker, ProcessRunning) or not worker.alive():
            return None
        used = [seconds for pid in _children(worker.pid) if (seconds := _cpu(pid)) is not None]
        return sum(used) if used else _cpu(worker.pid)

    def dump(self, worker: Running) -> tuple[Dump, ...]:
        program = pyspy.binary()
        if program is None or not isinstance(worker, ProcessRunning) or not worker.alive():
            return ()
        pids = (worker.pid, *proc.descendants(worker.pid)[:MAX_DUMPED])
        return tuple(dump for pid in pids for dump in _dump(str(program), pid, worker.pid))

    def describe(self) -> tuple[tuple[str, str], ...]:
        return (
            ("checkout", self.checkout),
            ("work folder", self.work_dir),
            ("logs", str(self._artifacts)),
            ("broker", self.broker_url),
            *((one.kind, one.url) for one in self._taken.bindings),
            *((one.name, f"process {one.pid}") for one in self._programs if one.alive()),
        )

    def stop(self) -> None:
        """End every program, the latest first: senders before the worker they talk to; then what left its group."""
        for running in reversed(self._programs):
            running.stop()
        proc.kill_marked(MARK, self._mark)


class ProcessRunning:
    """A `model.Running`: one process group, its two output files."""

    def __init__(self, program: Program, env: Mapping[str, str], folder: Path, outputs: Path, errors: Path) -> None:
        self.out = outputs / f"{program.name}.out"
        self.err = errors / f"{program.name}.err"
        with contextlib.ExitStack() as files:
            out: IO[bytes] = files.enter_context(self.out.open("ab"))
            err: IO[bytes] = files.enter_context(self.err.open("ab"))
            self._process = proc.start(program.argv, cwd=folder, env=env, stdin=program.stdin, stdout=out, stderr=err)
        self.pid = self._process.pid
        self.name = program.name

    def write(self, line: str) -> None:
        self._process.write(line.encode() + b"\n")

    def alive(self) -> bool:
        return self._process.alive()

    def exit_code(self) -> int | None:
        return self._process.exit_code()

    def ask_to_end(self) -> None:
        self._process.ask_to_end()

    def stop(self) -> None:
        self._process.stop()


def _children(pid: int) -> tuple[int, ...]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return tuple(found)


def _peak(pid: int) -> int | None:
    """KiB; None for a process that is gone, or has no memory any more."""
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None


def _cpu(pid: int) -> float | None:
    """Seconds in user and kernel mode, its ended children's included; None for a process that is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return None


def _dump(program: str, pid: int, parent: int) -> tuple[Dump, ...]:
    try:
        finished = proc.run(pyspy.arguments(program, pid), deadline=pyspy.DEADLINE, check=False)
    except InfraError:
        return ()
    return pyspy.parse_dump(finished.text(), parent)
