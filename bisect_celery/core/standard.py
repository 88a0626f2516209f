"""What a trial is held to, what a rule says that it saw, and what several rules ask of the facts. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TypeVar

from bisect_celery.model import Kind, Observation, Probe, Symptom

T = TypeVar("T")
# The template of `worker-died` where it is the pool's processes that die.
POOL_PROCESSES = "pool processes"


@dataclass(frozen=True)
class Seen:
    """A symptom and the rule that saw it, in words for a person."""

    symptom: Symptom
    rule: str


@dataclass(frozen=True)
class Standard:
    """What a trial must show beyond completion, as far as the user declared it and the good end measured it.

    `expect` is the JSON text of the value every task must return (None: any), `check` the expression about it that
    must hold, `script` the name of the probe file that may judge it; `log_must` and `log_must_not` are patterns of the
    worker's log.
    `left`: messages of others, a probe, that the good end leaves where nobody consumes (None: not measured).
    `judges` are the measures to hold against the good end ("latency", "memory"), by at least `effect` (a share);
    `latency` (seconds) and `memory` (MiB) have one sample for each of its starts (`core.measures`).
    `apart`: how many times as much as the good end the bad end showed of a measure, where that is what is looked for.
    `web_app`: by which app a web process of the good end sends (`WorkerFacts.web_app`; None: not measured).
    """

    expect: str | None = None
    check: str | None = None
    script: str | None = None
    log_must: str | None = None
    log_must_not: str | None = None
    left: float | None = None
    judges: tuple[str, ...] = ()
    effect: float = 0.25
    latency: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    web_app: str | None = None
    apart: tuple[tuple[str, float], ...] = ()

    def least_effect(self, name: str) -> float:
        """The share by which a measure must be above the good end's to count: halfway to the bad end, as times go.

        What is looked for is what the bad end shows. On a noisy machine a quarter more is soon there by chance, and
        cannot be excluded for anything, where the bad end is eight times as slow.
        """
        return max(self.effect, math.sqrt(dict(self.apart).get(name, 1.0)) - 1)

    @property
    def judge(self) -> str:
        """What the user's own judge is called."""
        return " and ".join(filter(None, (self.check, self.script)))


ANY = Standard()


def standard_of(probe: Probe) -> Standard:
    """What the user declared; nothing is measured yet."""
    script = probe.script.name if probe.script else None
    return Standard(
        expect=probe.expect,
        check=probe.check,
        script=script,
        log_must=probe.log_must,
        log_must_not=probe.log_must_not,
        judges=probe.judges,
        effect=probe.effect / 100,
    )


def told(kind: Kind, rule: str, exception: str | None = None, template: str | None = None) -> Seen:
    """A symptom, and the sentence that says how it was seen."""
    return Seen(Symptom(kind, exception, template), rule)


def measured(standard: Standard, good: Observation) -> Standard:
    """What the good end itself shows to be usual here: messages that it leaves where nobody consumes, a probe, and by
    which app its web processes send."""
    left = idle_messages(good) / len(good.messages) if good.messages else None
    return replace(standard, left=left, web_app=good.worker.web_app)


def idle_messages(seen: Observation) -> int:
    """How many messages wait in queues on which no consumer stands."""
    return sum(queue.ready for queue in seen.queues if queue.consumers == 0)


def counts(seen: Observation) -> tuple[int, int]:
    """(ready, unacknowledged) over all work queues."""
    return sum(queue.ready for queue in seen.queues), sum(queue.unacked for queue in seen.queues)


def acknowledges_late(seen: Observation) -> bool:
    """Whether what is not acknowledged may be a task that ran; of what nobody knows it may."""
    return seen.worker.acks_late is not False


def events_tell(seen: Observation) -> bool:
    """Whether the worker's events tell of our tasks: else that they did not tell of one is no fact."""
    return any(message.starts or "event" in message.sources for message in seen.messages)


def most_frequent(counted: Counter[T]) -> T:
    """Of equals always the same one, in whatever order they were told."""
    return min(counted, key=lambda key: (-counted[key], repr(key)))
