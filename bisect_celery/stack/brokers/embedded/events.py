"""What the broker tells a client without being asked, in the order in which it must reach the socket. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bisect_celery.stack.brokers.embedded.queues import Content


class Deliver(NamedTuple):
    """basic.deliver"""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    content: Content


class Returned(NamedTuple):
    """basic.return: nobody is bound for a mandatory message."""

    content: Content


class Confirmed(NamedTuple):
    """basic.ack towards a publisher that asked for confirms."""

    delivery_tag: int


class Cancelled(NamedTuple):
    """basic.cancel towards a consumer whose queue is gone."""

    consumer_tag: str


Event = Deliver | Returned | Confirmed | Cancelled
