"""The broker's ways to say no, with RabbitMQ's codes and words. A channel's fault ends the channel only."""

from __future__ import annotations

_NAMES = {
    320: "CONNECTION_FORCED",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}


class Fault(Exception):
    """Something the peer asked that is answered by closing. `code` is AMQP's, `text` what the peer reads."""

    def __init__(self, code: int, sentence: str) -> None:
        self.code = code
        self.text = f"{_NAMES[code]} - {sentence}"
        super().__init__(self.text)


class ChannelFault(Fault):
    """Closes the channel."""


class ConnectionFault(Fault):
    """Closes the connection."""


def access_refused(sentence: str) -> ChannelFault:
    return ChannelFault(403, sentence)


def not_found(sentence: str) -> ChannelFault:
    return ChannelFault(404, sentence)


def locked(sentence: str) -> ChannelFault:
    return ChannelFault(405, sentence)


def precondition_failed(sentence: str) -> ChannelFault:
    return ChannelFault(406, sentence)


def not_emulated(feature: str) -> ConnectionFault:
    """What RabbitMQ can do and this broker cannot: said aloud, so that no verdict rests on its absence."""
    return ConnectionFault(540, f"bisect-celery's embedded broker does not emulate {feature}: use --broker rabbitmq")
