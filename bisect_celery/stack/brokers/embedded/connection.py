"""One client's socket: greeting, handshake, frames to channels, events back, heartbeats, faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from pamqp import base, commands

from bisect_celery.stack.brokers.embedded import methods, wire
from bisect_celery.stack.brokers.embedded.broker import Broker
from bisect_celery.stack.brokers.embedded.channel import Channel
from bisect_celery.stack.brokers.embedded.faults import ChannelFault, ConnectionFault, Fault
from bisect_celery.stack.brokers.embedded.handshake import FRAME_MAX, Handshake
from bisect_celery.stack.brokers.embedded.queues import Content
from bisect_celery.stack.brokers.embedded.session import Session

LOG = logging.getLogger("bisect_celery.embedded")

HANDSHAKE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
WRITE_HIGH_WATER = 1 << 20
SHORTEST_STRING = 255  # what a reply text may be long


class Hub(Protocol):
    """What a connection needs of the server around it."""

    broker: Broker
    alarmed: bool

    def advance(self) -> None:
        """Tell the broker the time."""
        ...

    def flush(self) -> None:
        """Send what other connections are due by what happened on this one."""
        ...

    def opened(self, session: Session, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


@dataclass
class Port:
    """A channel number of this connection: its channel, and the content that is being received."""

    channel: Channel
    publish: commands.Basic.Publish | None = None
    header: wire.ContentHeader | None = None
    body: list[bytes] = field(default_factory=list)
    missing: int = 0
    closing: bool = False


class Connection(asyncio.Protocol):
    """asyncio's side of one client. The state machine behind it is told of the end at once, however it comes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._reader = wire.FrameReader(FRAME_MAX)
        self._handshake = Handshake(hub.broker)
        self._greeted = False
        self._closing = False
        self._blocked = False
        self._ports: dict[int, Port] = {}
        self._session: Session | None = None
        self._method: base.Frame | None = None
        self._received = self._sent = False
        self._silent = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._after("handshake", HANDSHAKE_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._received = True
        self._reader.feed(data)
        self._hub.advance()
        try:
            self._read()
        except Fault as fault:
            self.fail(fault)
        except Exception:
            LOG.exception("internal error")
            self.fail(ConnectionFault(541, "internal error of the embedded broker"))
        self._hub.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.advance()
        self._end_session()
        for timer in self._timers.values():
            timer.cancel()
        self._hub.closed(self)
        self._hub.flush()

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.pause()

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.resume()
            self._hub.flush()

    # --- reading

    def _read(self) -> None:
        if not self._greeted and not self._greet():
            return
        for frame in self._reader.frames():
            self._on_frame(frame)
            self.send_events()
            if self._transport.is_closing():
                return

    def _greet(self) -> bool:
        greeting = self._reader.take(wire.GREETING_SIZE)
        if greeting is None:
            return False
        if greeting not in wire.GREETINGS:
            self._write(wire.OUR_GREETING)
            self._transport.close()
            return False
        self._greeted = True
        self._write(self._handshake.start())
        return True

    def _on_frame(self, frame: wire.Frame) -> None:
        if frame.type == wire.HEARTBEAT:
            return
        if frame.channel == 0 or self._session is None:
            self._on_connection_frame(frame)
            return
        port = self._ports.get(frame.channel)
        if frame.type == wire.METHOD:
            self._on_channel_method(frame.channel, port, wire.parse_method(frame.payload))
        elif port is None:
            self._refuse_unopened()
        elif not port.closing:
            self._faulting(port, lambda: self._on_content(port, frame))

    def _on_connection_frame(self, frame: wire.Frame) -> None:
        if frame.type != wire.METHOD or frame.channel != 0:
            raise ConnectionFault(503, "expected a method of the connection on channel 0")
        method = self._method = wire.parse_method(frame.payload)
        if isinstance(method, commands.Connection.CloseOk):
            self._transport.close()
        elif isinstance(method, commands.Connection.Close):
            self._end_session()
            self._write(wire.method_frame(0, commands.Connection.CloseOk))
            self._transport.close()
        elif self._closing:
            pass  # whatever was on its way before the client read our close
        elif self._session is None:
            self._write(self._handshake.handle(method))
            self._adopt(self._handshake)
        else:
            raise ConnectionFault(503, f"{method.name} on an open connection")

    def _adopt(self, handshake: Handshake) -> None:
        """Take over what the handshake has agreed upon so far."""
        self._reader.limit = handshake.tuned.frame_max
        if handshake.session is None:
            return
        self._session = handshake.session
        self._hub.opened(handshake.session, self)
        self._timers.pop("handshake").cancel()
        if handshake.tuned.heartbeat:
            self._beat(handshake.tuned.heartbeat / 2)
            self._listen(handshake.tuned.heartbeat)

    def _on_channel_method(self, number: int, port: Port | None, method: base.Frame) -> None:
        self._method = method
        if isinstance(method, commands.Channel.Open):
            self._open_channel(number, port)
        elif port is None:
            self._refuse_unopened()
        elif isinstance(method, commands.Channel.Close):
            self._close_channel(number, port)
        elif isinstance(method, commands.Channel.CloseOk):
            if port.closing:
                del self._ports[number]
        elif isinstance(method, (commands.Basic.CancelOk, commands.Channel.FlowOk)):
            pass  # answers need no answer
        elif not port.closing:
            self._faulting(port, lambda: self._on_open_channel(port, method))

    def _refuse_unopened(self) -> None:
        if not self._closing:
            raise ConnectionFault(504, "expected 'channel.open'")

    def _open_channel(self, number: int, port: Port | None) -> None:
        if port is not None:
            raise ConnectionFault(504, "second 'channel.open' seen")
        if number > self._handshake.tuned.channel_max:
            raise ConnectionFault(530, f"channel {number} is above the agreed maximum")
        assert self._session is not None
        self._ports[number] = Port(self._session.open_channel(number))
        self._write(wire.method_frame(number, commands.Channel.OpenOk, ""))

    def _close_channel(self, number: int, port: Port) -> None:
        if not port.closing:
            port.channel.close()
            del self._ports[number]
        self._write(wire.method_frame(number, commands.Channel.CloseOk))

    def _on_open_channel(self, port: Port, method: base.Frame) -> None:
        if port.publish is not None:
            raise ConnectionFault(505, f"expected content of basic.publish, got {method.name}")
        if isinstance(method, commands.Basic.Publish):
            if method.immediate:
                raise ConnectionFault(540, "immediate=true")
            port.publish = method
        else:
            self._write(methods.handle(port.channel, method, self._handshake.tuned.frame_max))

    def _on_content(self, port: Port, frame: wire.Frame) -> None:
        if port.publish is None:
            raise ConnectionFault(505, "content without basic.publish")
        if frame.type == wire.HEADER and port.header is None:
            port.header = wire.parse_content_header(frame.payload)
            port.missing = port.header.size
        elif frame.type == wire.BODY and port.header is not None and len(frame.payload) <= port.missing:
            port.body.append(frame.payload)
            port.missing -= len(frame.payload)
        else:
            raise ConnectionFault(505, f"unexpected frame of type {frame.type} in content")
        if port.missing == 0:
            self._publish(port)

    def _publish(self, port: Port) -> None:
        publish, header, body = port.publish, port.header, b"".join(port.body)
        port.publish, port.header, port.body = None, None, []
        assert publish is not None
        assert header is not None
        assert self._session is not None
        self._method = publish
        properties = wire.read_properties(header.properties)
        if properties.user_id not in (None, self._session.user):
            raise ChannelFault(
                406,
                f"user_id property set to '{properties.user_id}' but authenticated user was '{self._session.user}'",
            )
        content = Content(
            publish.exchange or "", publish.routing_key or "", header.properties, body, properties.expiration
        )  # fmt: skip
        port.channel.publish(content, bool(publish.mandatory))
        if self._hub.alarmed:
            self._block()

    # --- faults and ends

    def _faulting(self, port: Port, action: Callable[[], None]) -> None:
        """Do what a channel was asked; a fault of its own closes it and nothing else."""
        try:
            action()
        except ChannelFault as fault:
            self.send_events()
            port.channel.close()
            port.closing = True
            LOG.warning("channel closed: %s", fault.text)
            self._write(self._close_frame(port.channel.number, commands.Channel.Close, fault))

    def _close_frame(self, channel: int, kind: type[base.Frame], fault: Fault) -> bytes:
        index = self._method.index if self._method is not None else 0
        text = fault.text.encode()[:SHORTEST_STRING].decode("utf-8", "ignore")
        return wire.method_frame(channel, kind, fault.code, text, index >> 16, index & 0xFFFF)

    def fail(self, fault: Fault) -> None:
        """Close the connection with a reason, once; the client has a moment to answer."""
        if self._closing or self._transport.is_closing():
            return
        LOG.warning("connection closed: %s", fault.text)
        self._end_session()
        self._closing = True
        self._ports.clear()
        self._write(self._close_frame(0, commands.Connection.Close, fault))
        self._after("close", CLOSE_SECONDS, self._transport.abort)

    def _end_session(self) -> None:
        if self._session is not None:
            self._hub.broker.close_session(self._session)

    def shut(self, fault: Fault) -> None:
        """Close at once because the server ends."""
        self.fail(fault)
        self._transport.close()

    # --- writing

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._sent = True
            self._transport.write(data)

    def send_events(self) -> None:
        """Send what the state machine has for this client, as far as the socket takes it."""
        session = self._session
        if session is None or self._closing:
            return
        frame_max = self._handshake.tuned.frame_max
        while events := session.take_events():
            self._write(b"".join([methods.event_bytes(channel, event, frame_max) for channel, event in events]))
            session.feed()

    # --- flow and heartbeats

    def _block(self) -> None:
        """Too much is held in memory: read no more from who publishes, as RabbitMQ's alarm does."""
        if not self._blocked:
            self._blocked = True
            self._transport.pause_reading()
            if self._handshake.told_when_blocked:
                self._write(wire.method_frame(0, commands.Connection.Blocked, "low on memory"))

    def unblock(self) -> None:
        if self._blocked and not self._transport.is_closing():
            self._blocked = False
            self._transport.resume_reading()
            if self._handshake.told_when_blocked:
                self._write(wire.method_frame(0, commands.Connection.Unblocked))

    def _after(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, action)

    def _beat(self, interval: float) -> None:
        if not self._sent:
            self._write(wire.HEARTBEAT_FRAME)
        self._sent = False
        self._after("beat", interval, lambda: self._beat(interval))

    def _listen(self, interval: float) -> None:
        """Two intervals without a byte are the end, as for RabbitMQ."""
        self._silent = 0 if self._received or self._blocked else self._silent + 1
        self._received = False
        if self._silent >= 2:
            LOG.warning("connection closed: missed heartbeats from client, timeout: %gs", interval)
            self._transport.abort()
        else:
            self._after("listen", interval, lambda: self._listen(interval))
