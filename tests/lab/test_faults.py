"""Faults in a real trial: what a worker that comes back shows and one that does not, by facts beyond the fault's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from small_shop import SILENT, Bench

from bisect_celery import proc
from bisect_celery.core import judge
from bisect_celery.core.judge import Seen
from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.relay import Relay
from bisect_celery.lab.scenario import Play
from bisect_celery.model import Act, Kind, Observation, QueueCount, Step, Symptom

HEAD = """
import os, time
from celery import Celery, bootsteps
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")
app.conf.worker_prefetch_multiplier = 1
"""
PLAIN = """
@app.task
def work(n):
    return n * 2
"""
SLOW_AND_LATE = """
@app.task(acks_late=True)
def work(n):
    time.sleep(1)
    return n * 2
"""
# A step that gives the queues up when it stops, as one would for an orderly end. But steps stop when a connection is
# lost, too: what comes back is a live parent that consumes nothing.
GIVES_UP = """
class Drain(bootsteps.StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def stop(self, consumer):
        for queue in list(consumer.app.amqp.queues.consume_from):
            consumer.app.amqp.queues.deselect(queue)

app.steps["consumer"].add(Drain)
"""
IDLE: list[dict[str, Any]] = [{"send": 4}, {"wait": "finished"}]
BUSY: list[dict[str, Any]] = [{"send": 4}, {"wait": "started", "count": 2}]


def assert_completed(seen: Observation, judged: Seen) -> None:
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert {message.state for message in seen.messages} == {"SUCCESS"}


@pytest.mark.rabbitmq
def test_a_worker_that_comes_back_after_a_broker_restart_is_good(rabbitmq: Bench) -> None:
    steps = [*IDLE, {"restart-broker": 0.5}]
    seen, judged = rabbitmq.tried(HEAD + PLAIN, steps)
    assert_completed(seen, judged)
    (fault,) = seen.faults
    assert fault.what == "the broker restarted, 0.5 s away"
    assert fault.until - fault.began > 0.5
    assert [message.wave for message in seen.messages] == [1] * 4 + [2] * 2
    assert min(message.sent for message in seen.messages if message.wave == 2) > fault.until
    assert {message.starts for message in seen.messages} == {1}
    assert {message.again for message in seen.messages} == {0}, "nothing was open when the broker went"
    assert seen.quiet < fault.until - fault.began, "the outage is no quiet of the worker's"


@pytest.mark.rabbitmq
def test_a_live_worker_that_consumes_nothing_after_a_broker_restart_is_not(rabbitmq: Bench) -> None:
    seen, judged = rabbitmq.tried(HEAD + GIVES_UP + PLAIN, [*IDLE, {"restart-broker": 0.5}], SILENT)
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, "any more"), (judged, seen)
    assert seen.worker_exit is None
    assert seen.until - seen.faults[0].until >= SILENT.quiet


@pytest.mark.rabbitmq
def test_what_a_cut_redelivers_is_explained_by_the_cut(rabbitmq: Bench) -> None:
    seen, judged = rabbitmq.tried(HEAD + SLOW_AND_LATE, [*BUSY, {"cut": 0.5}])
    assert_completed(seen, judged)
    assert {message.starts for message in seen.messages if message.wave == 1} >= {2}, "two were begun when it came"
    assert {message.again for message in seen.messages if message.wave == 1} == {1}
    assert {message.again for message in seen.messages if message.wave == 2} == {0}


def test_a_live_worker_that_consumes_nothing_after_a_cut_is_not_good(emulated: Bench) -> None:
    seen, judged = emulated.tried(HEAD + GIVES_UP + PLAIN, [*IDLE, {"cut": 0.5}], SILENT)
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, "any more"), (judged, seen)


def test_packets_that_come_again_and_a_worker_that_ends_when_asked_cost_no_task_a_second_run(emulated: Bench) -> None:
    """Frozen packets lose no connection; a worker asked to end finishes what it began and gives back the rest."""
    steps = [*BUSY, {"cut": 1, "silent": True}, {"send": 4}, {"wait": "started", "count": 6}, {"restart-worker": True}]
    seen, judged = emulated.tried(HEAD + SLOW_AND_LATE, steps)
    assert_completed(seen, judged)
    assert {message.starts for message in seen.messages} == {1}
    assert [fault.what for fault in seen.faults] == [
        "the worker cut off for 1 s (packets lost without a word)", "the worker ended and started again"
    ]  # fmt: skip


def test_a_worker_that_is_killed_gives_back_what_it_held(emulated: Bench) -> None:
    seen, judged = emulated.tried(HEAD + SLOW_AND_LATE, [*BUSY, {"restart-worker": True, "kill": True}])
    assert_completed(seen, judged)
    assert sum(message.starts == 2 for message in seen.messages) == 2


def test_what_is_expected_and_does_not_hold_is_a_failure_of_its_own(emulated: Bench) -> None:
    steps = [*IDLE, {"expect": "completed"}, {"expect": 4}, {"wait": "quiet", "seconds": 0.5}, {"expect": 5}]
    seen, judged = emulated.tried(HEAD + PLAIN, steps)
    assert seen.ended == "unmet"
    assert judged.symptom == Symptom(Kind.WRONG_RESULT, None, "the scenario expects 5 finished in step 6"), judged
    assert seen.quiet < 0.5, "quiet that was asked for is none"


def test_the_relay_goes_with_the_place_whatever_ends_the_trial(emulated: Bench, tmp_path: Path) -> None:
    layout = tmp_path / "tree"
    layout.mkdir()
    with emulated.stack.place("killed", layout, emulated.environment, tmp_path / "artifacts", Token()) as place:
        relay = Relay(place, emulated.environment, Token())
        pid = cast(Any, relay)._running.pid
        assert proc.start_time(pid) is not None
    assert proc.start_time(pid) is None


class NeverQuiet:
    """`lab.scenario.Hands` of a trial in which something moves all the time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.time, self.lent = ledger, 0.0, 0.0

    def now(self) -> float:
        return self.time

    def lend(self, seconds: float) -> None:
        self.lent += seconds

    def late(self) -> bool:
        return self.time > 10.0 + self.lent

    def until(self, done: Callable[[], bool]) -> str | None:
        return None if done() else "quiet"

    def idle(self, seconds: float) -> None:
        self.time += seconds
        self.ledger.progress(self.time)


def test_waiting_for_quiet_has_an_end() -> None:
    ledger = Ledger()
    hands = cast(Any, NeverQuiet(ledger))
    assert Play((Step(Act.WAIT, "quiet", seconds=3.0),), hands, ledger, cast(Any, None), None).run() == "total"
    assert 13.0 < hands.time < 13.5


def test_waiting_for_more_than_there_is_proves_nothing_free() -> None:
    ledger = Ledger()
    for wave in (1, 2):
        ledger.sent(1.0, f"m{wave}", wave)
        ledger.finished(2.0, f"m{wave}", "SUCCESS", "event")
    ledger.counted(3.0, (QueueCount("celery", 0, 0),))
    hands = cast(Any, NeverQuiet(ledger))
    assert Play((Step(Act.WAIT, "started", count=3),), hands, ledger, cast(Any, None), None).run() == "quiet"
    judged = judge.symptom(ledger.observation(4.0, held=0, ended="quiet"))
    assert judged.symptom == Symptom(Kind.WRONG_RESULT, None, "the scenario waits until 3 are started in step 1")
