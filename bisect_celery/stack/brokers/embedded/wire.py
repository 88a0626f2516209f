"""Bytes to frames to methods and back (AMQP 0-9-1, chapter 4). `pamqp` knows the specification's tables.

Outgoing methods are encoded from those tables rather than by pamqp's own `marshal`, because that also
validates names, by a rule narrower than RabbitMQ's. Content properties are handed on as they came.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pamqp import base, commands, common, decode, encode

from bisect_celery.stack.brokers.embedded.faults import ConnectionFault, not_emulated, precondition_failed

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
BASIC_CLASS = 60
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
# What RabbitMQ takes for 0-9-1; the second is how py-amqp 1.x (Celery 3.1) writes it.
GREETINGS = (b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09", b"AMQP\x01\x01\x09\x01")
OUR_GREETING = GREETINGS[0]
GREETING_SIZE = 8

_FRAME_HEAD = struct.Struct(">BHI")
_FRAME_END = 0xCE
FRAME_OVERHEAD = _FRAME_HEAD.size + 1
_CONTENT_HEAD = struct.Struct(">HHQ")


class Frame(NamedTuple):
    """One frame as it came."""

    type: int
    channel: int
    payload: bytes


class FrameReader:
    """Cuts a byte stream into frames. `limit` is the largest frame that was agreed upon, with its overhead."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self, size: int) -> bytes | None:
        """`size` bytes outside of any frame (the greeting), once they are there."""
        if len(self._buffer) < size:
            return None
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def frames(self) -> Iterator[Frame]:
        """Every whole frame that has arrived. Raises ConnectionFault 501 on what is not a frame."""
        at = 0
        try:
            while len(self._buffer) - at >= _FRAME_HEAD.size:
                type, channel, size = _FRAME_HEAD.unpack_from(self._buffer, at)
                end = at + _FRAME_HEAD.size + size
                if size + FRAME_OVERHEAD > self.limit:
                    raise ConnectionFault(501, f"frame of {size} bytes is larger than the agreed {self.limit}")
                if len(self._buffer) <= end:
                    break
                if self._buffer[end] != _FRAME_END:
                    raise ConnectionFault(501, "frame does not end with the frame end marker")
                payload = bytes(self._buffer[at + _FRAME_HEAD.size : end])
                at = end + 1
                yield Frame(type, channel, payload)
        finally:
            del self._buffer[:at]


def parse_method(payload: bytes) -> base.Frame:
    """The method in a method frame. Raises ConnectionFault 502 or 503."""
    if len(payload) < 4:
        raise ConnectionFault(502, "method frame is truncated")
    index = int.from_bytes(payload[:4], "big")
    kind = commands.INDEX_MAPPING.get(index)
    if kind is None:
        raise ConnectionFault(503, f"unknown method {index >> 16}.{index & 0xFFFF}")
    method: base.Frame = kind()
    try:
        method.unmarshal(payload[4:])
    except (ValueError, struct.error, OverflowError) as error:
        raise ConnectionFault(502, f"{method.name} cannot be read: {error}") from error
    return method


def frame(type: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_FRAME_HEAD.pack(type, channel, len(payload)), payload, b"\xce"))


def method_frame(channel: int, kind: type[base.Frame], *values: common.FieldValue) -> bytes:
    """A method with its arguments in the order of the specification."""
    parts = [kind.index.to_bytes(4, "big")]
    bits, offset = 0, 0
    for name, value in zip(kind.attributes(), values, strict=True):
        type = kind.amqp_type(name)
        if type == "bit":
            bits, offset = bits | (bool(value) << offset), offset + 1
            continue
        if offset:
            parts.append(bytes((bits,)))
            bits, offset = 0, 0
        parts.append(encode.by_type(value, type))
    if offset:
        parts.append(bytes((bits,)))
    return frame(METHOD, channel, b"".join(parts))


def content_frames(channel: int, properties: bytes, body: bytes, limit: int) -> bytes:
    """Content header and body frames, the body cut so that no frame is larger than `limit`."""
    parts = [frame(HEADER, channel, _CONTENT_HEAD.pack(BASIC_CLASS, 0, len(body)) + properties)]
    step = limit - FRAME_OVERHEAD
    for at in range(0, len(body), step):
        parts.append(frame(BODY, channel, body[at : at + step]))
    return b"".join(parts)


class ContentHeader(NamedTuple):
    """A content header: how long the body is, and the properties as they came."""

    size: int
    properties: bytes


def parse_content_header(payload: bytes) -> ContentHeader:
    if len(payload) < _CONTENT_HEAD.size + 2:
        raise ConnectionFault(502, "content header is truncated")
    class_id, _, size = _CONTENT_HEAD.unpack_from(payload)
    if class_id != BASIC_CLASS:
        raise ConnectionFault(505, f"content header of class {class_id}")
    return ContentHeader(size, payload[_CONTENT_HEAD.size :])


class Properties(NamedTuple):
    """The properties a broker acts on; all others are the clients' own affair."""

    expiration: float | None = None
    user_id: str | None = None


# Order and types of basic's properties on the wire, the flags from bit 15 downwards.
_PROPERTY_TYPES = (
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "F"), ("delivery_mode", "o"), ("priority", "o"),
    ("correlation_id", "s"), ("reply_to", "s"), ("expiration", "s"), ("message_id", "s"), ("timestamp", "T"),
    ("type", "s"), ("user_id", "s"), ("app_id", "s"), ("cluster_id", "s"),
)  # fmt: skip


def read_properties(raw: bytes) -> Properties:
    """What the broker itself must know of the properties: lifetime in seconds and claimed user.

    Raises ConnectionFault 502 when they cannot be read, 540 for CC and BCC, ChannelFault 406 for a bad lifetime.
    """
    try:
        found = dict(_walk(raw))
    except (IndexError, struct.error, ValueError) as error:
        raise ConnectionFault(502, f"content properties cannot be read: {error}") from error
    headers = found.get("headers", b"")
    if b"\x02CC" in headers or b"\x03BCC" in headers:
        _refuse_copies(headers)
    user = found.get("user_id")
    return Properties(_lifetime(found.get("expiration")), None if user is None else user.decode("utf-8", "replace"))


def _walk(raw: bytes) -> Iterator[tuple[str, bytes]]:
    (flags,) = struct.unpack_from(">H", raw)
    if flags & 1:
        raise ValueError("more property flags than basic has")
    at = 2
    for bit, (name, type) in enumerate(_PROPERTY_TYPES):
        if not flags & (0x8000 >> bit):
            continue
        if type == "s":
            start, at = at + 1, at + 1 + raw[at]
        elif type == "F":
            start, at = at, at + 4 + int.from_bytes(raw[at : at + 4], "big")
        else:
            start, at = at, at + (1 if type == "o" else 8)
        if at > len(raw):
            raise ValueError("truncated")
        yield name, raw[start:at]


def _refuse_copies(headers: bytes) -> None:
    names = decode.field_table(headers)[1].keys()
    if "CC" in names or "BCC" in names:
        raise not_emulated("copies by the headers CC and BCC")


def _lifetime(expiration: bytes | None) -> float | None:
    if expiration is None:
        return None
    if not expiration.isdigit():
        shown = expiration.decode("utf-8", "replace")
        raise precondition_failed(f"invalid expiration '{shown}': no_integer")
    return int(expiration) / 1000
