"""A client's connection as the broker sees it: its user, virtual host, channels and what waits to be sent. Pure."""

from __future__ import annotations

from collections.abc import Callable

from bisect_celery.stack.brokers.embedded.channel import Channel
from bisect_celery.stack.brokers.embedded.events import Event
from bisect_celery.stack.brokers.embedded.faults import ConnectionFault
from bisect_celery.stack.brokers.embedded.queues import Queue
from bisect_celery.stack.brokers.embedded.vhost import VirtualHost

# Deliveries that may wait for the socket, as RabbitMQ's UNSENT_MESSAGE_LIMIT: a client that does not read
# must not draw a whole queue into memory.
UNSENT_LIMIT = 200


class Session:
    """One open connection. Whoever owns its socket sends `take_events()` and says when the socket is full."""

    def __init__(
        self, user: str, vhost: VirtualHost, touched: Callable[[Session], None], cancel_notify: bool = False
    ) -> None:
        self.user = user
        self.vhost = vhost
        self.cancel_notify = cancel_notify
        self.channels: dict[int, Channel] = {}
        self.forced: ConnectionFault | None = None
        self._touched = touched
        self._outbox: list[tuple[int, Event]] = []
        self._paused = False
        self._starved = False

    def open_channel(self, number: int) -> Channel:
        channel = Channel(number, self)
        self.channels[number] = channel
        return channel

    # --- outwards

    def emit(self, channel: int, event: Event) -> None:
        self._outbox.append((channel, event))
        self._touched(self)

    def has_room(self) -> bool:
        """Whether deliveries may be added. Remembers a no, so that `resume` knows that somebody waits."""
        if self._paused or len(self._outbox) >= UNSENT_LIMIT:
            self._starved = True
            return False
        return True

    def take_events(self) -> list[tuple[int, Event]]:
        """What to send now, as (channel number, event). Call again until it is empty: room draws more in."""
        events, self._outbox = self._outbox, []
        return events

    def pause(self) -> None:
        """The socket takes no more."""
        self._paused = True

    def resume(self) -> None:
        """The socket takes more, or the outbox was emptied: queues that waited deliver on."""
        self._paused = False
        self.feed()

    def feed(self) -> None:
        """Let queues deliver that found no room here, if there is room now."""
        if self._starved and not self._paused:
            self._starved = False
            for queue in self._consumed_queues():
                queue.deliver()

    def _consumed_queues(self) -> list[Queue]:
        return [consumer.queue for channel in self.channels.values() for consumer in channel.consumers.values()]

    def force_close(self, reason: str) -> None:
        """The broker ends this connection (320); its owner is told by the next `touched`."""
        self.forced = ConnectionFault(320, reason)
        self._touched(self)

    # --- the end

    def close(self) -> None:
        """The connection is gone: everything unacknowledged is back at once, its exclusive queues are gone."""
        self._paused = True
        for channel in list(self.channels.values()):
            channel.close()
        for queue in [queue for queue in self.vhost.queues.values() if queue.owner is self]:
            self.vhost.delete_queue(queue)
        self._outbox.clear()
