"""What a start measures, and a tree whose starts complete held against the good end's. Pure.

A measure never makes a failing trial good: only what `core.judge` found completed is compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bisect_celery.core.compare import MOST_STARTS, Compared, Zone, compare, percentile
from bisect_celery.core.judge import Seen, Standard
from bisect_celery.model import Judgement, Kind, Observation, Symptom

# Below these nothing is told apart: events are drained, and processes breathe, at this grain. In a sample's unit.
LEAST: Mapping[str, float] = {"latency": 0.05, "memory": 8.0}
UNITS: Mapping[str, str] = {"latency": "s", "memory": "MiB"}
KINDS: Mapping[str, Kind] = {"latency": Kind.SLOW, "memory": Kind.MEMORY_GROWN}
# The template of the symptom that asks for more starts of the same tree.
MORE = "more starts"


def latency(seen: Observation) -> float | None:
    """The 95th percentile of how long the first wave's tasks took from being sent until their end was told, seconds.

    With the wait in the queue: fewer slots, or a smaller prefetch, are as much a slowness as a slower body. None where
    an end is missing.
    """
    first = [message for message in seen.messages if message.wave == 1]
    taken = [message.finished - message.sent for message in first if message.finished is not None]
    return percentile(taken) if taken and len(taken) == len(first) else None


def memory(seen: Observation) -> float | None:
    """The largest peak of any pool process, MiB. None where nobody could look."""
    return max(seen.memory) / 1024 if seen.memory else None


SAMPLES: Mapping[str, Callable[[Observation], float | None]] = {"latency": latency, "memory": memory}


def with_start(standard: Standard, good: Observation) -> Standard:
    """The standard with one more start of the good end measured. Raises LookupError, with the measure's name, for one
    that could not be had."""
    found: dict[str, tuple[float, ...]] = {}
    for name in standard.judges:
        sample = SAMPLES[name](good)
        if sample is None:
            raise LookupError(name)
        found[name] = (*samples(standard, name), sample)
    return replace(standard, latency=found.get("latency", ()), memory=found.get("memory", ()))


def samples(standard: Standard, name: str) -> tuple[float, ...]:
    """What the good end measured, one value a start."""
    return {"latency": standard.latency, "memory": standard.memory}[name]


def compared(found: Seen, starts: Sequence[Observation], standard: Standard) -> Seen:
    """What completed, held against the good end by all `starts` of the same tree that completed, the latest last."""
    if found.symptom.kind is not Kind.COMPLETED or not standard.judges:
        return found
    told, more = [found.rule], []
    for name in standard.judges:
        had = [SAMPLES[name](one) for one in starts]
        known = [sample for sample in had if sample is not None]
        if len(known) < len(had) or not known:
            return Seen(Symptom(Kind.UNKNOWN), f"{found.rule}; but its {name} could not be measured")
        usual = samples(standard, name)
        if not usual:
            told.append(f"{name} {_number(name, known[-1])}, with no good end to compare with")
            continue
        answer = compare(known, usual, effect=standard.least_effect(name), least=LEAST[name])
        told.append(_told(name, answer, len(known), len(usual)))
        if answer.zone is Zone.WORSE:
            return Seen(Symptom(KINDS[name], None, name), f"every task succeeded, but {told[-1]}")
        if answer.zone is Zone.MORE:
            more.append(name)
    rule = "; ".join(told)
    return Seen(Symptom(Kind.UNKNOWN, None, MORE), rule) if more else Seen(found.symptom, rule)


def apart(starts: Sequence[Observation], standard: Standard) -> tuple[tuple[str, float], ...]:
    """How many times as much as the good end these starts, of the bad end, took of what it is worse in."""
    found = []
    for name in standard.judges:
        had = [sample for one in starts if (sample := SAMPLES[name](one)) is not None]
        usual = statistics.median(samples(standard, name) or (0.0,))
        if had and usual > 0:
            ratio = statistics.median(had) / usual
            found += [(name, ratio)] if ratio >= 1 + standard.effect else []
    return tuple(found)


def _told(name: str, answer: Compared, starts: int, usual: int) -> str:
    zones = {Zone.WORSE: "is worse", Zone.SAME: "is no worse", Zone.MORE: "needs more starts to be told"}
    return (
        f"{name} {zones[answer.zone]}: {_number(name, answer.now)} in {starts} starts, {_number(name, answer.good)} in "
        f"{usual} of the good end (p = {answer.p:.2g})"
    )


def _number(name: str, value: float) -> str:
    return f"{value:.3g} {UNITS[name]}"


def wants_more(judgement: Judgement, starts: int) -> bool:
    """Whether more starts of the tree could tell; `starts`: how many completed so far."""
    symptom = judgement.symptom
    return symptom.kind is Kind.UNKNOWN and symptom.template == MORE and starts < MOST_STARTS


def by_comparison(judgement: Judgement) -> bool:
    """Whether the comparison had the last word, for better or worse."""
    symptom = judgement.symptom
    return symptom.kind is Kind.COMPLETED or (symptom.kind in KINDS.values() and symptom.template in KINDS)
