"""A lab that only draws lots: whole sessions of an intermittent incident in a second, beside the real ones.

Everything else is real: the repository and its composed trees, git's bisection, the judge, the store, the report.
A tree fails as often as `rate` says of its files; which start fails follows from the tree, its attempt and a seed, so
that a session that is resumed would see the same.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from bisect_celery.flow import incident
from bisect_celery.flow.session import Room
from bisect_celery.lab.lab import Made, Order
from bisect_celery.model import Failure, Message, Observation, QueueCount, StackFacts, Stage, WorkerFacts
from bisect_celery.repo.private import PrivateRepository

FACTS = StackFacts("process", "embedded", "fake", True, "a test", False)
WORKER = WorkerFacts("5.5.2", "3.11", 1, 1, True, False, "prefork", ("shop.tasks.total",), "rpc", "amqp")
TASKS = 20
Read = Callable[[str], str]


@dataclass(frozen=True)
class Ways:
    """How a tree behaves: `fails` of its starts show the failure `how`, the rest `otherwise` (names of `SHOWN`)."""

    fails: float
    otherwise: str = "completed"
    how: str = "failing"


@dataclass
class FakeLab:
    """`behaves` reads a tree's files by path ("" where there is none) and says how it does."""

    repository: PrivateRepository
    behaves: Callable[[Read], Ways]
    seed: int = 0
    python: str | None = None
    workload: None = None
    worker_image: None = None
    left_out: tuple[str, ...] = ()
    python_doubt: None = None
    made: list[tuple[str, bool]] = field(default_factory=list)
    before: Callable[[int], None] = lambda number: None

    def __post_init__(self) -> None:
        self.stack = self
        self.facts = FACTS
        self._attempts: Counter[str] = Counter()
        self._ways: dict[str, Ways] = {}

    def choose_python(self, tree: str, subfolder: str) -> str:
        return "3.11"

    def make(self, order: Order) -> Made:
        """One trial: its lot, and how many there were of this tree before, also in the session that is resumed."""
        number = int(order.name.split("-")[0])
        self.before(number)
        ways = self._of(order.tree.sha)
        lot = hashlib.sha256(f"{self.seed} {order.tree.sha} {number}".encode()).digest()
        failed = int.from_bytes(lot[:7]) < ways.fails * 2**56
        self.made.append((order.tree.label, failed))
        tasks = order.plan.probe.count or TASKS
        seen = SHOWN[ways.how if failed else ways.otherwise](tasks)
        return Made(seen, 1.0, Path("nowhere"))

    def _of(self, tree: str) -> Ways:
        if tree not in self._ways:
            self._ways[tree] = self.behaves(lambda path: (self.repository.read(tree, path) or b"").decode())
        return self._ways[tree]


def completed(tasks: int) -> Observation:
    messages = tuple(message(n, wave, "SUCCESS") for wave, many in ((1, tasks), (2, 1)) for n in range(many))
    return observation(messages, held=0, ended="complete")


def failing(name: str, tasks: int) -> Observation:
    messages = (*(message(n, 1, "FAILURE", name) for n in range(tasks)), message(0, 2, "FAILURE", name))
    return observation(messages, held=0, ended="complete")


def unbootable(tasks: int) -> Observation:
    reason = "ImportError: cannot import name 'letter'"
    return Observation(1.0, Failure(Stage.BOOT, reason, "ImportError"), WORKER, ended="failure")


def hanging(tasks: int) -> Observation:
    return observation(tuple(message(n, 1, None) for n in range(tasks)), held=1, ended="quiet")


SHOWN: dict[str, Callable[[int], Observation]] = {
    "completed": completed,
    "failing": lambda tasks: failing("KeyError", tasks),
    "hanging": hanging,
    "failing differently": lambda tasks: failing("ZeroDivisionError", tasks),
    "unbootable": unbootable,
}


def message(number: int, wave: int, state: str | None, name: str | None = None) -> Message:
    """One that was begun, and ended if it has a state."""
    return Message(
        id=f"w{wave}m{number}",
        wave=wave,
        sent=0.5,
        received=0.6,
        started=0.6,
        finished=0.7 if state else None,
        starts=1,
        state=state,
        stored=state,
        value="1" if state == "SUCCESS" else None,
        exception=name,
        detail=f"{name}('x')" if name else None,
        process="p1",
        sources=("event", "result") if state else (),
    )


def observation(messages: tuple[Message, ...], held: int, ended: str) -> Observation:
    return Observation(
        1.0, None, WORKER, 0.4, messages, (QueueCount("celery", 0, 0),), 1, held=held, last_progress=0.9, quiet=0.2,
        ended=ended,
    )  # fmt: skip


@contextlib.contextmanager
def instead(behaves: Callable[[Read], Ways], seed: int = 0, **more: object) -> Iterator[list[FakeLab]]:
    """Sessions that begin inside draw lots; the labs that they were given are collected."""
    labs: list[FakeLab] = []

    @contextlib.contextmanager
    def running(room: Room, *, as_of: str) -> Iterator[FakeLab]:
        labs.append(FakeLab(room.repository, behaves, seed, **more))  # type: ignore[arg-type]
        yield labs[-1]

    with mock.patch.object(incident, "running", running):
        yield labs
