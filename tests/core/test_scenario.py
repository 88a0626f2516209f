"""A scenario as it is written, and what is refused in one sentence."""

from __future__ import annotations

import tomllib

import pytest

from bisect_celery.core import scenario
from bisect_celery.core.scenario import NotAStep, parse
from bisect_celery.model import Act, Step

WRITTEN = """
[[scenario]]
send = 20
[[scenario]]
wait = "started"
count = 2
[[scenario]]
cut = 5
silent = true
[[scenario]]
wait = "quiet"
seconds = 1.5
[[scenario]]
restart_broker = 3
[[scenario]]
restart-worker = true
[[scenario]]
restart-worker = true
kill = true
[[scenario]]
send = true
[[scenario]]
wait = "finished"
[[scenario]]
expect = "completed"
[[scenario]]
expect = 40
"""


def test_every_step_reads_as_it_is_written() -> None:
    assert parse(tomllib.loads(WRITTEN)["scenario"]) == (
        Step(Act.SEND, count=20),
        Step(Act.WAIT, "started", count=2),
        Step(Act.CUT, seconds=5, hard=True),
        Step(Act.WAIT, "quiet", seconds=1.5),
        Step(Act.RESTART_BROKER, seconds=3),
        Step(Act.RESTART_WORKER),
        Step(Act.RESTART_WORKER, hard=True),
        Step(Act.SEND),
        Step(Act.WAIT, "finished"),
        Step(Act.EXPECT, "completed"),
        Step(Act.EXPECT, "finished", count=40),
    )


def test_every_step_has_words_of_its_own() -> None:
    steps = parse(tomllib.loads(WRITTEN)["scenario"])
    assert len({scenario.words(step) for step in steps}) == len(steps)
    assert scenario.faults(steps) == tuple(scenario.words(steps[index]) for index in (2, 4, 5, 6))
    assert scenario.faults(scenario.DEFAULT) == ()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "a list"),
        ([], "a list"),
        (["send"], "Step 1 is not a table"),
        ([{}], "Step 1 must have one of send"),
        ([{"send": 1}, {"restart": 3}], "Step 2 must have one of .*did you mean `restart-"),
        ([{"send": 1, "cut": 2}], "Step 1 must have one of"),
        ([{"send": 0}], "`send` is a whole number from 1"),
        ([{"send": "many"}], "`send` is a whole number"),
        ([{"send": 1, "kill": True}], "knows no `kill`"),
        ([{"cut": 5}], "without a `send`"),
        ([{"wait": "finished"}, {"send": 1}], "Step 1 asks for probes before any was sent"),
        ([{"send": 1}, {"wait": "done"}], "Step 2 waits for one of received"),
        ([{"send": 1}, {"wait": "quiet"}], "how many `seconds`"),
        ([{"send": 1}, {"wait": "finished", "seconds": 3}], "Step 2 waits for"),
        ([{"send": 1}, {"expect": "finished"}], "with a `count`"),
        ([{"send": 1}, {"expect": True}], "Step 2 expects"),
        ([{"send": 1}, {"cut": True}], "`cut` is a number of seconds"),
        ([{"send": 1}, {"cut": 601}], "up to 600"),
        ([{"send": 1}, {"cut": 1, "silent": "yes"}], "`silent` is true or false"),
        ([{"send": 1}, {"restart-worker": 3}], "restart-worker = true"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(raw: object, said: str) -> None:
    with pytest.raises(NotAStep, match=said) as refused:
        parse(raw)
    assert str(refused.value).endswith((".", "?"))


def test_a_fault_may_come_before_anything_is_sent() -> None:
    steps = parse([{"restart-broker": 1}, {"send": True}])
    assert scenario.restarts_broker(steps)
    assert scenario.takes_network(steps)
    assert not scenario.restarts_broker(parse([{"send": 1}, {"cut": 1}]))
    assert not scenario.takes_network(parse([{"send": 1}, {"restart-worker": True}]))
