"""What both brokers must do, said once and asked of each with a real client (py-amqp)."""

from __future__ import annotations

import datetime
import socket
from decimal import Decimal

import amqp
import pytest
from amqp.exceptions import (
    AccessRefused,
    ChannelError,
    ConnectionError,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)
from broker_support import Namespace, eventually

QUIET = 0.3  # seconds in which a delivery that must not come would have come


def publish(channel: amqp.Channel, queue: str, *bodies: str, **properties: object) -> None:
    for body in bodies:
        channel.basic_publish(amqp.Message(body, **properties), exchange="", routing_key=queue)


class Inbox:
    """What a consumer was given, in order."""

    def __init__(self, channel: amqp.Channel, queue: str, **options: object) -> None:
        self.channel = channel
        self.messages: list[amqp.Message] = []
        self.tag = channel.basic_consume(queue, callback=self.messages.append, **options)
        self.tag = getattr(self.tag, "consumer_tag", self.tag)

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.messages]

    def tags(self) -> list[int]:
        return [message.delivery_info["delivery_tag"] for message in self.messages]

    def wait_for(self, count: int) -> list[str]:
        """Until `count` messages came, and then a little, in case one more does."""

        def drained() -> bool:
            drain(self.channel.connection, 0.02)
            return len(self.messages) >= count

        eventually(drained)
        drain(self.channel.connection, QUIET)
        return self.bodies


def drain(connection: amqp.Connection, seconds: float) -> None:
    """Handle what comes, until nothing came for that long."""
    try:
        while True:
            connection.drain_events(timeout=seconds)
    except TimeoutError:
        pass


# --- connecting


@pytest.mark.parametrize("method", ["PLAIN", "AMQPLAIN"])
def test_logs_in(namespace: Namespace, method: str) -> None:
    assert namespace.connect(login_method=method).connected


def test_wrong_password(namespace: Namespace) -> None:
    with pytest.raises(AccessRefused, match="ACCESS_REFUSED"):
        namespace.connect(password="wrong")


def test_unknown_vhost(namespace: Namespace) -> None:
    with pytest.raises(NotAllowed, match="vhost nowhere not found"):
        namespace.connect(virtual_host="nowhere")


def test_vhost_of_somebody_else(namespace: Namespace) -> None:
    with pytest.raises(NotAllowed, match="refused for user"):
        namespace.connect(virtual_host="/")


def raw_greeting(namespace: Namespace, greeting: bytes) -> bytes:
    address = (namespace.node.amqp_host, namespace.node.amqp_port)
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(greeting)
        return client.recv(8)


def test_greeting_of_old_clients(namespace: Namespace) -> None:
    assert raw_greeting(namespace, b"AMQP\x01\x01\x00\x09")[:3] == b"\x01\x00\x00"  # a method on channel 0


def test_foreign_greeting_is_answered_with_ours(namespace: Namespace) -> None:
    assert raw_greeting(namespace, b"GET / HT") == b"AMQP\x00\x00\x09\x01"


def test_deleting_the_namespace_closes_its_connections(namespace: Namespace) -> None:
    connection = namespace.connect()
    namespace.management.delete_namespace(namespace.vhost)
    with pytest.raises((ConnectionError, ConnectionResetError, BrokenPipeError)):  # or whatever the race leaves
        drain(connection, 10)


def test_a_silent_client_is_dropped_and_loses_its_messages(namespace: Namespace) -> None:
    silent = namespace.connect(heartbeat=1).channel()
    silent.queue_declare("q", auto_delete=False)
    publish(silent, "q", "a")
    assert Inbox(silent, "q").wait_for(1) == ["a"]
    namespace.settles_at("q", ready=0, unacked=1)
    namespace.settles_at("q", ready=1, unacked=0)  # without a byte from us


def test_a_listening_client_hears_heartbeats(namespace: Namespace) -> None:
    connection = namespace.connect(heartbeat=2)
    heard = connection.bytes_recv

    def received() -> bool:
        drain(connection, 0.1)
        connection.send_heartbeat()
        return connection.bytes_recv > heard

    eventually(received)


# --- queues and exchanges


def test_server_names_queues(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    name = channel.queue_declare(exclusive=True).queue
    assert name.startswith("amq.gen-")
    assert channel.queue_declare(name, passive=True).message_count == 0


def test_declaring_the_same_again_is_fine(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    for _ in range(2):
        channel.queue_declare("q", durable=True, auto_delete=False, arguments={"x-expires": 60000})
    assert namespace.count("q").arguments == (("x-expires", "60000"),)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"durable": False}, "durable"),
        ({"auto_delete": True}, "auto_delete"),
        ({"arguments": {"x-expires": 60001}}, "x-expires"),
        ({"arguments": {}}, "x-expires"),
        ({"arguments": {"x-expires": 60000, "x-message-ttl": 5}}, "x-message-ttl"),
    ],
)
def test_declaring_it_differently_is_refused(namespace: Namespace, options: dict[str, object], named: str) -> None:
    channel = namespace.connect().channel()
    same = {"durable": True, "auto_delete": False, "arguments": {"x-expires": 60000}}
    channel.queue_declare("q", **same)
    with pytest.raises(PreconditionFailed, match=f"inequivalent arg '{named}' for queue 'q' in vhost"):
        channel.queue_declare("q", **{**same, **options})


@pytest.mark.parametrize("arguments", [{"x-expires": 0}, {"x-expires": "soon"}, {"x-message-ttl": -1}])
def test_bad_timers_are_refused(namespace: Namespace, arguments: dict[str, object]) -> None:
    with pytest.raises(PreconditionFailed, match="invalid arg"):
        namespace.connect().channel().queue_declare("q", arguments=arguments)


def test_equal_values_of_other_defaults(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", arguments={"x-queue-type": "classic"})
    channel.queue_declare("q", arguments={})


def test_passive_needs_an_existing_queue(namespace: Namespace) -> None:
    with pytest.raises(NotFound, match="no queue 'q' in vhost"):
        namespace.connect().channel().queue_declare("q", passive=True)


def test_reserved_names(namespace: Namespace) -> None:
    connection = namespace.connect()
    with pytest.raises(AccessRefused, match="reserved prefix"):
        connection.channel().queue_declare("amq.mine")
    with pytest.raises(AccessRefused, match="reserved prefix"):
        connection.channel().exchange_declare("amq.mine", "direct")


@pytest.mark.parametrize("attempt", ["declare", "passive", "consume", "get", "purge", "delete", "bind"])
def test_exclusive_queues_are_locked_for_others(namespace: Namespace, attempt: str) -> None:
    owner, other = namespace.connect(), namespace.connect().channel()
    owner.channel().queue_declare("q", exclusive=True)
    attempts = {
        "declare": lambda: other.queue_declare("q", exclusive=True),
        "passive": lambda: other.queue_declare("q", passive=True),
        "consume": lambda: other.basic_consume("q"),
        "get": lambda: other.basic_get("q"),
        "purge": lambda: other.queue_purge("q"),
        "delete": lambda: other.queue_delete("q"),
        "bind": lambda: other.queue_bind("q", "amq.topic", "x"),
    }
    with pytest.raises(ResourceLocked, match="cannot obtain exclusive access to locked queue 'q'"):
        attempts[attempt]()


def test_exclusive_queues_go_with_their_connection(namespace: Namespace) -> None:
    connection = namespace.connect()
    connection.channel().queue_declare("q", exclusive=True)
    assert namespace.count("q").exclusive
    connection.close()
    eventually(lambda: namespace.counts("q") is None)


def test_auto_delete_queues_go_with_their_last_consumer(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=True)
    publish(channel, "q", "kept while nobody ever consumed")
    first, second = Inbox(channel, "q"), Inbox(channel, "q")
    channel.basic_cancel(first.tag)
    assert namespace.counts("q") is not None
    channel.basic_cancel(second.tag)
    eventually(lambda: namespace.counts("q") is None)


def test_a_consumer_is_told_when_its_queue_goes(namespace: Namespace) -> None:
    cancelled: list[str] = []
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_consume("q", "mine", on_cancel=cancelled.append)
    namespace.connect().channel().queue_delete("q")
    drain(channel.connection, QUIET)
    assert cancelled == ["mine"]


def test_queues_expire_when_unused(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("used", auto_delete=False, arguments={"x-expires": 700})
    channel.queue_declare("unused", auto_delete=False, arguments={"x-expires": 700})
    consumer = Inbox(channel, "used")
    publish(channel, "unused", "goes as well")
    eventually(lambda: namespace.counts("unused") is None)
    assert namespace.counts("used") == (0, 0)
    channel.basic_cancel(consumer.tag)
    eventually(lambda: namespace.counts("used") is None)


def test_deleting_queues(namespace: Namespace) -> None:
    connection = namespace.connect()
    channel = connection.channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "a", "b")
    namespace.settles_at("q", 2, 0)
    with pytest.raises(PreconditionFailed, match="not empty"):
        connection.channel().queue_delete("q", if_empty=True)
    Inbox(channel, "q").wait_for(2)
    with pytest.raises(PreconditionFailed, match="in use"):
        connection.channel().queue_delete("q", if_unused=True)
    deleter = namespace.connect().channel()
    assert deleter.queue_delete("q") == 0  # none ready
    assert deleter.queue_delete("q") == 0  # none there


def test_purging_spares_what_was_delivered(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "a", "b", "c")
    namespace.settles_at("q", 3, 0)
    channel.basic_get("q")
    assert channel.queue_purge("q") == 2
    assert namespace.counts("q") == (0, 1)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"type": "topic"}, "type"), ({"durable": True}, "durable"), ({"auto_delete": True}, "auto_delete")],
)
def test_declaring_an_exchange_differently(namespace: Namespace, options: dict[str, object], named: str) -> None:
    channel = namespace.connect().channel()
    same: dict[str, object] = {"type": "direct", "durable": False, "auto_delete": False}
    channel.exchange_declare("x", **same)
    channel.exchange_declare("x", **same)
    with pytest.raises(PreconditionFailed, match=f"inequivalent arg '{named}' for exchange 'x' in vhost"):
        channel.exchange_declare("x", **{**same, **options})


def test_exchanges_that_are_not_there(namespace: Namespace) -> None:
    connection = namespace.connect()
    with pytest.raises(NotFound, match="no exchange 'x' in vhost"):
        connection.channel().exchange_declare("x", "direct", passive=True)
    connection.channel().exchange_delete("x")
    channel = connection.channel()
    channel.queue_declare("q")
    with pytest.raises(NotFound, match="no exchange 'x' in vhost"):
        channel.queue_bind("q", "x", "key")
    channel = connection.channel()
    channel.basic_publish(amqp.Message("a"), exchange="x", routing_key="k")
    with pytest.raises(NotFound, match="no exchange 'x' in vhost"):
        channel.connection.drain_events(timeout=10)


def test_the_default_exchange_is_off_limits(namespace: Namespace) -> None:
    connection = namespace.connect()
    channel = connection.channel()
    channel.queue_declare("q")
    with pytest.raises(AccessRefused, match="default exchange"):
        channel.queue_bind("q", "", "key")
    with pytest.raises(AccessRefused, match="default exchange"):
        connection.channel().exchange_delete("")


def test_unknown_exchange_type(namespace: Namespace) -> None:
    with pytest.raises(ConnectionError, match="unknown exchange type 'nonsense'"):
        namespace.connect().channel().exchange_declare("x", "nonsense")


def test_deleting_a_used_exchange(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.exchange_declare("x", "direct", auto_delete=False)
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "k")
    with pytest.raises(PreconditionFailed, match="in use"):
        channel.exchange_delete("x", if_unused=True)


def test_auto_delete_exchanges_go_with_their_last_binding(namespace: Namespace) -> None:
    connection = namespace.connect()
    channel = connection.channel()
    channel.exchange_declare("x", "direct", auto_delete=True)
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "k")
    channel.exchange_declare("x", "direct", passive=True)
    channel.queue_delete("q")
    with pytest.raises(NotFound):
        channel.exchange_declare("x", "direct", passive=True)


# --- routing


def routed(namespace: Namespace, type: str, bindings: dict[str, list[str]], *keys: str) -> dict[str, list[str]]:
    """Bodies that arrive in each queue when every key is published with itself as body."""
    channel = namespace.connect().channel()
    channel.exchange_declare("x", type, auto_delete=False)
    for queue, patterns in bindings.items():
        channel.queue_declare(queue, auto_delete=False)
        for pattern in patterns:
            channel.queue_bind(queue, "x", pattern)
    channel.confirm_select()
    for key in keys:
        channel.basic_publish_confirm(amqp.Message(key), exchange="x", routing_key=key)
    return {queue: fetched(channel, queue) for queue in bindings}


def fetched(channel: amqp.Channel, queue: str) -> list[str]:
    bodies = []
    while (message := channel.basic_get(queue, no_ack=True)) is not None:
        bodies.append(message.body)
    return bodies


def test_direct(namespace: Namespace) -> None:
    found = routed(namespace, "direct", {"one": ["a"], "both": ["a", "b"], "none": []}, "a", "b", "c")
    assert found == {"one": ["a"], "both": ["a", "b"], "none": []}


def test_fanout(namespace: Namespace) -> None:
    assert routed(namespace, "fanout", {"one": ["x"], "two": [""]}, "a", "b") == {"one": ["a", "b"], "two": ["a", "b"]}


def test_topic(namespace: Namespace) -> None:
    keys = ["task", "task.sent", "task.sent.late", "worker.online", "x.task.sent"]
    bindings = {"all": ["#"], "star": ["task.*"], "hash": ["task.#"], "inner": ["#.sent.#", "worker.online"]}
    assert routed(namespace, "topic", bindings, *keys) == {
        "all": keys,
        "star": ["task.sent"],
        "hash": ["task", "task.sent", "task.sent.late"],
        "inner": ["task.sent", "task.sent.late", "worker.online", "x.task.sent"],
    }


def test_bindings_between_exchanges(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    for exchange, type in (("outer", "topic"), ("inner", "fanout")):
        channel.exchange_declare(exchange, type, auto_delete=False)
    channel.queue_declare("q", auto_delete=False)
    channel.queue_bind("q", "inner")
    channel.queue_bind("q", "outer", "a.b")
    channel.exchange_bind("inner", "outer", "a.#")
    channel.exchange_bind("outer", "inner", "a.#")  # a circle must not matter
    channel.confirm_select()
    for key in ("a.b", "a.c", "b"):
        channel.basic_publish_confirm(amqp.Message(key), exchange="outer", routing_key=key)
    assert fetched(channel, "q") == ["a.b", "a.c"]
    channel.exchange_unbind("inner", "outer", "a.#")
    channel.basic_publish_confirm(amqp.Message("again"), exchange="outer", routing_key="a.c")
    assert fetched(channel, "q") == []


def test_unbinding(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.queue_bind("q", "amq.direct", "k")
    channel.queue_unbind("q", "amq.direct", "k")
    channel.queue_unbind("q", "amq.direct", "never bound")
    channel.confirm_select()
    channel.basic_publish_confirm(amqp.Message("a"), exchange="amq.direct", routing_key="k")
    assert fetched(channel, "q") == []


# --- publishing


def test_content_arrives_as_it_was_sent(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    headers = {
        "text": "größer", "number": 7, "big": 2**40, "negative": -3, "real": 0.1, "yes": True, "none": None,
        "list": [1, "two", [3.0]], "table": {"in": {"side": "x"}}, "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "exact": Decimal("1.5"),
    }  # fmt: skip
    properties = {
        "content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 3,
        "correlation_id": "c", "reply_to": "r", "message_id": "m", "type": "t", "app_id": "a",
    }  # fmt: skip
    body = bytes(range(256)) * 10
    channel.basic_publish(amqp.Message(body, application_headers=headers, **properties), "", "q")
    namespace.settles_at("q", 1, 0)
    message = channel.basic_get("q", no_ack=True)
    assert bytes(message.body) == body
    assert message.headers == headers
    assert {name: message.properties[name] for name in properties} == properties


@pytest.mark.parametrize("size", [0, 1, 131072 - 8, 131072 - 7, 3_000_000])
def test_bodies_of_any_size(namespace: Namespace, size: int) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    body = bytes(number % 251 for number in range(size))
    channel.basic_publish(amqp.Message(body), "", "q")
    inbox = Inbox(channel, "q", no_ack=True)
    inbox.wait_for(1)
    assert bytes(inbox.messages[0].body or b"") == body


def test_small_frames(namespace: Namespace) -> None:
    channel = namespace.connect(frame_max=4096).channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "x" * 10000)
    assert Inbox(channel, "q").wait_for(1) == ["x" * 10000]


def test_mandatory_messages_come_back(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    returned: list[tuple[int, str]] = []

    def on_return(error: ChannelError, exchange: str, routing_key: str, message: amqp.Message) -> None:
        returned.append((error.reply_code, message.body))

    channel.events["basic_return"].add(on_return)
    channel.confirm_select()
    channel.basic_publish_confirm(amqp.Message("lost"), exchange="", routing_key="nowhere", mandatory=True)
    assert returned == [(312, "lost")]


def test_confirms_come_in_order(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    confirmed: list[tuple[int, bool]] = []
    channel.events["basic_ack"].add(lambda tag, multiple: confirmed.append((tag, multiple)))
    channel.confirm_select()
    channel.queue_declare("q")
    publish(channel, "q", *"abcde")

    def all_confirmed() -> bool:
        drain(channel.connection, 0.05)
        return max((tag for tag, _ in confirmed), default=0) == 5

    eventually(all_confirmed)
    assert [tag for tag, _ in confirmed] == sorted(tag for tag, _ in confirmed)


def test_a_false_sender_is_refused(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q")
    channel.basic_publish(amqp.Message("a", user_id="somebody"), "", "q")
    with pytest.raises(PreconditionFailed, match="user_id property set to 'somebody'"):
        channel.connection.drain_events(timeout=10)


# --- lifetimes


def test_messages_expire(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False, arguments={"x-message-ttl": 300})
    publish(channel, "q", "a", "b")
    namespace.settles_at("q", 2, 0)
    namespace.settles_at("q", 0, 0)
    assert channel.basic_get("q") is None


def test_a_message_may_set_its_own_lifetime(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "short", expiration="200")
    publish(channel, "q", "long")
    publish(channel, "q", "short behind long", expiration="200")
    namespace.settles_at("q", 2, 0)  # only the head of a queue expires
    assert channel.basic_get("q", no_ack=True).body == "long"
    namespace.settles_at("q", 0, 0)


def test_a_lifetime_of_nothing_means_now_or_never(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False, arguments={"x-message-ttl": 0})
    publish(channel, "q", "never")
    eventually(lambda: namespace.counts("q") == (0, 0))
    inbox = Inbox(channel, "q")
    publish(channel, "q", "now")
    assert inbox.wait_for(1) == ["now"]


def test_a_bad_lifetime(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q")
    publish(channel, "q", "a", expiration="soon")
    with pytest.raises(PreconditionFailed, match="invalid expiration 'soon'"):
        channel.connection.drain_events(timeout=10)


# --- consuming


def test_deliveries_name_where_they_come_from(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.queue_bind("q", "amq.topic", "a.#")
    inbox = Inbox(channel, "q", consumer_tag="me")
    channel.basic_publish(amqp.Message("x"), "amq.topic", "a.b")
    inbox.wait_for(1)
    info = inbox.messages[0].delivery_info
    assert (info["consumer_tag"], info["exchange"], info["routing_key"]) == ("me", "amq.topic", "a.b")
    assert not info["redelivered"]


def test_consumers_take_turns(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    inboxes = [Inbox(channel, "q") for _ in range(2)]
    publish(channel, "q", *"abcdef")
    namespace.settles_at("q", 0, 6)
    inboxes[0].wait_for(3)
    assert [inbox.bodies for inbox in inboxes] == [["a", "c", "e"], ["b", "d", "f"]]


def test_prefetch_of_a_consumer(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_qos(0, 2, False)
    first, second = Inbox(channel, "q"), Inbox(channel, "q")
    publish(channel, "q", *"abcdefgh")
    first.wait_for(2)
    assert [len(first.bodies), len(second.bodies)] == [2, 2]
    namespace.settles_at("q", 4, 4)
    channel.basic_ack(first.tags()[0])
    first.wait_for(3)
    assert [len(first.bodies), len(second.bodies)] == [3, 2]


def test_prefetch_counts_only_for_consumers_made_later(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    unlimited = Inbox(channel, "q")
    channel.basic_qos(0, 1, False)
    publish(channel, "q", *"abcd")
    assert unlimited.wait_for(4) == list("abcd")


def test_prefetch_of_a_channel_is_shared(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    for queue in ("q", "r"):
        channel.queue_declare(queue, auto_delete=False)
    channel.basic_qos(0, 3, True)
    inboxes = [Inbox(channel, queue) for queue in ("q", "q", "r")]
    publish(channel, "q", *"abcd")
    publish(channel, "r", *"efgh")
    inboxes[0].wait_for(1)
    assert sum(len(inbox.bodies) for inbox in inboxes) == 3
    drain_and_ack_one(channel, inboxes)
    assert sum(len(inbox.bodies) for inbox in inboxes) == 4
    channel.basic_qos(0, 5, True)  # takes effect at once
    drain(channel.connection, QUIET)
    assert sum(len(inbox.bodies) for inbox in inboxes) == 6
    channel.basic_qos(0, 0, True)
    drain(channel.connection, QUIET)
    assert sum(len(inbox.bodies) for inbox in inboxes) == 8


def drain_and_ack_one(channel: amqp.Channel, inboxes: list[Inbox]) -> None:
    channel.basic_ack(1)
    drain(channel.connection, QUIET)


def test_getting_does_not_count_for_prefetch(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "a", "b")
    namespace.settles_at("q", 2, 0)
    assert channel.basic_get("q").body == "a"
    channel.basic_qos(0, 1, False)
    assert Inbox(channel, "q").wait_for(1) == ["b"]


def test_no_ack_consumers_know_no_limit(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_qos(0, 1, False)
    inbox = Inbox(channel, "q", no_ack=True)
    publish(channel, "q", *"abc")
    assert inbox.wait_for(3) == ["a", "b", "c"]
    assert namespace.counts("q") == (0, 0)


def test_getting(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    assert channel.basic_get("q") is None
    publish(channel, "q", "a", "b")
    namespace.settles_at("q", 2, 0)
    message = channel.basic_get("q")
    assert (message.body, message.delivery_info["message_count"]) == ("a", 1)
    assert namespace.counts("q") == (1, 1)


def test_an_exclusive_consumer_is_alone(namespace: Namespace) -> None:
    connection = namespace.connect()
    first = connection.channel()
    first.queue_declare("q", auto_delete=False)
    alone = Inbox(first, "q", exclusive=True)
    with pytest.raises(AccessRefused, match="exclusive use"):
        connection.channel().basic_consume("q")
    first.basic_cancel(alone.tag)
    Inbox(first, "q")
    with pytest.raises(AccessRefused, match="exclusive use"):
        connection.channel().basic_consume("q", exclusive=True)


def test_cancelling_keeps_what_was_delivered(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    publish(channel, "q", "a")
    inbox = Inbox(channel, "q")
    inbox.wait_for(1)
    channel.basic_cancel(inbox.tag)
    publish(channel, "q", "b")
    namespace.settles_at("q", 1, 1)
    channel.basic_ack(inbox.tags()[0])
    namespace.settles_at("q", 1, 0)


def test_consuming_what_is_not_there(namespace: Namespace) -> None:
    with pytest.raises(NotFound, match="no queue 'q' in vhost"):
        namespace.connect().channel().basic_consume("q")


# --- acknowledging


def five_delivered(namespace: Namespace) -> Inbox:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_qos(0, 5, False)
    inbox = Inbox(channel, "q")
    publish(channel, "q", *"abcde")
    inbox.wait_for(5)
    return inbox


def test_acknowledging_one_and_many(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    inbox.channel.basic_ack(4)
    namespace.settles_at("q", 0, 4)
    inbox.channel.basic_ack(3, multiple=True)
    namespace.settles_at("q", 0, 1)
    inbox.channel.basic_ack(0, multiple=True)
    namespace.settles_at("q", 0, 0)
    inbox.channel.basic_ack(0, multiple=True)  # nothing left is nothing wrong
    assert inbox.channel.queue_declare("q", passive=True).message_count == 0


@pytest.mark.parametrize("tags", [(9,), (2, 2), (0,)])
def test_unknown_delivery_tags(namespace: Namespace, tags: tuple[int, ...]) -> None:
    inbox = five_delivered(namespace)
    for tag in tags:
        inbox.channel.basic_ack(tag)
    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {tags[-1]}"):
        inbox.channel.connection.drain_events(timeout=10)


def test_an_unknown_tag_ends_a_batch(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    inbox.channel.basic_ack(3)
    namespace.settles_at("q", 0, 4)
    inbox.channel.basic_ack(3, multiple=True)
    with pytest.raises(PreconditionFailed, match="unknown delivery tag 3"):
        inbox.channel.connection.drain_events(timeout=10)
    namespace.settles_at("q", 4, 0)


def test_requeued_messages_come_first_in_their_old_order(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    publish(inbox.channel, "q", "f")
    inbox.channel.basic_cancel(inbox.tag)
    inbox.channel.basic_reject(4, requeue=True)
    inbox.channel.basic_reject(2, requeue=True)
    inbox.channel.basic_reject(3, requeue=False)
    namespace.settles_at("q", 3, 2)
    other = Inbox(namespace.connect().channel(), "q")
    other.wait_for(3)
    found = [(message.body, message.delivery_info["redelivered"]) for message in other.messages]
    assert found == [("b", True), ("d", True), ("f", False)]


def test_nack(namespace: Namespace) -> None:
    from amqp import spec

    inbox = five_delivered(namespace)
    inbox.channel.basic_cancel(inbox.tag)
    inbox.channel.send_method(spec.Basic.Nack, "Lbb", (2, True, False))
    namespace.settles_at("q", 0, 3)
    inbox.channel.send_method(spec.Basic.Nack, "Lbb", (0, True, True))
    namespace.settles_at("q", 3, 0)
    assert fetched(namespace.connect().channel(), "q") == ["c", "d", "e"]


def test_a_rejected_message_comes_back_to_the_only_consumer(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_qos(0, 1, False)
    inbox = Inbox(channel, "q")
    publish(channel, "q", "a", "b")
    inbox.wait_for(1)
    channel.basic_reject(1, requeue=True)
    assert inbox.wait_for(2) == ["a", "a"]


def test_recover(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    inbox.channel.basic_cancel(inbox.tag)
    inbox.channel.basic_recover(requeue=True)
    namespace.settles_at("q", 5, 0)
    assert fetched(inbox.channel, "q") == list("abcde")


def test_closing_a_channel_gives_messages_back(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    connection = inbox.channel.connection
    inbox.channel.close()
    namespace.settles_at("q", 5, 0)
    assert fetched(connection.channel(), "q") == list("abcde")


def test_a_cut_connection_gives_messages_back_at_once(namespace: Namespace) -> None:
    inbox = five_delivered(namespace)
    waiting = Inbox(namespace.connect().channel(), "q")
    inbox.channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    assert waiting.wait_for(5) == list("abcde")
    assert all(message.delivery_info["redelivered"] for message in waiting.messages)


# --- faults


def test_a_fault_closes_its_channel_only(namespace: Namespace) -> None:
    connection = namespace.connect()
    broken, sound = connection.channel(), connection.channel()
    with pytest.raises(NotFound):
        broken.queue_declare("nowhere", passive=True)
    assert sound.queue_declare("q").queue == "q"
    assert connection.channel(broken.channel_id).queue_declare("q", passive=True).queue == "q"


def test_reusing_a_consumer_tag_closes_the_connection(namespace: Namespace) -> None:
    channel = namespace.connect().channel()
    channel.queue_declare("q")
    channel.basic_consume("q", "same")
    with pytest.raises(NotAllowed, match="attempt to reuse consumer tag 'same'"):
        channel.basic_consume("q", "same")


def test_prefetch_by_size_is_not_implemented(namespace: Namespace) -> None:
    with pytest.raises(amqp.exceptions.AMQPNotImplementedError, match="prefetch_size"):
        namespace.connect().channel().basic_qos(1000, 0, False)
