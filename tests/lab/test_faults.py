"""Faults in a real trial: what a worker that comes back shows and one that does not, by facts beyond the fault's."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bisect_celery import proc
from bisect_celery.core import judge
from bisect_celery.core import scenario as scenarios
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Seen
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import Watch
from bisect_celery.model import Environment, Kind, Observation, Probe, Runner, Symptom
from bisect_celery.stack.node import BrokerNode, EmbeddedNode
from bisect_celery.stack.process import ProcessStack
from bisect_celery.stack.rabbitmq import RabbitNode

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
PATIENT = Deadlines(boot=90, quiet=20, total=120)
SILENT = Deadlines(boot=90, quiet=4, total=120)


class Bench:
    """Trials of a project of one module, `shop`, one after the other on one broker."""

    def __init__(self, node: BrokerNode, folder: Path) -> None:
        self.stack = ProcessStack(node, cast(Runner, None), folder / "places", "a test")
        self._folder = folder
        self._number = 0

    def tried(
        self, source: str, steps: list[dict[str, Any]], deadlines: Deadlines = PATIENT
    ) -> tuple[Observation, Seen]:
        self._number += 1
        name, parsed = f"trial-{self._number}", scenarios.parse(steps)
        layout = self._folder / "trees" / name
        layout.mkdir(parents=True)
        (layout / "shop.py").write_text(HEAD + textwrap.dedent(source))
        celery = (("celery", importlib.metadata.version("celery")),)
        environment = Environment("this", f"{sys.prefix}/bin/python", f"{sys.prefix}/bin", celery)
        bytecode = (("PYTHONDONTWRITEBYTECODE", ""), ("PYTHONPYCACHEPREFIX", str(self._folder / "bytecode")))
        probe = Probe("shop.work", "[3]")
        plan = Plan("shop", probe, ("-c", "2"), variables=bytecode, fast=True, scenario=parsed)
        alone = scenarios.restarts_broker(parsed)
        artifacts = self._folder / "artifacts" / name
        with self.stack.place(name, layout, environment, artifacts, Token(), alone=alone) as place:
            seen = Watch(place, plan, environment, deadlines, Token(), walled=False).run()
        return seen, judge.symptom(seen, judge.standard_of(probe))


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from _bench(tmp_path_factory.mktemp("emulated"), EmbeddedNode)


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from _bench(tmp_path_factory.mktemp("rabbitmq"), RabbitNode)


def _bench(folder: Path, kind: type[EmbeddedNode] | type[RabbitNode]) -> Iterator[Bench]:
    node = kind(folder / "node")
    bench = Bench(node, folder)
    bench.stack.start(Token())
    try:
        yield bench
    finally:
        bench.stack.stop()


def assert_completed(seen: Observation, judged: Seen) -> None:
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert {message.state for message in seen.messages} == {"SUCCESS"}


@pytest.mark.rabbitmq
def test_a_worker_that_comes_back_after_a_broker_restart_is_good(rabbitmq: Bench) -> None:
    steps = [*IDLE, {"restart-broker": 0.5}]
    seen, judged = rabbitmq.tried(PLAIN, steps)
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
    seen, judged = rabbitmq.tried(GIVES_UP + PLAIN, [*IDLE, {"restart-broker": 0.5}], SILENT)
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, "any more"), (judged, seen)
    assert seen.worker_exit is None
    assert seen.until - seen.faults[0].until >= SILENT.quiet


@pytest.mark.rabbitmq
def test_what_a_cut_redelivers_is_explained_by_the_cut(rabbitmq: Bench) -> None:
    seen, judged = rabbitmq.tried(SLOW_AND_LATE, [*BUSY, {"cut": 0.5}])
    assert_completed(seen, judged)
    assert {message.starts for message in seen.messages if message.wave == 1} >= {2}, "two were begun when it came"
    assert {message.again for message in seen.messages if message.wave == 1} == {1}
    assert {message.again for message in seen.messages if message.wave == 2} == {0}


def test_a_live_worker_that_consumes_nothing_after_a_cut_is_not_good(emulated: Bench) -> None:
    seen, judged = emulated.tried(GIVES_UP + PLAIN, [*IDLE, {"cut": 0.5}], SILENT)
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, "any more"), (judged, seen)


def test_packets_that_stop_without_a_word_and_come_again_break_nothing(emulated: Bench) -> None:
    seen, judged = emulated.tried(SLOW_AND_LATE, [*BUSY, {"cut": 1.5, "silent": True}])
    assert_completed(seen, judged)
    assert {message.starts for message in seen.messages} == {1}, "no connection was lost"


def test_a_worker_that_ends_when_asked_and_starts_again_runs_each_task_once(emulated: Bench) -> None:
    seen, judged = emulated.tried(SLOW_AND_LATE, [*BUSY, {"restart-worker": True}])
    assert_completed(seen, judged)
    assert {(message.starts, message.again) for message in seen.messages} == {(1, 0)}


def test_a_worker_that_is_killed_gives_back_what_it_held(emulated: Bench) -> None:
    seen, judged = emulated.tried(SLOW_AND_LATE, [*BUSY, {"restart-worker": True, "kill": True}])
    assert_completed(seen, judged)
    assert sum(message.starts == 2 for message in seen.messages) == 2


def test_what_is_expected_and_does_not_hold_is_a_failure_of_its_own(emulated: Bench) -> None:
    steps = [*IDLE, {"expect": "completed"}, {"expect": 4}, {"wait": "quiet", "seconds": 0.5}, {"expect": 5}]
    seen, judged = emulated.tried(PLAIN, steps)
    assert seen.ended == "unmet"
    assert judged.symptom == Symptom(Kind.WRONG_RESULT, None, "the scenario expects 5 finished in step 6"), judged
    assert seen.quiet < 0.5, "quiet that was asked for is none"


def test_whoever_is_killed_leaves_no_relay(emulated: Bench, tmp_path: Path) -> None:
    """The relay is a program of the place's: it goes with it, whatever ends the trial."""
    environment = Environment("this", sys.executable, f"{sys.prefix}/bin")
    layout = tmp_path / "tree"
    layout.mkdir()
    from bisect_celery.lab.relay import Relay

    with emulated.stack.place("killed", layout, environment, tmp_path / "artifacts", Token()) as place:
        relay = Relay(place, environment, Token())
        pid = cast(Any, relay)._running.pid
        assert proc.start_time(pid) is not None
    assert proc.start_time(pid) is None
