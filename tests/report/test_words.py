"""Counts in words: the sentence a person reads instead of the facts."""

from __future__ import annotations

import dataclasses

import pytest
from from_types import values
from hypothesis import HealthCheck, given, settings
from incident import completed, stuck, unbootable

from bisect_celery.model import (
    Failure,
    Fault,
    Kind,
    Message,
    Observation,
    QueueCount,
    Stage,
    Symptom,
    Verdict,
    WorkerFacts,
)
from bisect_celery.report import words

SENT = tuple(Message(f"m{n}", 0, 1.0) for n in range(4))


def change(count: int, **changes: object) -> tuple[Message, ...]:
    return tuple(dataclasses.replace(one, **changes) for one in SENT[:count]) + SENT[count:]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (stuck(), "20 sent; 2 bodies ran, 0 acknowledged; 2 of 2 slots held, 18 waiting"),
        (completed(), "20 sent; 20 bodies ran, 20 acknowledged; 0 of 2 slots held, 0 waiting"),
        (unbootable(), "the worker did not start (ImportError; missing: module shop.mail)"),
        (
            dataclasses.replace(stuck(), queues=(QueueCount("mail", 12, 8),)),
            "20 sent; 2 bodies ran, 0 acknowledged; 2 of 2 slots held, 12 waiting and 6 more taken but not begun",
        ),
        (
            Observation(9.0, None, WorkerFacts(concurrency=2), 1.0, change(2, starts=1, started=1.5)),
            "4 sent; 2 bodies began, none ended",
        ),
        (
            Observation(9.0, messages=change(1, starts=1, state="SUCCESS"), queues=(QueueCount("q", 3, 0),), held=1),
            "4 sent; 1 body ran, 1 acknowledged; 1 slot held, 3 waiting",
        ),
        (
            Observation(9.0, messages=change(4, starts=2, state="FAILURE", exception="ValueError")),
            "4 sent; 4 bodies ran; 4 ended in failure with ValueError, 4 ran more than once",
        ),
        (
            Observation(9.0, messages=SENT, queues=(QueueCount("q", 4, 0),), worker_exit=-11, worker_exit_at=3.21),
            "4 sent; 0 bodies ran, 0 acknowledged; 4 waiting; "
            "the worker ended by itself with signal SIGSEGV after 3.2 s",
        ),
        (Observation(9.0, messages=SENT, children_lost=1), "4 sent; 0 bodies ran; 1 pool child died"),
        (
            Observation(9.0, messages=change(1, unread=True), faults=(Fault("the broker restarted", 1.0, 2.0),)),
            "4 sent, 1 of them by the older revision; 0 bodies ran; the broker restarted",
        ),
        (
            Observation(9.0, messages=SENT, queues=(QueueCount("q", 1, 0),)),
            "4 sent, nothing seen of 3; 0 bodies ran, 0 acknowledged; 1 waiting",
        ),
        (Observation(9.0, foreign_broker="amqp://u:p@prod/"), "the worker went to another broker"),
        (Observation(9.0, messages=SENT, unregistered=True), "the worker does not know a task; 4 sent; 0 bodies ran"),
        (Observation(9.0), "nothing was sent"),
        (Observation(9.0, Failure(Stage.PREPARE, "private")), "its prepare command failed"),
        (
            Observation(
                1.0, messages=(Message("a", 1, 0.0, state="SUCCESS", checked="false"),), memory=(51200, 102400)
            ),
            "1 sent; 1 body ran; 1 returned a wrong value, 100 MiB at most in a process",
        ),
        (
            Observation(1.0, log_required=0, log_forbidden=2, children_replaced=3),
            "2 lines in the log that must not be there, the line that must be there is not in the log; "
            "3 pool processes were replaced for their memory",
        ),
    ],
)
def test_facts(seen: Observation, sentence: str) -> None:
    assert words.facts(seen) == sentence


@given(seen=values(Observation))
@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
def test_there_are_words_for_any_facts(seen: Observation) -> None:
    assert words.facts(seen)


@pytest.mark.parametrize("kind", Kind)
def test_every_symptom_has_a_meaning_of_its_own(kind: Kind) -> None:
    assert words.symptom(Symptom(kind))
    assert list(words.MEANINGS.values()).count(words.MEANINGS[kind]) == 1
    assert words.symptom(Symptom(kind, "ValueError")).endswith(" with ValueError")


@pytest.mark.parametrize("kind", [Kind.UNREGISTERED, Kind.STUCK_IN_TASK, Kind.NEVER_RECEIVED])
def test_another_task_is_not_said_to_be_ours(kind: Kind) -> None:
    assert words.symptom(Symptom(kind, None, "another task")) != words.symptom(Symptom(kind))


def test_pool_processes_that_die_are_not_the_worker() -> None:
    assert words.symptom(Symptom(Kind.WORKER_DIED, None, "pool processes")) == "pool processes die"


def test_every_stage_and_verdict_has_a_word() -> None:
    assert all(words.failure(Failure(stage, "r")) for stage in Stage)
    assert [words.verdict(one) for one in Verdict] == ["good", "bad", "skip"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.04, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
        (61.0, "1 min 1 s"), (3599.6, "1 h"), (7800.0, "2 h 10 min"),
    ],
)  # fmt: skip
def test_durations(value: float, said: str) -> None:
    assert words.seconds(value) == said


def test_exit_statuses() -> None:
    assert words.exit_status(1) == "status 1"
    assert words.exit_status(-9) == "signal SIGKILL"
    assert words.exit_status(-99) == "signal 99"
