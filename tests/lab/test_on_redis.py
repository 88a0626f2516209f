"""Trials on a Redis of their own: what is as on RabbitMQ is seen by other means, and what cannot be seen is no fact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_shop import PROBE, SILENT, Bench

from bisect_celery.model import Kind, Symptom

pytestmark = pytest.mark.redis

HEAD = """
import os, time
from celery import Celery
app = Celery("shop", broker="redis://production.example/0", backend="rpc://")
app.conf.worker_prefetch_multiplier = 1
"""
WORK = """
@app.task
def work(n):
    return n * 2
"""
# Names as a shared server makes people choose them, and a hash that is not called `unacked`.
RENAMED = """
app.conf.broker_transport_options = {"global_keyprefix": "shop:", "unacked_key": "taken", "priority_steps": [0, 5]}
app.conf.task_default_priority = 7
"""
LATE_AND_STUCK = """
@app.task(acks_late=True)
def work(n):
    time.sleep(600)
"""


def test_a_project_with_names_of_its_own_completes_and_is_sent_to_by_us_as_well(redis: Bench) -> None:
    seen, judged = redis.tried(HEAD + RENAMED + WORK)
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert "queue 0/0, every slot free" in judged.rule
    assert {message.sources for message in seen.messages} == {("event", "log", "result")}
    assert seen.heard == ("boot", "event", "log")
    assert seen.worker.broker_kind == "redis"
    seen, judged = redis.tried(HEAD + RENAMED + WORK, probe=replace(PROBE, sender="harness", queue="celery"))
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)


def test_what_a_worker_holds_is_counted_under_other_names_too(redis: Bench) -> None:
    seen, judged = redis.tried(HEAD + RENAMED + LATE_AND_STUCK, deadlines=SILENT)
    assert judged.symptom.kind is Kind.STUCK_IN_TASK, (judged, seen)
    (queue,) = seen.queues
    assert (queue.name, queue.ready, queue.unacked, queue.consumers) == ("celery", 2, 2, 1)


def test_nobody_consumes_by_the_word_of_the_worker(redis: Bench) -> None:
    seen, judged = redis.tried(HEAD + WORK, deadlines=SILENT, worker=("-c", "2", "-Q", "mail"))
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, "no consumer"), (judged, seen)
    assert [(queue.name, queue.ready, queue.consumers) for queue in seen.queues if queue.ready] == [("celery", 4, 0)]


def test_who_cannot_be_asked_is_ready_by_its_log_and_what_it_consumes_is_unknown(redis: Bench) -> None:
    silent = HEAD + "app.conf.worker_enable_remote_control = False\n" + WORK
    seen, judged = redis.tried(silent, deadlines=SILENT, worker=("-c", "2", "-Q", "mail"))
    assert not seen.answered
    assert judged.symptom == Symptom(Kind.NEVER_RECEIVED, None, None), (judged, seen)
    assert {queue.consumers for queue in seen.queues if queue.ready} == {None}


def test_a_worker_comes_back_after_a_cut_and_after_a_restart_that_keeps_what_waited(redis: Bench) -> None:
    steps = [
        {"send": 4},
        {"wait": "finished"},
        {"cut": 0.3},
        {"send": 2},
        {"wait": "finished"},
        {"restart-broker": 0.3},
    ]
    seen, judged = redis.tried(HEAD + WORK, steps)
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert [fault.what for fault in seen.faults] == [
        "the worker cut off for 0.3 s (connections closed)",
        "the broker restarted, 0.3 s away",
    ]
    assert {message.starts for message in seen.messages} == {1}


def test_what_an_older_revision_left_waits_for_the_next_one(redis: Bench, tmp_path: Path) -> None:
    pickles = HEAD + "app.conf.task_serializer = 'pickle'\napp.conf.accept_content = ['json', 'pickle']" + WORK
    old = redis.left_by(pickles, tmp_path / "earlier")
    assert (old.messages, len(old.ids)) == (4, 4)
    seen, judged = redis.tried(HEAD + WORK, before=old, deadlines=SILENT)
    assert judged.symptom.kind is Kind.TASK_FAILED, (judged, seen)
    assert judged.symptom.exception == "ContentDisallowed"
    assert {message.state for message in seen.messages if message.wave == 1} == {"SUCCESS"}
