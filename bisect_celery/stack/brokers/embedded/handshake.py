"""The opening of a connection: who it is, what sizes are agreed upon, which virtual host. No socket."""

from __future__ import annotations

from dataclasses import dataclass

from pamqp import base, commands, common, decode

from bisect_celery.stack.brokers.embedded.broker import Broker, User
from bisect_celery.stack.brokers.embedded.faults import ConnectionFault
from bisect_celery.stack.brokers.embedded.session import Session
from bisect_celery.stack.brokers.embedded.wire import method_frame

CHANNEL_MAX = 2047
FRAME_MAX = 131072
FRAME_MIN = 4096
HEARTBEAT_SECONDS = 60

# Clients choose their code by product and version: kombu uses RabbitMQ's per-consumer prefetch only for a
# "RabbitMQ" of at least 3.3. The version is the one our own tests compare this broker with.
WIRE_PRODUCT = "RabbitMQ"
WIRE_VERSION = "3.10.8"
_SERVER_PROPERTIES: common.FieldTable = {
    "product": WIRE_PRODUCT,
    "version": WIRE_VERSION,
    "platform": "bisect-celery emulated broker",
    "information": "Emulated by bisect-celery; not a RabbitMQ server",
    "capabilities": {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
    },
}


@dataclass(frozen=True)
class Tuned:
    """What was agreed upon. `heartbeat` is in seconds, 0 for none."""

    channel_max: int
    frame_max: int
    heartbeat: int


class Handshake:
    """Feed it the client's methods until `session` is there."""

    def __init__(self, broker: Broker) -> None:
        self.session: Session | None = None
        self.tuned = Tuned(CHANNEL_MAX, FRAME_MAX, 0)
        self.told_when_blocked = False
        self._broker = broker
        self._user: User | None = None
        self._cancel_notify = False
        self._expected: type[base.Frame] = commands.Connection.StartOk

    def start(self) -> bytes:
        """What follows the client's greeting."""
        return method_frame(0, commands.Connection.Start, 0, 9, _SERVER_PROPERTIES, "PLAIN AMQPLAIN", "en_US")

    def handle(self, method: base.Frame) -> bytes:
        """The answer to the client's next step. Raises ConnectionFault."""
        if not isinstance(method, self._expected):
            raise ConnectionFault(503, f"{method.name} where {self._expected.name} was expected")
        if isinstance(method, commands.Connection.StartOk):
            return self._authenticate(method)
        if isinstance(method, commands.Connection.TuneOk):
            return self._tune(method)
        assert isinstance(method, commands.Connection.Open)
        return self._open(method)

    def _authenticate(self, method: commands.Connection.StartOk) -> bytes:
        properties = method.client_properties or {}
        capabilities = properties.get("capabilities")
        if isinstance(capabilities, dict):
            self._cancel_notify = capabilities.get("consumer_cancel_notify") is True
            self.told_when_blocked = capabilities.get("connection.blocked") is True
        name, password = credentials(method.mechanism or "", method.response or "")
        self._user = self._broker.authenticate(name, password)
        if self._user is None:
            raise ConnectionFault(
                403,
                f"Login was refused using authentication mechanism {method.mechanism}."
                " For details see the broker logfile.",
            )
        self._expected = commands.Connection.TuneOk
        return method_frame(0, commands.Connection.Tune, CHANNEL_MAX, FRAME_MAX, HEARTBEAT_SECONDS)

    def _tune(self, method: commands.Connection.TuneOk) -> bytes:
        frame_max, channel_max = method.frame_max or FRAME_MAX, method.channel_max or CHANNEL_MAX
        if not FRAME_MIN <= frame_max <= FRAME_MAX:
            raise ConnectionFault(530, f"negotiated frame_max = {frame_max} is not between {FRAME_MIN} and {FRAME_MAX}")
        if channel_max > CHANNEL_MAX:
            raise ConnectionFault(530, f"negotiated channel_max = {channel_max} is higher than {CHANNEL_MAX}")
        self.tuned = Tuned(channel_max, frame_max, method.heartbeat or 0)
        self._expected = commands.Connection.Open
        return b""

    def _open(self, method: commands.Connection.Open) -> bytes:
        assert self._user is not None
        self.session = self._broker.open_session(self._user, method.virtual_host or "", self._cancel_notify)
        return method_frame(0, commands.Connection.OpenOk, "")


def credentials(mechanism: str, response: str | bytes) -> tuple[str, str]:
    """User and password from a SASL response. Raises ConnectionFault for what is neither PLAIN nor AMQPLAIN."""
    raw = response.encode() if isinstance(response, str) else bytes(response)
    if mechanism == "PLAIN":
        parts = raw.split(b"\0")
        if len(parts) != 3:
            raise ConnectionFault(502, "response of mechanism PLAIN cannot be read")
        return parts[1].decode("utf-8", "replace"), parts[2].decode("utf-8", "replace")
    if mechanism == "AMQPLAIN":
        return _amqplain(raw)
    raise ConnectionFault(504, f"unknown authentication mechanism '{mechanism}'")


def _amqplain(raw: bytes) -> tuple[str, str]:
    try:
        table = decode.field_table(len(raw).to_bytes(4, "big") + raw)[1]
    except ValueError as error:
        raise ConnectionFault(502, "response of mechanism AMQPLAIN cannot be read") from error
    return str(table.get("LOGIN", "")), str(table.get("PASSWORD", ""))
