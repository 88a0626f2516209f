"""The `x-` arguments of queues, exchanges and consumers: which are emulated, equivalent, or refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bisect_celery.stack.brokers.embedded.faults import not_emulated, precondition_failed

Arguments = Mapping[str, object]

# Whatever changes what happens to a message must be refused; what only changes how RabbitMQ stores it
# (x-queue-mode, x-queue-version, ...) may be ignored.
_REFUSED_ON_QUEUES = {
    "x-max-priority": "priority queues (x-max-priority)",
    "x-dead-letter-exchange": "dead letters (x-dead-letter-exchange)",
    "x-dead-letter-routing-key": "dead letters (x-dead-letter-routing-key)",
    "x-max-length": "length limits (x-max-length)",
    "x-max-length-bytes": "length limits (x-max-length-bytes)",
    "x-overflow": "length limits (x-overflow)",
    "x-single-active-consumer": "single active consumers (x-single-active-consumer)",
}
_COMPARED_ON_QUEUES = ("x-expires", "x-message-ttl", "x-queue-type")
_LARGEST_TIMER = 2**32 - 1


def check_queue(name: str, place: str, arguments: Arguments) -> None:
    """Refuse what is not emulated (540) and what RabbitMQ finds invalid (406). `place` names queue and vhost."""
    for argument, feature in _REFUSED_ON_QUEUES.items():
        if argument in arguments:
            raise not_emulated(f"{feature}, which queue '{name}' asks for")
    kind = arguments.get("x-queue-type", "classic")
    if kind != "classic":
        raise not_emulated(f"queues of type '{kind}' (x-queue-type), which queue '{name}' asks for")
    _check_timer(place, arguments, "x-expires", least=1)
    _check_timer(place, arguments, "x-message-ttl", least=0)


def _check_timer(place: str, arguments: Arguments, argument: str, least: int) -> None:
    if argument not in arguments:
        return
    value = arguments[argument]
    if not isinstance(value, int) or isinstance(value, bool):
        raise precondition_failed(f"invalid arg '{argument}' for {place}: {{unacceptable_type,{value}}}")
    if not least <= value <= _LARGEST_TIMER:
        raise precondition_failed(f"invalid arg '{argument}' for {place}: {{value_out_of_range,{value}}}")


def check_queue_equivalent(place: str, received: Arguments, current: Arguments) -> None:
    """406 when a queue that exists is declared with other arguments. Only those RabbitMQ compares count."""
    for argument in _COMPARED_ON_QUEUES:
        default = "classic" if argument == "x-queue-type" else None
        wanted, has = received.get(argument, default), current.get(argument, default)
        if wanted != has:
            raise precondition_failed(
                f"inequivalent arg '{argument}' for {place}: received {_shown(wanted)} but current is {_shown(has)}"
            )


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"the value '{value}' of type '{'signedint' if isinstance(value, int) else 'longstr'}'"


def check_field(name: str, place: str, received: object, current: object) -> None:
    """406 when a property such as `durable` differs from that of the queue or exchange that exists."""
    if received != current:
        shown = [str(value).lower() if isinstance(value, bool) else value for value in (received, current)]
        raise precondition_failed(
            f"inequivalent arg '{name}' for {place}: received '{shown[0]}' but current is '{shown[1]}'"
        )


def check_exchange(name: str, arguments: Arguments) -> None:
    if "alternate-exchange" in arguments:
        raise not_emulated(f"alternate exchanges, which exchange '{name}' asks for")


def check_consumer(queue: str, arguments: Arguments) -> None:
    if "x-priority" in arguments:
        raise not_emulated(f"consumer priorities (x-priority), asked for on queue '{queue}'")
