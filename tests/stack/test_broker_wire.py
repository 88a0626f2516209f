"""Frames, methods and properties, against pamqp's and py-amqp's own encoders."""

from __future__ import annotations

import contextlib
import datetime

import amqp.serialization
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, header
from pamqp import frame as pamqp_frame

from bisect_celery.stack.brokers.embedded import wire
from bisect_celery.stack.brokers.embedded.faults import ChannelFault, ConnectionFault, Fault
from bisect_celery.stack.brokers.embedded.handshake import credentials

METHODS = [
    commands.Queue.DeclareOk("q", 3, 1),
    commands.Basic.Deliver("tag", 2**40, True, "x", "a.b"),
    commands.Basic.GetOk(1, False, "", "q", 7),
    commands.Basic.Ack(5, True),
    commands.Basic.Consume(0, "q", "t", False, True, False, True, {"x-priority": 3}),
    commands.Connection.Tune(2047, 131072, 60),
    commands.Connection.Start(0, 9, {"product": "x", "capabilities": {"basic.nack": True}}, "PLAIN", "en_US"),
    commands.Exchange.Declare(0, "x", "topic", False, True, True, False, True, {"a": 1}),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_methods_are_encoded_as_pamqp_does(method: object) -> None:
    values = [value for _, value in method]  # type: ignore[attr-defined]
    assert wire.method_frame(3, type(method), *values) == pamqp_frame.marshal(method, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_methods_are_read_back(method: object) -> None:
    data = pamqp_frame.marshal(method, 3)  # type: ignore[arg-type]
    assert dict(wire.parse_method(data[7:-1])) == dict(method)  # type: ignore[call-overload]


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cutting(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(wire.frame(wire.BODY, number, payload) for number, payload in enumerate(payloads))
    reader, found, at, turn = wire.FrameReader(4096), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        reader.feed(stream[at : at + step])
        found += list(reader.frames())
        at, turn = at + step, turn + 1
    assert found == [wire.Frame(wire.BODY, number, payload) for number, payload in enumerate(payloads)]


def test_a_frame_larger_than_agreed_is_refused_before_it_is_read() -> None:
    reader = wire.FrameReader(4096)
    reader.feed(wire.frame(wire.BODY, 1, b"x" * (4096 - wire.FRAME_OVERHEAD)))
    assert len(list(reader.frames())) == 1
    reader.feed(wire.frame(wire.BODY, 1, b"x" * 4096)[:7])
    with pytest.raises(ConnectionFault, match="FRAME_ERROR"):
        list(reader.frames())


def test_a_frame_without_its_end_is_refused() -> None:
    reader = wire.FrameReader(4096)
    reader.feed(wire.frame(wire.BODY, 1, b"abc")[:-1] + b"\x00")
    with pytest.raises(ConnectionFault, match="frame end"):
        list(reader.frames())


@given(st.binary(max_size=3000), st.sampled_from([64, 1000, 4096]))
def test_content_is_cut_and_joined(body: bytes, limit: int) -> None:
    reader = wire.FrameReader(limit)
    reader.feed(wire.content_frames(1, b"\0\0", body, limit))
    first, *rest = reader.frames()
    assert wire.parse_content_header(first.payload) == wire.ContentHeader(len(body), b"\0\0")
    assert b"".join(frame.payload for frame in rest) == body


TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30)


@given(st.fixed_dictionaries({}, optional={
    "content_type": TEXT, "content_encoding": TEXT, "headers": st.dictionaries(TEXT, st.integers(0, 9), min_size=1),
    "delivery_mode": st.sampled_from([1, 2]), "priority": st.integers(1, 9), "correlation_id": TEXT, "reply_to": TEXT,
    "expiration": st.integers(0, 10**9).map(str), "message_id": TEXT, "message_type": TEXT, "user_id": TEXT,
    "app_id": TEXT, "timestamp": st.just(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
}))  # fmt: skip
def test_properties_are_found_among_all_others(properties: dict[str, object]) -> None:
    raw = commands.Basic.Properties(**properties).marshal()  # type: ignore[arg-type]
    expiration = properties.get("expiration")
    lifetime = None if expiration is None else int(str(expiration)) / 1000
    if {"CC", "BCC"} & set(properties.get("headers", {})):  # type: ignore[call-overload]
        with pytest.raises(ConnectionFault):
            wire.read_properties(raw)
    else:
        assert wire.read_properties(raw) == wire.Properties(lifetime, properties.get("user_id"))  # type: ignore[arg-type]


@given(st.binary(max_size=40))
def test_any_garbage_is_a_fault_or_fine(raw: bytes) -> None:
    for read in (wire.read_properties, wire.parse_content_header, wire.parse_method):
        with contextlib.suppress(Fault):
            read(raw)


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_copies_are_refused(name: str) -> None:
    raw = commands.Basic.Properties(headers={name: ["other"], "x": 1}).marshal()
    with pytest.raises(ConnectionFault, match="CC and BCC"):
        wire.read_properties(raw)


def test_a_text_that_only_looks_like_a_copy_is_fine() -> None:
    raw = commands.Basic.Properties(headers={"x": "\x02CC"}).marshal()
    assert wire.read_properties(raw) == wire.Properties()


def test_a_bad_lifetime_ends_the_channel_only() -> None:
    with pytest.raises(ChannelFault, match="invalid expiration '-5'"):
        wire.read_properties(commands.Basic.Properties(expiration="-5").marshal())


def test_header_of_pamqp_is_understood() -> None:
    properties = commands.Basic.Properties(content_type="a/b")
    raw = header.ContentHeader(body_size=7, properties=properties).marshal()
    assert wire.parse_content_header(raw) == wire.ContentHeader(7, properties.marshal())


def test_credentials() -> None:
    table = amqp.serialization.dumps("F", ({"LOGIN": "me", "PASSWORD": "s\u00e9cret"},))[4:]
    assert credentials("AMQPLAIN", table) == ("me", "s\u00e9cret")
    assert credentials("PLAIN", "\0me\0s\u00e9cret") == ("me", "s\u00e9cret")
    for mechanism, response in (("PLAIN", "me"), ("AMQPLAIN", "\x05nonsense"), ("EXTERNAL", "")):
        with pytest.raises(ConnectionFault):
            credentials(mechanism, response)
