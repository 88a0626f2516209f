"""What of an observation is kept: all that is needed to judge it anew, and nothing that is nobody's business. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from bisect_celery.core.texts import message_template
from bisect_celery.model import Message, Observation, Probe, Redact
from bisect_celery.store.codec import each_text

LEFT_OUT = "…"
# Below this an argument is also a word of other texts.
SHORTEST = 5


def kept(seen: Observation, probe: Probe, redact: Redact) -> Observation:
    """The facts without secrets, log lines, results that nobody compares, and what exceptions said of the arguments.

    Made before anybody judges, so that a stored fact and a fresh one read the same. Redacted first: a secret of
    which a template has taken the digits is not recognised any more.
    """
    clean = each_text(seen, redact)
    given = sorted(set(_given(probe)), key=len, reverse=True)
    messages = tuple(_message(message, given, probe.expect is not None) for message in clean.messages)
    refusal = message_template(_without(clean.refusal, given), (clean.refusal or "").partition(":")[0])
    return replace(clean, messages=messages, refusal=refusal, errors=())


def _message(message: Message, given: list[str], compared: bool) -> Message:
    detail = message_template(_without(message.detail, given), message.exception)
    said = message_template(_without(message.said, given))
    return replace(message, detail=detail, said=said, value=message.value if compared else None)


def _without(text: str | None, words: list[str]) -> str | None:
    if text is not None:
        for word in words:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", LEFT_OUT, text)
    return text


def _given(probe: Probe) -> Iterator[str]:
    for text in (probe.args, probe.kwargs):
        yield from (leaf for leaf in _leaves(json.loads(text)) if len(leaf) >= SHORTEST)


def _leaves(value: object) -> Iterator[str]:
    """The texts and numbers in a JSON value; its keys are names of the code's."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
