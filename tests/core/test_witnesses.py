"""One failure, whoever saw it: a worker that is known to do one thing, seen by some witnesses and not by others.

What a project switches off (events, its log, results, remote control) may leave a trial unknown. It must never make
another failure of it, and no success.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core import judge
from bisect_celery.core.ledger import Ledger
from bisect_celery.model import Kind, Observation, QueueCount, WorkerFacts

SLOTS, PREFETCH = 2, 4


@dataclass(frozen=True)
class Witnesses:
    """Who can be heard. `known`: the sender knows when the task acknowledges (of a probe file's it does not)."""

    events: bool = True
    log: bool = True
    results: bool = True
    answers: bool = True
    known: bool = True


@dataclass
class Worker:
    """What it does is told to the witnesses that are there; `lost` says whether the next event is. That happens where
    a pool is one of threads, which names no processes."""

    witnesses: Witnesses
    late: bool
    lost: Callable[[], bool] = lambda: False
    process: str | None = "ForkPoolWorker-1"
    ledger: Ledger = field(default_factory=Ledger)
    at: float = 1.0
    running: list[str] = field(default_factory=list)

    def now(self) -> float:
        self.at += 0.01
        return self.at

    def event(self) -> bool:
        return self.witnesses.events and not self.lost()

    def take(self, identity: str) -> None:
        for there in (self.event(), self.witnesses.log):
            if there:
                self.ledger.received(self.now(), identity)

    def begin(self, identity: str) -> None:
        self.running.append(identity)
        if self.event():
            self.ledger.started(self.now(), identity)

    def end_body(self, identity: str, state: str = "SUCCESS") -> None:
        """The pool process tells the log and the result backend before anybody hears that it is done."""
        told = {} if state == "SUCCESS" else {"exception": "ValueError", "detail": "no"}
        if self.witnesses.log:
            self.ledger.finished(self.now(), identity, state, "log", process=self.process, **told)
        if self.witnesses.results:
            self.ledger.finished(self.now(), identity, state, "result", **told)

    def give_back(self, identity: str, state: str = "SUCCESS") -> None:
        self.running.remove(identity)
        told = {} if state == "SUCCESS" else {"exception": "ValueError", "detail": "no"}
        if self.event():
            self.ledger.finished(self.now(), identity, state, "event", **told)

    def ask_again(self, identity: str) -> None:
        self.running.remove(identity)
        for source, there in (("log", self.witnesses.log), ("event", self.event())):
            if there:
                self.ledger.retried(self.now(), identity, "OSError", "gone", source=source)

    def do(self, identity: str, state: str = "SUCCESS") -> None:
        self.take(identity)
        self.begin(identity)
        self.end_body(identity, state)
        self.give_back(identity, state)

    def send(self, wave: int, count: int) -> list[str]:
        sent = [f"{wave}-{number}" for number in range(count)]
        for identity in sent:
            self.ledger.sent(self.now(), identity, wave)
            self.ledger.published(self.now(), identity)
        return sent

    def seen(self, ready: int = 0, unacked: int = 0, later: int = 0, *, hangs: bool = False) -> Observation:
        """As the watch would end it: complete where all is final, drained and proven, else in silence.

        A main process that `hangs` answered when it was ready, and does not now."""
        ledger, witnesses, answered = self.ledger, self.witnesses, self.witnesses.answers
        witnesses = replace(witnesses, answers=answered and not hangs)
        ledger.counted(self.now(), [QueueCount("celery", ready, unacked, consumers=1)])
        ledger.heard |= {name for name, there in (("event", witnesses.events), ("log", witnesses.log)) if there}
        held = len(self.running) if witnesses.answers else None
        for identity in self.running if witnesses.answers else ():
            ledger.runs(self.now(), identity)
        proven = held == 0 or (held is None and ledger.all_returned())
        if witnesses.answers:
            ledger.set_aside(0, later)
        complete = ledger.all_over(stored=witnesses.results) and proven
        facts = WorkerFacts(acks_late=self.late if witnesses.known else None, ignore_result=not witnesses.results)
        if facts.acks_late is None and self.running and witnesses.answers:
            facts = WorkerFacts(acks_late=self.late, ignore_result=not witnesses.results)
        ended = "complete" if complete else "quiet"
        observation = ledger.observation(
            self.at + 9, worker=facts, held=held, scheduled=None if held is None else later, ended=ended, ready_at=0.5
        )
        return replace(observation, answered=answered)


def healthy(worker: Worker) -> tuple[Observation, set[Kind]]:
    for wave in (1, 2):
        for identity in worker.send(wave, 7):
            worker.do(identity)
    return worker.seen(), {Kind.COMPLETED}


def healthy_at_the_second_try(worker: Worker) -> tuple[Observation, set[Kind]]:
    for wave in (1, 2):
        for identity in worker.send(wave, 7):
            worker.take(identity)
            worker.begin(identity)
            worker.ask_again(identity)
            worker.do(identity)
    return worker.seen(), {Kind.COMPLETED}


def healthy_and_sends_another_for_later(worker: Worker) -> tuple[Observation, set[Kind]]:
    for wave in (1, 2):
        for identity in worker.send(wave, 7):
            worker.do(identity)
            worker.take(f"after-{identity}")
    return worker.seen(0, 14, 14), {Kind.COMPLETED}


def raises(worker: Worker) -> tuple[Observation, set[Kind]]:
    for identity in worker.send(1, 7):
        worker.do(identity, "FAILURE")
    return worker.seen(), {Kind.TASK_FAILED}


def _taken(worker: Worker) -> tuple[list[str], int, int]:
    """(what the slots run, how many wait, how many are unacknowledged)."""
    sent = worker.send(1, 7)
    held = PREFETCH if worker.late else SLOTS + PREFETCH
    for identity in sent[:held]:
        worker.take(identity)
    for identity in sent[:SLOTS]:
        worker.begin(identity)
    return sent[:SLOTS], len(sent) - held, PREFETCH


def hangs(worker: Worker) -> tuple[Observation, set[Kind]]:
    _, ready, unacked = _taken(worker)
    return worker.seen(ready, unacked), {Kind.STUCK_IN_TASK}


def after(worker: Worker) -> set[Kind]:
    """Without a witness of the body's end nobody can tell that it hangs behind it."""
    told = worker.witnesses.log or worker.witnesses.results
    name = Kind.EXECUTED_NOT_ACKED if worker.late else Kind.SLOT_LOST
    # Of what neither the sender nor the worker says when it acknowledges only the counts tell, which count both.
    both = {Kind.EXECUTED_NOT_ACKED, Kind.SLOT_LOST}
    known = worker.witnesses.known or worker.witnesses.answers
    return ({name} if known else both) if told else {Kind.STUCK_IN_TASK}


def hangs_behind_its_body(worker: Worker) -> tuple[Observation, set[Kind]]:
    running, ready, unacked = _taken(worker)
    for identity in running:
        worker.end_body(identity)
    return worker.seen(ready, unacked), after(worker)


def one_slot_hangs_behind_its_body(worker: Worker) -> tuple[Observation, set[Kind]]:
    first, *others = worker.send(1, 7)
    worker.take(first)
    worker.begin(first)
    worker.end_body(first)
    for identity in others:
        worker.do(identity)
    if not worker.late:
        for identity in worker.send(2, SLOTS):
            worker.do(identity)
    return worker.seen(0, int(worker.late)), after(worker)


def is_not_taken(worker: Worker) -> tuple[Observation, set[Kind]]:
    return worker.seen(len(worker.send(1, 7)), 0), {Kind.NEVER_RECEIVED}


def hangs_in_its_main_process(worker: Worker) -> tuple[Observation, set[Kind]]:
    worker.send(1, 7)
    seen = worker.seen(7 - PREFETCH, PREFETCH, hangs=True)
    return seen, {Kind.NEVER_RECEIVED}


def hangs_in_its_main_process_as_it_takes_the_first(worker: Worker) -> tuple[Observation, set[Kind]]:
    worker.take(worker.send(1, 7)[0])
    return worker.seen(7 - PREFETCH, PREFETCH, hangs=True), {Kind.NEVER_RECEIVED}


Does = Callable[[Worker], tuple[Observation, set[Kind]]]
DOES: tuple[Does, ...] = (
    healthy,
    healthy_at_the_second_try,
    healthy_and_sends_another_for_later,
    raises,
    hangs,
    hangs_behind_its_body,
    one_slot_hangs_behind_its_body,
    is_not_taken,
    hangs_in_its_main_process,
    hangs_in_its_main_process_as_it_takes_the_first,
)


@pytest.mark.parametrize("does", DOES)
def test_who_looks_does_not_change_what_is_seen(does: Does) -> None:
    for there in itertools.product((False, True), repeat=6):
        seen, truth = does(Worker(Witnesses(*there[:5]), late=there[5]))
        found = judge.symptom(seen)
        assert found.symptom.kind in truth | {Kind.UNKNOWN}, (there, found, seen)


@settings(max_examples=300)
@given(st.sampled_from(DOES), st.booleans(), st.booleans(), st.randoms(use_true_random=False), st.floats(0.05, 0.9))
def test_events_that_are_lost_make_no_other_failure(
    does: Does, late: bool, answers: bool, chance: Any, rate: float
) -> None:
    worker = Worker(Witnesses(answers=answers), late, lost=lambda: chance.random() < rate, process=None)
    seen, truth = does(worker)
    found = judge.symptom(seen)
    assert found.symptom.kind in truth | {Kind.UNKNOWN}, (found, seen)


@pytest.mark.parametrize("does", DOES)
@pytest.mark.parametrize("late", [True, False])
def test_with_every_witness_it_is_known(does: Does, late: bool) -> None:
    seen, truth = does(Worker(Witnesses(), late))
    assert judge.symptom(seen).symptom.kind in truth
