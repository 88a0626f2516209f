"""What is declared in a virtual host, as RabbitMQ's API exports and imports it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bisect_celery.stack.brokers.embedded.routing import PREDECLARED, Destination
from bisect_celery.stack.brokers.embedded.vhost import VirtualHost


def exported(vhost: VirtualHost) -> dict[str, object]:
    """Exchanges, queues and bindings; exclusive queues are their connection's and are left out, as by RabbitMQ.

    Bindings' arguments are not: no emulated type of exchange reads them.
    """
    queues = [queue for queue in vhost.queues.values() if queue.owner is None]
    return {
        "queues": [
            {
                "name": queue.name,
                "durable": queue.durable,
                "auto_delete": queue.auto_delete,
                "arguments": queue.arguments,
            }
            for queue in queues
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "type": exchange.type,
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": exchange.internal,
                "arguments": {},
            }
            for exchange in vhost.exchanges.values()
            if exchange.name not in PREDECLARED
        ],
        "bindings": list(_bindings(vhost, {queue.name for queue in queues})),
    }


def _bindings(vhost: VirtualHost, queues: set[str]) -> Iterator[dict[str, object]]:
    for exchange in vhost.exchanges.values():
        for binding in exchange.bindings:
            if binding.destination.kind == "exchange" or binding.destination.name in queues:
                yield {
                    "source": exchange.name,
                    "destination": binding.destination.name,
                    "destination_type": binding.destination.kind,
                    "routing_key": binding.routing_key,
                    "arguments": {},
                }


def imported(vhost: VirtualHost, definitions: Mapping[str, Any]) -> None:
    """Declare all of it. Raises Fault for what is there otherwise, or is not emulated."""
    for one in definitions.get("exchanges", ()):
        vhost.declare_exchange(
            one["name"],
            one["type"],
            durable=one["durable"],
            auto_delete=one["auto_delete"],
            internal=one["internal"],
            arguments=one["arguments"],
        )
    for one in definitions.get("queues", ()):
        vhost.declare_queue(
            one["name"],
            None,
            durable=one["durable"],
            exclusive=False,
            auto_delete=one["auto_delete"],
            arguments=one["arguments"],
        )
    for one in definitions.get("bindings", ()):
        destination = Destination(one["destination_type"], one["destination"])
        vhost.bind(one["source"], destination, one["routing_key"], one["arguments"])
