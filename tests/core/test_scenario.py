"""A scenario as it is written, and what is refused in one sentence."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from bisect_celery.core import judge, scenario
from bisect_celery.core.judge import Standard
from bisect_celery.core.ledger import Ledger
from bisect_celery.core.scenario import NotAStep, parse
from bisect_celery.model import Act, Fault, Kind, Observation, QueueCount, Step, WorkerFacts

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


# --- what a fault explains, and what it does not ---------------------------------------------------------

EMPTY = (QueueCount("celery", 0, 0),)


def worked(ledger: Ledger, at: float, id: str) -> None:
    ledger.started(at, id)
    ledger.finished(at + 0.1, id, "SUCCESS", "event")


def trial(*, starts: int, drained_before: bool) -> Observation:
    """Two waves, with a fault after the first; each of its messages begun so often."""
    ledger = Ledger()
    ledger.sent(1.0, "one", 1)
    for number in range(1 if drained_before else 0):
        worked(ledger, 2.0 + number, "one")
    if drained_before:
        ledger.counted(3.0, EMPTY)
    ledger.rest(4.0)
    ledger.shaken()
    ledger.fault("the broker restarted", 4.0, 20.0)
    ledger.resume(20.0)
    for number in range(starts - (1 if drained_before else 0)):
        worked(ledger, 21.0 + number, "one")
    ledger.sent(30.0, "two", 2)
    worked(ledger, 31.0, "two")
    ledger.counted(32.0, EMPTY)
    return ledger.observation(33.0, held=0, ended="complete")


@pytest.mark.parametrize(
    ("starts", "drained_before", "kind"),
    [
        (1, True, Kind.COMPLETED),
        (1, False, Kind.COMPLETED),
        (2, False, Kind.COMPLETED),  # it was not acknowledged when the broker went: that is AMQP
        (2, True, Kind.REDELIVERED),  # it was: somebody else had it run again
        (3, False, Kind.REDELIVERED),  # one fault explains one more start
    ],
)
def test_a_fault_explains_one_more_start_of_what_was_not_acknowledged(
    starts: int, drained_before: bool, kind: Kind
) -> None:  # fmt: skip
    seen = trial(starts=starts, drained_before=drained_before)
    assert judge.symptom(seen).symptom.kind is kind, judge.symptom(seen)


def test_quiet_during_a_fault_is_none_of_the_workers() -> None:
    seen = trial(starts=1, drained_before=True)
    assert seen.faults == (Fault("the broker restarted", 4.0, 20.0),)
    assert seen.quiet == 10.0, "from the end of the fault to the next wave"


def test_a_result_that_nobody_could_wait_for_is_not_lost() -> None:
    ledger = Ledger()
    for id, wave in (("left", 0), ("one", 1), ("two", 2)):
        ledger.sent(1.0, id, wave)
        if wave == 0:
            ledger.unreadable()
        worked(ledger, 2.0, id)
        if wave:
            ledger.finished(2.2, id, "SUCCESS", "result", value="6")
    ledger.counted(3.0, EMPTY)
    assert ledger.all_over(stored=True)
    seen = ledger.observation(4.0, held=0, ended="complete", worker=WorkerFacts(ignore_result=False))
    assert judge.symptom(seen, Standard(expect="6")).symptom.kind is Kind.COMPLETED
    answered = tuple(replace(message, unread=False) for message in seen.messages)
    assert judge.symptom(replace(seen, messages=answered)).symptom.kind is Kind.RESULT_LOST


def test_what_an_older_revision_left_is_no_proof_of_free_slots() -> None:
    ledger = Ledger()
    for id, wave in (("left", 0), ("one", 1)):
        ledger.sent(1.0, id, wave)
        worked(ledger, 2.0, id)
    ledger.counted(3.0, EMPTY)
    assert judge.symptom(ledger.observation(4.0, held=0, ended="complete")).symptom.kind is Kind.UNKNOWN
