"""What one start measures, and what a tree's starts are called beside the good end's."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core import measures
from bisect_celery.core.compare import MOST_STARTS
from bisect_celery.core.judge import Seen, Standard, at_end
from bisect_celery.model import Kind, Message, Observation, Symptom

BOTH = Standard(judges=("latency", "memory"))
DONE = Seen(Symptom(Kind.COMPLETED), "all of it")


def start(latency: float = 0.2, memory: float = 60.0, count: int = 20) -> Observation:
    """A start whose slowest tasks take `latency` seconds, and whose largest process `memory` MiB."""
    messages = [Message(str(n), 1, 1.0, finished=1.0 + latency) for n in range(count)]
    probe = Message("second", 2, 5.0, finished=9.0)
    return Observation(9.0, messages=(*messages, probe), memory=(40_000, int(memory * 1024)))


def held(*starts: Observation, standard: Standard = BOTH) -> Standard:
    for one in starts:
        standard = measures.with_start(standard, one)
    return standard


USUAL = held(*(start(0.2 + n / 100, 60.0 + n) for n in range(8)))


@given(st.floats(0.001, 100), st.floats(40, 10_000))
def test_a_start_is_measured_by_its_first_wave_and_its_largest_process(latency: float, memory: float) -> None:
    seen = start(latency, memory)
    assert measures.latency(seen) == pytest.approx(latency)
    assert measures.memory(seen) == pytest.approx(memory, abs=0.01)


def test_one_slow_task_of_twenty_is_not_the_percentile_and_two_are() -> None:
    seen = start(0.2)
    slow = [dataclasses.replace(one, finished=one.sent + 5) for one in seen.messages[:2]]
    one, two = (dataclasses.replace(seen, messages=(*slow[:n], *seen.messages[n:])) for n in (1, 2))
    assert measures.latency(one) == pytest.approx(0.2)
    assert measures.latency(two) == pytest.approx(5)


def test_what_was_not_seen_is_no_number() -> None:
    seen = start()
    assert measures.latency(Observation(1.0)) is None
    open_ = dataclasses.replace(seen.messages[0], finished=None)
    assert measures.latency(dataclasses.replace(seen, messages=(open_, *seen.messages[1:]))) is None
    unseen = dataclasses.replace(seen, memory=())
    assert measures.memory(unseen) is None
    with pytest.raises(LookupError, match="memory"):
        measures.with_start(BOTH, unseen)
    assert measures.compared(DONE, [unseen], USUAL).symptom == Symptom(Kind.UNKNOWN)


WORSE, SAME = [start(0.5)] * 3, [start()] * 3
MORE = Symptom(Kind.UNKNOWN, None, measures.MORE)


@pytest.mark.parametrize(
    ("starts", "standard", "expected"),
    [
        (SAME, USUAL, Symptom(Kind.COMPLETED)),
        (SAME[:1], USUAL, MORE),
        (WORSE, USUAL, Symptom(Kind.SLOW, None, "latency")),
        (WORSE[:2], USUAL, MORE),
        ([start(memory=120)] * 3, USUAL, Symptom(Kind.MEMORY_GROWN, None, "memory")),
        ([start(0.5, 120)] * 3, USUAL, Symptom(Kind.SLOW, None, "latency")),
        (WORSE, dataclasses.replace(USUAL, effect=2.0), Symptom(Kind.COMPLETED)),
        (WORSE, Standard(), Symptom(Kind.COMPLETED)),
        (WORSE, BOTH, Symptom(Kind.COMPLETED)),  # with nothing to compare with
    ],
)
def test_what_a_tree_is_called(starts: list[Observation], standard: Standard, expected: Symptom) -> None:
    found = measures.compared(DONE, starts, standard)
    assert found.symptom == expected
    assert measures.by_comparison(at_end(found)) is (expected != MORE)
    assert measures.wants_more(at_end(found), 3) is (expected == MORE)


def test_the_rule_names_the_numbers() -> None:
    rule = measures.compared(DONE, WORSE, USUAL).rule
    assert "latency is worse: 0.5 s in 3 starts, 0.235 s in 8 of the good end (p = 0.0061)" in rule
    assert "memory 60 MiB, with no good end" in measures.compared(DONE, SAME, BOTH).rule


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.COMPLETED])
def test_no_measure_makes_a_failure_good(kind: Kind) -> None:
    failed = Seen(Symptom(kind, None, "another"), "why")
    assert measures.compared(failed, SAME, USUAL) is failed
    assert not measures.by_comparison(at_end(failed))
    assert not measures.wants_more(at_end(failed), 1)


def test_asking_for_more_ends() -> None:
    more = at_end(measures.compared(DONE, SAME[:1], USUAL))
    assert measures.wants_more(more, MOST_STARTS - 1)
    assert not measures.wants_more(more, MOST_STARTS)
