"""The embedded broker's state machine under random histories: no message is lost, doubled or stalled."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bisect_celery.stack.brokers.embedded.broker import Broker
from bisect_celery.stack.brokers.embedded.channel import Channel, Consumer
from bisect_celery.stack.brokers.embedded.events import Confirmed, Deliver
from bisect_celery.stack.brokers.embedded.queues import Content, Queue
from bisect_celery.stack.brokers.embedded.routing import topic_matches
from bisect_celery.stack.brokers.embedded.session import UNSENT_LIMIT, Session

QUEUES = ("plain", "other", "mortal")
CHANNELS = st.integers(0, 3)
LIFETIME = 5.0  # seconds in "mortal"


class BrokerHistory(RuleBasedStateMachine):
    """Clients come, publish, consume, acknowledge, vanish. `alive` is what an outside book-keeper expects."""

    @initialize()
    def begin(self) -> None:
        self.broker = Broker()
        self.broker.put_vhost("/")
        self.broker.put_user("u", "p")
        self.broker.permit("u", "/")
        self.vhost = self.broker.vhosts["/"]
        self.now = 0.0
        self.number = 0
        self.alive: dict[str, set[bytes]] = {name: set() for name in QUEUES}
        self.until: dict[bytes, float] = {}
        self.first_seen: dict[tuple[Session, str], list[int]] = {}
        self.sessions = [self._open(), self._open()]
        self.channels: dict[int, Channel] = {}
        self.confirmed: dict[Channel, list[int]] = {}
        self.limits: dict[Channel, int] = {}
        setup = self._open().open_channel(1)
        for name in QUEUES:
            setup.declare_queue(name, arguments={"x-message-ttl": int(LIFETIME * 1000)} if name == "mortal" else {})

    def _open(self) -> Session:
        return self.broker.open_session(self.broker.users["u"], "/")

    def _channel(self, number: int) -> Channel:
        """One of four channels on two connections, opened anew after it or its connection went."""
        channel = self.channels.get(number)
        if channel is None:
            channel = self.channels[number] = self.sessions[number % 2].open_channel(number + 1)
            if number < 2:
                channel.select_confirms()
                self.confirmed[channel] = []
        return channel

    # --- what clients do

    @rule(
        number=CHANNELS,
        queue=st.sampled_from(QUEUES),
        lifetimes=st.lists(st.sampled_from([None, None, 1.0, 3.0, 8.0]), min_size=1, max_size=5),
    )
    def publish(self, number: int, queue: str, lifetimes: list[float | None]) -> None:
        channel = self._channel(number)
        for lifetime in lifetimes:
            self.number += 1
            body = str(self.number).encode()
            self.alive[queue].add(body)
            limits = [limit for limit in (lifetime, LIFETIME if queue == "mortal" else None) if limit is not None]
            self.until[body] = self.now + min(limits, default=float("inf"))
            channel.publish(Content("", queue, b"\0\0", body, lifetime))
        self._read_all()

    @rule(number=CHANNELS, queue=st.sampled_from(QUEUES), no_ack=st.booleans())
    def consume(self, number: int, queue: str, no_ack: bool) -> None:
        self._channel(number).consume(queue, no_ack=no_ack)
        self._read_all()

    @rule(number=CHANNELS, count=st.integers(0, 3), shared=st.booleans())
    def qos(self, number: int, count: int, shared: bool) -> None:
        channel = self._channel(number)
        shared = shared and not any(each.consumer is None for each in channel.unacked.values())
        channel.qos(count, shared)
        self.limits[channel] = count if shared else 0
        self._read_all()

    @rule(number=CHANNELS, queue=st.sampled_from(QUEUES), no_ack=st.booleans())
    def get(self, number: int, queue: str, no_ack: bool) -> None:
        got = self._channel(number).get(queue, no_ack)
        if got is not None and no_ack:
            self.alive[queue].discard(got.content.body)
        self._forget_expired()

    @rule(
        number=CHANNELS, pick=st.integers(0, 50), multiple=st.booleans(), how=st.sampled_from(["ack", "drop", "back"])
    )
    def settle(self, number: int, pick: int, multiple: bool, how: str) -> None:
        channel = self._channel(number)
        if not channel.unacked:
            return
        tag = list(channel.unacked)[pick % len(channel.unacked)]
        settled = [(each.queue, each.entry) for at, each in channel.unacked.items()
                   if at == tag or (multiple and at <= tag)]  # fmt: skip
        if how == "ack":
            channel.ack(tag, multiple)
        else:
            channel.reject(tag, multiple, requeue=how == "back")
        if how != "back":
            for queue, entry in settled:
                self.alive[queue.name].discard(entry.content.body)
        self._read_all()

    @rule(number=CHANNELS)
    def recover(self, number: int) -> None:
        self._channel(number).recover(requeue=True)
        self._read_all()

    @rule(number=CHANNELS, pick=st.integers(0, 50))
    def cancel(self, number: int, pick: int) -> None:
        channel = self._channel(number)
        if channel.consumers:
            channel.cancel(list(channel.consumers)[pick % len(channel.consumers)])

    @rule(number=CHANNELS, queue=st.sampled_from(QUEUES))
    def purge(self, number: int, queue: str) -> None:
        self.alive[queue] -= {entry.content.body for entry in self.vhost.queues[queue].ready()}
        self._channel(number).purge_queue(queue)

    @rule(number=CHANNELS)
    def close_channel(self, number: int) -> None:
        if number in self.channels:
            self._forget(self.channels.pop(number)).close()
            self._read_all()

    def _forget(self, channel: Channel) -> Channel:
        self.confirmed.pop(channel, None)
        self.limits.pop(channel, None)
        return channel

    @rule(side=st.integers(0, 1))
    def vanish(self, side: int) -> None:
        self.broker.close_session(self.sessions[side])
        for number in [number for number in self.channels if number % 2 == side]:
            self._forget(self.channels.pop(number))
        self.sessions[side] = self._open()
        self._read_all()

    @rule(side=st.integers(0, 1), full=st.booleans())
    def socket(self, side: int, full: bool) -> None:
        if full:
            self.sessions[side].pause()
        else:
            self.sessions[side].resume()
        self._read_all()

    @rule(seconds=st.floats(0.1, 2 * LIFETIME))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.broker.advance(self.now)
        self._read_all()
        for queue in self.vhost.queues.values():
            assert not any(self._is_old(entry.content.body) for entry in queue.ready()[:1])

    def _is_old(self, body: bytes) -> bool:
        return self.until[body] <= self.now

    # --- what clients see

    def _read_all(self) -> None:
        """Every socket takes what there is; what no-ack consumers were given is theirs, and settled."""
        while touched := self.broker.take_touched():
            for session in touched:
                while events := session.take_events():
                    for number, event in events:
                        self._seen(session, number, event)
                    session.feed()
        self._forget_expired()

    def _seen(self, session: Session, number: int, event: object) -> None:
        if isinstance(event, Deliver):
            body, queue = event.content.body, event.content.routing_key
            assert body in self.alive[queue], "delivered what was settled, or twice to consumers that need not ack"
            if not event.redelivered:
                self.first_seen.setdefault((session, queue), []).append(int(body))
            channel = session.channels.get(number)
            if channel is None or event.delivery_tag not in channel.unacked:
                self._settle_unless_held(queue, body)
        elif isinstance(event, Confirmed):
            self.confirmed[session.channels[number]].append(event.delivery_tag)

    def _settle_unless_held(self, queue: str, body: bytes) -> None:
        found = self.vhost.queues[queue]
        if body not in {entry.content.body for entry in [*found.ready(), *found.unacked.values()]}:
            self.alive[queue].discard(body)

    def _forget_expired(self) -> None:
        """What is too old may be gone, or stand behind a younger head; nothing else may be gone."""
        for name, alive in self.alive.items():
            here = set(bodies(self.vhost.queues[name]))
            alive -= {body for body in alive - here if self._is_old(body)}

    # --- what must hold

    @invariant()
    def every_message_is_in_one_place(self) -> None:
        for name, expected in self.alive.items():
            assert Counter(bodies(self.vhost.queues[name])) == Counter(expected)

    @invariant()
    def unacknowledged_belong_to_one_channel(self) -> None:
        held: Counter[tuple[str, int]] = Counter()
        for session in self.broker.sessions:
            for channel in session.channels.values():
                held.update((each.queue.name, each.entry.position) for each in channel.unacked.values())
        assert held == Counter((queue.name, at) for queue in self.vhost.queues.values() for at in queue.unacked)

    @invariant()
    def order_is_kept(self) -> None:
        for queue in self.vhost.queues.values():
            positions = [entry.position for entry in queue.ready()]
            assert positions == sorted(positions)
        for seen in self.first_seen.values():
            assert seen == sorted(seen)

    @invariant()
    def counts_are_true(self) -> None:
        for channel in self._all_channels():
            for consumer in channel.consumers.values():
                assert consumer.outstanding == sum(
                    1 for each in channel.unacked.values() if each.consumer is consumer
                )  # fmt: skip
                if consumer.limit:
                    assert consumer.outstanding <= consumer.limit
            limit, held = self.limits.get(channel, 0), [each for each in channel.unacked.values() if each.consumer]
            assert channel.has_credit() == (limit == 0 or len(held) < limit)
        queues = self.vhost.queues.values()
        sizes = [entry.size() for queue in queues for entry in [*queue.ready(), *queue.unacked.values()]]
        assert self.broker.clock.bytes_held == sum(sizes)

    def _all_channels(self) -> list[Channel]:
        return [channel for session in self.broker.sessions for channel in session.channels.values()]

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        for queue in self.vhost.queues.values():
            if queue.ready_count():
                assert not any(room_left(consumer) for consumer in queue.consumers)

    @invariant()
    def confirms_are_complete(self) -> None:
        for tags in self.confirmed.values():
            assert tags == list(range(1, len(tags) + 1))

    @invariant()
    def deadlines_are_watched(self) -> None:
        due = self.broker.clock.next()
        for queue in self.vhost.queues.values():
            for entry in queue.ready()[:1]:
                assert entry.expires_at is None or (due is not None and due <= entry.expires_at)


def room_left(consumer: object) -> bool:
    assert isinstance(consumer, Consumer)
    return consumer.has_room()


def bodies(queue: Queue) -> list[bytes]:
    return [entry.content.body for entry in [*queue.ready(), *queue.unacked.values()]]


BrokerHistory.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestBrokerHistory = BrokerHistory.TestCase


def one_channel() -> tuple[Broker, Channel]:
    broker = Broker()
    broker.put_vhost("/")
    broker.put_user("u", "p")
    broker.permit("u", "/")
    return broker, broker.open_session(broker.users["u"], "/").open_channel(1)


def fill(channel: Channel, name: str, count: int) -> Queue:
    queue = channel.declare_queue(name)
    for number in range(count):
        channel.publish(Content("", name, b"\0\0", str(number).encode()))
    return queue


def test_a_reader_who_does_not_read_draws_little() -> None:
    limit = UNSENT_LIMIT
    _, channel = one_channel()
    session, queue = channel.session, fill(channel, "q", 10 * limit)
    channel.consume("q")
    assert len(queue.unacked) == limit
    session.pause()
    session.take_events()
    session.feed()
    assert len(queue.unacked) == limit
    session.resume()
    assert len(queue.unacked) == 2 * limit


def test_room_on_a_channel_is_room_for_its_other_queues() -> None:
    _, channel = one_channel()
    first, second = fill(channel, "first", 1), fill(channel, "second", 3)
    channel.qos(1, shared=True)
    channel.consume("first")
    channel.consume("second")
    assert (len(first.unacked), len(second.unacked)) == (1, 0)
    channel.ack(1)
    assert (len(first.unacked), len(second.unacked)) == (0, 1)
    channel.qos(3, shared=True)
    assert len(second.unacked) == 3


def test_unused_queues_expire_to_the_moment() -> None:
    broker, channel = one_channel()
    channel.declare_queue("q", arguments={"x-expires": 1000})
    broker.advance(0.9)
    channel.get("q", no_ack=True)  # a use
    broker.advance(1.8)
    assert "q" in channel.vhost.queues
    assert broker.clock.next() == 1.9
    broker.advance(1.9)
    assert "q" not in channel.vhost.queues


WORDS = st.lists(st.sampled_from(["a", "b", "", "ab"]), max_size=4).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=4).map(".".join)


@settings(max_examples=1000)
@given(PATTERNS, WORDS)
def test_topics_match_like_a_regular_expression(pattern: str, key: str) -> None:
    """An oracle that shares nothing with the implementation: every word ends with a dot, `#` is any such words."""
    parts = {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}
    written = "".join(parts.get(part, re.escape(part) + r"\.") for part in pattern.split(".")) if pattern else ""
    terminated = key + "." if key else ""
    assert topic_matches(pattern, key) == (re.fullmatch(written, terminated) is not None)
