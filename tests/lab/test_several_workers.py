"""Several workers in one trial: ready when all of them are, proven by the slots of all, ended by the end of any."""

from __future__ import annotations

import pytest
from scenario import SILENT, Scenario, Tried, of
from small_shop import Bench

from bisect_celery.model import Kind, Symptom

HEAD = """
import os, signal, sys, time
from celery import Celery
from celery.signals import task_postrun, worker_init
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")
app.conf.worker_prefetch_multiplier = 1
app.conf.task_routes = {"shop.work": {"queue": "mail"}}
SECOND = "worker-2" in sys.argv
"""
PLAIN = """
@app.task
def work(n):
    return n * 2
"""
LATE = """
@worker_init.connect
def wait(**_):
    time.sleep(3 if SECOND else 0)
"""
ORDERS, MAIL = ("-c", "2", "-Q", "orders"), ("-c", "1", "-Q", "mail")


def assert_completed(tried: Tried) -> None:
    seen = tried.observation
    assert tried.kind is Kind.COMPLETED, (tried.seen, seen)
    assert seen.worker.concurrency == 3, "of both together"
    assert [message.wave for message in seen.messages] == [1] * 20 + [2] * 3
    assert {queue.name for queue in seen.queues} == {"orders", "mail"}


@of(Scenario(HEAD + PLAIN + LATE, worker=ORDERS, beside=(MAIL,)))
def test_ready_is_every_worker_answering(tried: Tried) -> None:
    assert_completed(tried)
    seen = tried.observation
    assert seen.held == 0
    assert seen.answered
    assert seen.ready_at is not None
    assert seen.ready_at > 3, "the first one stood and answered long before the second one did"
    assert all(message.sent >= seen.ready_at for message in seen.messages)


@of(
    Scenario(
        HEAD + PLAIN + LATE + "app.conf.worker_enable_remote_control = False",
        worker=ORDERS, beside=(MAIL,),
    )
)  # fmt: skip
def test_workers_that_cannot_be_asked_are_ready_when_each_of_them_says_so(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert tried.observation.held is None
    assert tried.observation.ready_at is not None
    assert tried.observation.ready_at > 3


ONE_HANGS = """
@task_postrun.connect
def after(**_):
    try:
        os.close(os.open(os.path.join(os.environ["HOME"], "first"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    time.sleep(3600)
"""


@of(Scenario(HEAD + PLAIN + ONE_HANGS, worker=ORDERS, beside=(("-c", "2", "-Q", "mail"),), deadlines=SILENT))
def test_a_slot_lost_in_one_of_them_is_lost(tried: Tried) -> None:
    assert tried.kind is Kind.SLOT_LOST, tried.seen
    assert tried.observation.held == 1
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    parents = [dump for dump in tried.observation.dumps if dump.role == "parent"]
    assert len({dump.pid for dump in parents}) in (0, 2), "of both, or of none where nobody may look"


@of(Scenario(HEAD + "@app.task\ndef work(n): os.kill(os.getppid(), signal.SIGKILL)", worker=ORDERS, beside=(MAIL,)))
def test_the_death_of_any_is_the_trials(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.WORKER_DIED, None, "signal 9"), tried.seen
    assert (tried.artifacts / "worker-2.err").exists()


@of(Scenario(HEAD + PLAIN + "if SECOND: raise KeyError('MAIL_HOST')", worker=ORDERS, beside=(MAIL,)))
def test_one_that_does_not_boot_is_told_by_its_own_log(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.BOOT_FAILED, "KeyError", "KeyError: 'MAIL_HOST'"), tried.seen


@pytest.mark.rabbitmq
def test_both_are_restarted_and_proven_on_rabbitmq(rabbitmq: Bench) -> None:
    steps = [{"send": 4}, {"wait": "finished"}, {"restart-worker": True}, {"send": 4}, {"wait": "finished"}]
    seen, judged = rabbitmq.tried(HEAD + PLAIN, steps, worker=ORDERS, beside=(MAIL,))
    assert judged.symptom.kind is Kind.COMPLETED, (judged, seen)
    assert [fault.what for fault in seen.faults] == ["the worker ended and started again"]
    assert seen.worker.concurrency == 3
    assert len(seen.messages) == 4 + 4 + 3
