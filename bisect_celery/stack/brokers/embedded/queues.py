"""One queue: messages in order, consumers in turn, expiry. Pure: the time is the `Clock`'s, which is told it."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

# What an entry costs beside its bytes, roughly; only the memory alarm reads it.
_OVERHEAD = 512


@dataclass(frozen=True, slots=True)
class Content:
    """What was published: `properties` are the bytes of AMQP's property flags and list, handed on untouched.

    `expiration` is in seconds, None for never.
    """

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    expiration: float | None = None


@dataclass(eq=False, slots=True)
class Entry:
    """A message in one queue. `position` is its place there for ever, so that requeueing restores the order."""

    position: int
    content: Content
    expires_at: float | None
    redelivered: bool = False

    def size(self) -> int:
        return len(self.content.body) + len(self.content.properties) + _OVERHEAD


class Receiver(Protocol):
    """A consumer as its queue sees it."""

    def has_room(self) -> bool: ...

    def take(self, entry: Entry) -> None: ...

    def queue_gone(self) -> None: ...


class Clock:
    """The time as the broker was last told, in seconds, which queues want to be looked at when, and bytes held."""

    def __init__(self) -> None:
        self.now = 0.0
        self.bytes_held = 0
        self._order = itertools.count()
        self._due: list[tuple[float, int, Queue]] = []

    def wake(self, at: float, queue: Queue) -> None:
        heapq.heappush(self._due, (at, next(self._order), queue))

    def next(self) -> float | None:
        return self._due[0][0] if self._due else None

    def advance(self, now: float) -> Iterator[Queue]:
        """Move on to `now`; the queues whose time has come."""
        self.now = max(self.now, now)
        while self._due and self._due[0][0] <= self.now:
            yield heapq.heappop(self._due)[2]


class Queue:
    """A queue. Every message is in exactly one of `ready` and `unacked` until it is settled, dropped or expired.

    `owner` is the session of an exclusive queue.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = dict(arguments or {})
        self.consumers: dict[Receiver, None] = {}
        self.exclusive_consumer = False
        self.unacked: dict[int, Entry] = {}
        self.deleted = False
        self._clock = clock
        self._ready: list[tuple[int, Entry]] = []
        self._turn: deque[Receiver] = deque()
        self._full: dict[Receiver, None] = {}
        self._positions = itertools.count()
        self._ttl = _seconds(self.arguments.get("x-message-ttl"))
        self._unused_for = _seconds(self.arguments.get("x-expires"))
        self._used_at = clock.now
        self._woken_at: float | None = None
        self.touch()

    # --- messages

    def ready_count(self) -> int:
        return len(self._ready)

    def ready(self) -> list[Entry]:
        """Ready messages in the order in which they will be delivered."""
        return [entry for _, entry in sorted(self._ready)]

    def push(self, content: Content) -> None:
        """Take a new message in and hand it on. With a lifetime of 0 it is delivered at once or not at all."""
        lifetimes = [lifetime for lifetime in (self._ttl, content.expiration) if lifetime is not None]
        expires_at = self._clock.now + min(lifetimes) if lifetimes else None
        entry = Entry(next(self._positions), content, expires_at)
        self._clock.bytes_held += entry.size()
        heapq.heappush(self._ready, (entry.position, entry))
        self.deliver()
        self.drop_expired()

    def fetch(self) -> Entry:
        """Take the first ready message out; the caller either holds it (`hold`) or has settled it by this."""
        entry = self._pop()
        self._watch()  # the next one's time may have come while it stood behind this one
        return entry

    def _pop(self) -> Entry:
        entry = heapq.heappop(self._ready)[1]
        self._clock.bytes_held -= entry.size()
        return entry

    def hold(self, entry: Entry) -> None:
        """The entry was delivered and waits for its acknowledgement."""
        self.unacked[entry.position] = entry
        self._clock.bytes_held += entry.size()

    def settle(self, entry: Entry) -> None:
        """The entry was acknowledged, or rejected for good."""
        if self.unacked.pop(entry.position, None) is not None:
            self._clock.bytes_held -= entry.size()

    def requeue(self, entry: Entry) -> None:
        """Put a held entry back where it was. `deliver` follows when all of a batch are back."""
        if self.unacked.pop(entry.position, None) is not None:
            entry.redelivered = True
            heapq.heappush(self._ready, (entry.position, entry))

    def purge(self) -> int:
        """Drop all ready messages; how many there were."""
        count = len(self._ready)
        while self._ready:
            self._pop()
        return count

    def deliver(self) -> None:
        """Hand ready messages to consumers with room, in turn, until either runs out."""
        for waiting in [waiting for waiting in self._full if waiting.has_room()]:
            del self._full[waiting]
            self._turn.append(waiting)
        while self._ready and (receiver := self._next_receiver()) is not None:
            receiver.take(self._pop())
        self._watch()

    def _next_receiver(self) -> Receiver | None:
        """Whose turn it is. As in RabbitMQ, who is found full loses his turn and lines up last when he has room."""
        while self._turn:
            receiver = self._turn.popleft()
            if receiver.has_room():
                self._turn.append(receiver)
                return receiver
            self._full[receiver] = None
        return None

    # --- consumers and life

    def add_consumer(self, receiver: Receiver) -> None:
        self.consumers[receiver] = None
        self._turn.append(receiver)
        self.deliver()

    def remove_consumer(self, receiver: Receiver) -> None:
        del self.consumers[receiver]
        if self._full.pop(receiver, self) is self:
            self._turn.remove(receiver)
        self.exclusive_consumer = False
        self.touch()

    def abandoned(self) -> bool:
        """Whether its last consumer went and that was to be its end."""
        return self.auto_delete and not self.consumers

    def mark_deleted(self) -> None:
        """The queue is gone with all its messages; consumers are told."""
        self.deleted = True
        self.purge()
        for entry in list(self.unacked.values()):
            self.settle(entry)
        for receiver in list(self.consumers):
            receiver.queue_gone()
        self.consumers.clear()
        self._turn.clear()
        self._full.clear()

    # --- time

    def touch(self) -> None:
        """The queue was used (declared, got from, left by a consumer): its time to expire starts anew."""
        self._used_at = self._clock.now
        self._watch()

    def expired(self) -> bool:
        """Whether `x-expires` has passed without use."""
        return (
            self._unused_for is not None and not self.consumers and self._clock.now >= self._used_at + self._unused_for
        )

    def drop_expired(self) -> None:
        """Drop what is too old at the head, as RabbitMQ does: a younger head keeps older messages alive."""
        while self._ready and self._is_old(self._ready[0][1]):
            self._pop()
        self._watch()

    def _is_old(self, entry: Entry) -> bool:
        return entry.expires_at is not None and entry.expires_at <= self._clock.now

    def woken(self) -> None:
        """The clock reached a time this queue asked for."""
        self._woken_at = None
        self.drop_expired()

    def _watch(self) -> None:
        at = self._deadline()
        if at is not None and not self.deleted and (self._woken_at is None or at < self._woken_at):
            self._woken_at = at
            self._clock.wake(at, self)

    def _deadline(self) -> float | None:
        head = self._ready[0][1].expires_at if self._ready else None
        if self._unused_for is None or self.consumers:
            return head
        unused = self._used_at + self._unused_for
        return unused if head is None else min(head, unused)


def _seconds(milliseconds: object) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int) else None
