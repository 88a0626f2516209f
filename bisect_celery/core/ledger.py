"""From signs to facts: collects what events, results, the log and the broker tell of one trial.

Pure bookkeeping: every sign comes with its time (seconds since the trial began), and three witnesses may tell the
same thing in any order. The ledger decides nothing; `core.judge` reads the `Observation` it makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bisect_celery.model import Dump, Failure, Fault, Message, Observation, QueueCount, WorkerFacts

# Worst first: when witnesses differ, the worst word counts, whoever said it and whenever. A task whose body
# succeeded and whose `on_success` then raised has a good result and a failed event: that is no success.
FINAL = ("FAILURE", "REJECTED", "REVOKED", "IGNORED", "SUCCESS")
WITHOUT_RESULT = frozenset({"REJECTED", "IGNORED"})
# The nearest to the exception itself first: a log line may be cut, an event carries a `repr` of a copy.
WITNESSES = ("result", "event", "log")
_STAGES = {"received": 1, "started": 2, "finished": 3}


@dataclass(frozen=True)
class _Word:
    """What one witness says became of a task."""

    state: str
    exception: str | None = None
    detail: str | None = None


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
    bodies: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    retry: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    value: str | None = None
    process: str | None = None
    words: dict[str, _Word] = field(default_factory=dict)
    checked: str | None = None
    said: str | None = None
    canvas: tuple[str, ...] = ()
    published: float | None = None
    again: int = 0
    unread: bool = False

    @property
    def retries(self) -> int:
        """Each witness tells of every one, or misses some."""
        return max(self.retried.values(), default=0)

    @property
    def state(self) -> str | None:
        told = {word.state for word in self.words.values()}
        return next((state for state in FINAL if state in told), None)

    @property
    def stored(self) -> str | None:
        return self.words["result"].state if "result" in self.words else None

    def over(self, stored: bool) -> bool:
        """Whether nothing more is to come: a final word, and the result where there will be one (`stored`)."""
        stored = stored and not self.unread
        return self.state in WITHOUT_RESULT or (self.state is not None and (not stored or self.stored is not None))

    def hear(self, source: str, word: _Word) -> bool:
        """Whether this is news. A witness who speaks twice (a task that ran twice) is held to the worse word."""
        known = self.words.get(source)
        if known is not None and FINAL.index(known.state) <= FINAL.index(word.state):
            return False
        self.words[source] = word
        return True

    def reason(self) -> tuple[str | None, str | None]:
        """Exception and message of the final state, by the best witness who knows it; else of the last retry."""
        state = self.state
        if state is None:
            # Before Celery 4 pool processes do not hand the exception on, and only their log tells why.
            asked = [self.retry[source] for source in WITNESSES if source in self.retry]
            return next((reason for reason in asked if reason[0] is not None), (None, None))
        told = [self.words[source] for source in WITNESSES if source in self.words]
        told = [word for word in told if word.state == state and state != "SUCCESS"]
        exception = next((word.exception for word in told if word.exception), None)
        return exception, next((word.detail for word in told if word.detail is not None), None)

    def frozen(self, canvas_over: int = 0) -> Message:
        exception, detail = self.reason()
        return Message(
            id=self.id,
            wave=self.wave,
            sent=self.sent,
            received=self.received,
            started=self.started,
            done=self.done,
            finished=self.finished,
            starts=max(0, self.bodies - self.retries),
            retries=self.retries,
            state=self.state,
            stored=self.stored,
            value=self.value,
            exception=exception,
            detail=detail,
            process=self.process,
            sources=tuple(sorted(self.words)),
            checked=self.checked,
            said=self.said,
            canvas=len(self.canvas),
            canvas_over=canvas_over,
            published=self.published,
            again=self.again,
            unread=self.unread,
        )


class Ledger:
    """The facts of one trial while it runs. Times must not go backwards."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._others: dict[str, _Entry] = {}
        self._progress = 0.0
        self._quiet = 0.0
        self._queues: tuple[QueueCount, ...] = ()
        self._counted_at = -1.0
        self._aside = (0, 0)
        self._last_final = 0.0
        self.unregistered = False
        self.heard: set[str] = set()
        self.refused = 0
        self.refusal: str | None = None
        self.children_lost = 0
        self.errors: list[str] = []
        self.faults: list[Fault] = []
        self.unmet: str | None = None
        self._resting = False

    # --- signs -----------------------------------------------------------------------------------

    def progress(self, at: float) -> None:
        """Something moved: the quiet before it is over."""
        if not self._resting:
            self._quiet = max(self._quiet, at - self._progress)
        self._progress = max(self._progress, at)

    def begin(self, at: float) -> None:
        """The worker is ready: quiet is counted from here."""
        self._progress = at
        self._quiet = 0.0

    # --- what the scenario does

    def rest(self, at: float) -> None:
        """From now on quiet is what was asked for, and says nothing of the worker."""
        self.progress(at)
        self._resting = True

    def resume(self, at: float) -> None:
        """Quiet counts again, from here; that may lie ahead."""
        self._resting = False
        self._progress = at

    def fault(self, what: str, began: float, until: float) -> None:
        self.faults.append(Fault(what, began, until))

    def shaken(self) -> None:
        """A fault takes from the worker what it has not acknowledged: each message may be run once more (that is AMQP).

        Unless every one is final and the broker, asked since, holds nothing.
        """
        if not (all(entry.state is not None for entry in self._entries.values()) and self.drained()):
            for entry in self._entries.values():
                entry.again += 1

    def unreadable(self) -> None:
        """Whoever waited for results has gone: those that did not come are nobody's to miss."""
        for entry in self._entries.values():
            entry.unread = entry.unread or entry.stored is None

    def sent(self, at: float, id: str, wave: int, canvas: Iterable[str] = ()) -> None:
        """A message of ours. A probe file names its ids only when all of a canvas is sent, so that signs of it may have
        come before; `canvas` are the ids of the tasks that run before this one, whoever sends them."""
        entry = self._entries.get(id) or self._others.pop(id, None) or _Entry(id, wave, at)
        entry.wave, entry.canvas = wave, tuple(canvas)
        self._entries[id] = entry
        self.progress(at)

    def published(self, at: float, id: str) -> None:
        """The sender has given a message of ours to the broker."""
        entry = self._entries.get(id)
        if entry is not None and entry.published is None:
            entry.published = at
            self.progress(at)

    def refuse(self, at: float, words: str) -> None:
        """The worker's main process says that it threw a message away unread, and why; the first reason is kept."""
        self.refused += 1
        self.refusal = self.refusal or words
        self.progress(at)

    def checked(self, id: str, outcome: str, said: str | None) -> None:
        """The user's own judge has seen this message's result: "true", "false" or "raised", and its words."""
        entry = self._entries.get(id)
        if entry is not None:
            entry.checked, entry.said = outcome, said

    def received(self, at: float, id: str) -> None:
        entry = self._heard_of(at, id)
        if entry.received is None:
            entry.received = at
            self._moved(at, entry)

    def started(self, at: float, id: str, process: str | None = None) -> None:
        """A body was begun, by Celery's `task-started` event: each event is one start."""
        entry = self._heard_of(at, id)
        entry.bodies += 1
        entry.started = at if entry.started is None else entry.started
        entry.process = process or entry.process
        self._moved(at, entry)

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

    def runs(self, at: float, id: str) -> None:
        """The worker, asked, counts it as running: somebody has begun it, whatever events tell."""
        entry = self._entries.get(id)
        if entry is not None and entry.started is None:
            entry.started = at

    def retried(
        self, at: float, id: str, exception: str | None = None, detail: str | None = None, *, source: str = "event"
    ) -> None:
        """A witness (`source`: event, log) says that the task asked to be run again, and why: its next start is no
        redelivery."""
        entry = self._heard_of(at, id)
        entry.retried[source] += 1
        entry.retry[source] = (exception, detail)
        self._moved(at, entry)

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
        if state not in FINAL:
            return
        entry = self._heard_of(at, id)
        first, ours = not entry.words, self.is_ours(id)
        if entry.hear(source, _Word(state, exception, detail)) and (ours or first):
            self.progress(at)
            self._last_final = max(self._last_final, at) if ours else self._last_final
        entry.finished = at if entry.finished is None else entry.finished
        entry.value = value if value is not None else entry.value
        entry.process = process or entry.process

    def _heard_of(self, at: float, id: str) -> _Entry:
        """The message with this id. Tasks that ours or the project sent move too, may be left over, and may turn out to
        be ours: what is told of them is kept as well."""
        entry = self._entries.get(id) or self._others.get(id)
        if entry is None:
            entry = self._others[id] = _Entry(id, 0, at)
            self.progress(at)
        return entry

    def _moved(self, at: float, entry: _Entry) -> None:
        """Of tasks that are not ours only their appearance and their end count: one that retries for ever is none."""
        if self.is_ours(entry.id):
            self.progress(at)

    def counted(self, at: float, queues: Iterable[QueueCount]) -> None:
        """The broker's live counts; a change in what is unacknowledged or ready is progress."""
        new = tuple(queues)
        if self._totals(new) != self._totals(self._queues):
            self.progress(at)
        self._queues = new
        self._counted_at = at

    @staticmethod
    def _totals(queues: tuple[QueueCount, ...]) -> tuple[int, int]:
        return sum(queue.ready for queue in queues), sum(queue.unacked for queue in queues)

    @property
    def left(self) -> tuple[int, int]:
        """(ready, unacknowledged) over all work queues, as last counted."""
        return self._totals(self._queues)

    def set_aside(self, ready: int, unacked: int) -> None:
        """So many messages are left for good: of others, where nobody consumes, or kept by the worker for later."""
        self._aside = (ready, unacked)

    # --- questions while the trial runs -------------------------------------------------------------

    @property
    def last_progress(self) -> float:
        return self._progress

    def quiet_for(self, now: float) -> float:
        return now - self._progress

    def drained(self) -> bool:
        """Whether the work queues hold nothing, neither ready nor unacknowledged, but for what is set aside; counted
        after the last final word."""
        (ready, unacked), aside = self._totals(self._queues), self._aside
        return self._counted_at > self._last_final and ready <= aside[0] and unacked <= aside[1]

    def finals(self, wave: int) -> int:
        """How many messages of a wave have a final state from the worker's or the result's side."""
        return sum(1 for entry in self._entries.values() if entry.wave == wave and entry.state is not None)

    def ids(self, wave: int) -> tuple[str, ...]:
        return tuple(entry.id for entry in self._entries.values() if entry.wave == wave)

    def is_ours(self, id: str) -> bool:
        return id in self._entries

    def complete(self, wave: int, *, stored: bool = False) -> bool:
        """Every message of the wave final and the queues empty; `stored`: and every result came back."""
        entries = [entry for entry in self._entries.values() if entry.wave == wave]
        return bool(entries) and all(entry.over(stored) for entry in entries) and self.drained()

    def waiting(self) -> int:
        """How many messages wait in the work queues, as last counted."""
        return self._totals(self._queues)[0]

    def count(self) -> int:
        """How many messages are ours."""
        return len(self._entries)

    def reached(self, what: str) -> int:
        """Of how many messages of ours it was seen that they were "received", "started" or "finished" (or came on)."""
        return sum(self._stands(entry) >= _STAGES[what] for entry in self._entries.values())

    @staticmethod
    def _stands(entry: _Entry) -> int:
        if entry.state is not None:
            return _STAGES["finished"]
        if entry.bodies:
            return _STAGES["started"]
        return _STAGES["received"] if entry.received is not None else 0

    def all_over(self, *, stored: bool = False) -> bool:
        """`complete`, of all that was sent so far, whoever sent it."""
        return self.all_final(stored=stored) and self.drained()

    def all_final(self, *, stored: bool = False) -> bool:
        """The same, whatever the queues hold."""
        return all(entry.over(stored) for entry in self._entries.values())

    def all_succeeded(self) -> bool:
        return all(entry.state == "SUCCESS" for entry in self._entries.values()) and self.drained()

    def all_returned(self) -> bool:
        """Whether the worker's main process itself told the end of every message (`core.judge.all_returned`)."""
        return bool(self._entries) and all("event" in entry.words for entry in self._entries.values())

    def heard_out(self) -> bool:
        """Whether the worker's main process itself told the end of every message that has one."""
        return all("event" in entry.words for entry in self._entries.values() if entry.state is not None)

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
        held_others: int = 0,
        scheduled: int | None = None,
        children_gone: int = 0,
        worker_exit: int | None = None,
        worker_exit_at: float | None = None,
        exit_words: str | None = None,
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
            messages=tuple(entry.frozen(self._canvas_over(entry)) for entry in self._entries.values()),
            queues=self._queues,
            consumers=consumers,
            held=held,
            held_others=held_others,
            scheduled=scheduled,
            children_gone=children_gone,
            counted_at=self._counted_at if self._counted_at >= 0 else None,
            heard=tuple(sorted(self.heard)),
            refused=self.refused,
            refusal=self.refusal,
            others=sum(entry.state is None for entry in self._others.values()),
            last_progress=self._progress,
            quiet=self._quiet,
            worker_exit=worker_exit,
            worker_exit_at=worker_exit_at,
            exit_words=exit_words,
            children_lost=self.children_lost,
            foreign_broker=foreign_broker,
            unregistered=self.unregistered,
            dumps=dumps,
            errors=tuple(self.errors[:20]),
            ended=ended,
            load=load,
            faults=tuple(self.faults),
            unmet=self.unmet,
        )

    def _canvas_over(self, entry: _Entry) -> int:
        """How many of the tasks that come before this one were seen to succeed."""
        known = (self._entries.get(id) or self._others.get(id) for id in entry.canvas)
        return sum(other is not None and other.state == "SUCCESS" for other in known)
