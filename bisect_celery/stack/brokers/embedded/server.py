"""The broker on sockets: AMQP and management listening on ephemeral ports, one clock, one alarm."""

from __future__ import annotations

import asyncio

from bisect_celery.stack.brokers.embedded.broker import Broker
from bisect_celery.stack.brokers.embedded.connection import Connection
from bisect_celery.stack.brokers.embedded.faults import ConnectionFault
from bisect_celery.stack.brokers.embedded.management import ManagementServer
from bisect_celery.stack.brokers.embedded.session import Session

DEFAULT_MEMORY_LIMIT = 512 << 20


class Server:
    """Everything that listens. `memory_limit` is in bytes of messages held; above it publishers have to wait."""

    def __init__(self, broker: Broker, memory_limit: int = DEFAULT_MEMORY_LIMIT) -> None:
        self.broker = broker
        self.alarmed = False
        self.amqp_port = 0
        self.management_port = 0
        self._memory_limit = memory_limit
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._by_session: dict[Session, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at: float | None = None
        self._listening: list[asyncio.Server] = []

    async def listen(self, host: str) -> None:
        """Listen on free ports of `host`; they are known afterwards."""
        amqp = await self._loop.create_server(lambda: self._accept(), host, 0)
        http = await asyncio.start_server(ManagementServer(self).serve, host, 0)
        self._listening = [amqp, http]
        self.amqp_port = amqp.sockets[0].getsockname()[1]
        self.management_port = http.sockets[0].getsockname()[1]

    def _accept(self) -> Connection:
        connection = Connection(self)
        self._connections.add(connection)
        return connection

    def close(self) -> None:
        """Tell all clients and stop listening."""
        for listening in self._listening:
            listening.close()
        for connection in list(self._connections):
            connection.shut(ConnectionFault(320, "broker forced connection closure with reason 'shutdown'"))
        if self._timer is not None:
            self._timer.cancel()

    # --- Hub

    def opened(self, session: Session, connection: Connection) -> None:
        self._by_session[session] = connection

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._by_session = {
            session: each for session, each in self._by_session.items() if each is not connection
        }  # fmt: skip

    def advance(self) -> None:
        self.broker.advance(self._loop.time())

    def flush(self) -> None:
        while touched := self.broker.take_touched():
            for session in touched:
                connection = self._by_session[session]
                connection.send_events()
                if session.forced is not None:
                    connection.fail(session.forced)
        self._check_alarm()
        self._set_timer()

    def _check_alarm(self) -> None:
        alarmed = self.broker.clock.bytes_held > self._memory_limit
        if self.alarmed and not alarmed:
            for connection in list(self._connections):
                connection.unblock()
        self.alarmed = alarmed

    def _set_timer(self) -> None:
        at = self.broker.clock.next()
        if at == self._wakes_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = at
        self._timer = None if at is None else self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._wakes_at = None
        self.advance()
        self.flush()
