"""From signs to facts: collects what events, results, the log and the broker tell of one trial.

Pure bookkeeping: every sign comes with its time (seconds since the trial began), and three witnesses may tell the
same thing in any order. The ledger decides nothing; `core.judge` reads the `Observation` it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bisect_celery.model import Dump, Failure, Message, Observation, QueueCount, WorkerFacts

FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})


@dataclass
class _Entry:
    """One message as it becomes known."""

    id: str
    wave: int
    sent: float
    received: float | None = None
    started: float | None = None
    done: float | None = None
    finished: float | None = None
    starts: int = 0
    state: str | None = None
    stored: str | None = None
    value: str | None = None
    exception: str | None = None
    detail: str | None = None
    process: str | None = None
    sources: set[str] = field(default_factory=set)

    def frozen(self) -> Message:
        values = dict(self.__dict__)
        values["sources"] = tuple(sorted(self.sources))
        return Message(**values)


class Ledger:
    """The facts of one trial while it runs. Times must not go backwards."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._progress = 0.0
        self._quiet = 0.0
        self._queues: tuple[QueueCount, ...] = ()
        self._unacked: int | None = None
        self.unregistered = False
        self.children_lost = 0
        self.errors: list[str] = []

    # --- signs -----------------------------------------------------------------------------------

    def progress(self, at: float) -> None:
        """Something moved: the quiet before it is over."""
        self._quiet = max(self._quiet, at - self._progress)
        self._progress = max(self._progress, at)

    def begin(self, at: float) -> None:
        """The worker is ready: quiet is counted from here."""
        self._progress = at

    def sent(self, at: float, id: str, wave: int) -> None:
        self._entries.setdefault(id, _Entry(id, wave, at))
        self.progress(at)

    def received(self, at: float, id: str) -> None:
        entry = self._entries.get(id)
        if entry is not None and entry.received is None:
            entry.received = at
            self.progress(at)

    def started(self, at: float, id: str, process: str | None = None) -> None:
        """A body was begun, by Celery's `task-started` event: each event is one start."""
        entry = self._entries.get(id)
        if entry is None:
            return
        entry.starts += 1
        entry.started = at if entry.started is None else entry.started
        entry.process = process or entry.process
        self.progress(at)

    def done(self, at: float, id: str | None) -> None:
        """A body has done its work: the declared effect was seen.

        Without an id (the log line did not name its task) it counts for the first message that is begun, or
        at least received, and not yet done.
        """
        entry = self._entries.get(id) if id else self._first_open()
        if entry is not None and entry.done is None:
            entry.done = at
            self.progress(at)

    def _first_open(self) -> _Entry | None:
        waiting = [entry for entry in self._entries.values() if entry.done is None]
        begun = [entry for entry in waiting if entry.started is not None]
        received = [entry for entry in waiting if entry.received is not None]
        return next(iter(begun or received or waiting), None)

    def retried(self, at: float, id: str) -> None:
        """The task asked to be run again: its next start is no redelivery."""
        entry = self._entries.get(id)
        if entry is not None:
            entry.starts = max(0, entry.starts - 1)
            self.progress(at)

    def finished(
        self,
        at: float,
        id: str,
        state: str,
        source: str,
        *,
        value: str | None = None,
        exception: str | None = None,
        detail: str | None = None,
        process: str | None = None,
    ) -> None:
        """A witness (`source`: event, result, log) gives the task's final state."""
        entry = self._entries.get(id)
        if entry is None or state not in FINAL:
            return
        if source == "result":
            entry.stored = state
        if entry.state is None or (entry.state != state and source == "result"):
            entry.state = state
        if entry.finished is None:
            entry.finished = at
            self.progress(at)
        entry.value = value if value is not None else entry.value
        entry.exception = exception or entry.exception
        if detail is not None and (entry.detail is None or source == "result"):
            entry.detail = detail  # the result's own words come before an event's `repr`
        entry.process = process or entry.process
        entry.sources.add(source)

    def counted(self, at: float, queues: Iterable[QueueCount]) -> None:
        """The broker's live counts; a change in what is unacknowledged or ready is progress."""
        new = tuple(queues)
        if self._totals(new) != self._totals(self._queues):
            self.progress(at)
        self._queues = new

    @staticmethod
    def _totals(queues: tuple[QueueCount, ...]) -> tuple[int, int]:
        return sum(queue.ready for queue in queues), sum(queue.unacked for queue in queues)

    # --- questions while the trial runs -------------------------------------------------------------

    @property
    def last_progress(self) -> float:
        return self._progress

    def quiet_for(self, now: float) -> float:
        return now - self._progress

    def drained(self) -> bool:
        """Whether the work queues hold nothing, neither ready nor unacknowledged."""
        return self._totals(self._queues) == (0, 0)

    def finals(self, wave: int) -> int:
        """How many messages of a wave have a final state from the worker's or the result's side."""
        return sum(1 for entry in self._entries.values() if entry.wave == wave and entry.state is not None)

    def ids(self, wave: int) -> tuple[str, ...]:
        return tuple(entry.id for entry in self._entries.values() if entry.wave == wave)

    def complete(self, wave: int, *, stored: bool = False) -> bool:
        """Every message of the wave final and the queues empty; `stored`: and every result came back."""
        entries = [entry for entry in self._entries.values() if entry.wave == wave]
        final = all(entry.state is not None and (entry.stored or not stored) for entry in entries)
        return bool(entries) and final and self.drained()

    # --- the facts ---------------------------------------------------------------------------------

    def observation(
        self,
        until: float,
        *,
        failure: Failure | None = None,
        worker: WorkerFacts | None = None,
        ready_at: float | None = None,
        consumers: int | None = None,
        held: int | None = None,
        worker_exit: int | None = None,
        worker_exit_at: float | None = None,
        foreign_broker: str | None = None,
        dumps: tuple[Dump, ...] = (),
        ended: str = "",
        load: float = 0.0,
    ) -> Observation:
        return Observation(
            until=round(until, 3),
            failure=failure,
            worker=worker or WorkerFacts(),
            ready_at=ready_at,
            messages=tuple(entry.frozen() for entry in self._entries.values()),
            queues=self._queues,
            consumers=consumers,
            held=held,
            last_progress=self._progress,
            quiet=self._quiet,
            worker_exit=worker_exit,
            worker_exit_at=worker_exit_at,
            children_lost=self.children_lost,
            foreign_broker=foreign_broker,
            unregistered=self.unregistered,
            dumps=dumps,
            errors=tuple(self.errors[:20]),
            ended=ended,
            load=load,
        )
