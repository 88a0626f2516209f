"""Pools that are not prefork: where a task runs in the main process, a hang may be that process's own.

What each pool shows of each failure is a table in docs/judging.md; eventlet is as gevent, and is not tried here.
"""

from __future__ import annotations

from scenario import ENDLESS, SILENT, Scenario, Tried, of

from bisect_celery.core.deadline import Deadlines
from bisect_celery.model import Kind, Probe, Symptom

HEAD = """
import os, time
from celery import Celery
from celery.signals import task_postrun, task_received
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")

def first(name):
    try:
        os.close(os.open(os.path.join(os.environ["HOME"], name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""
PLAIN = """
@app.task
def work(n):
    return n * 2
"""
LATE = "\napp.conf.task_acks_late = True\n"
THIRD_HANGS = """
@app.task
def work(n):
    return n if first("one") or first("two") else time.sleep(3600)
"""
ONE_SLOT_LOST = """
@task_postrun.connect
def after(**_):
    time.sleep(3600 if first("one") else 0)
"""
HANDLER_HANGS = """
@task_received.connect
def got(**_):
    time.sleep(3600)
"""
TRIED_AGAIN = """
@app.task(bind=True, max_retries=None, default_retry_delay=0.3)
def work(self, n):
    raise self.retry(exc=KeyError("price"))
"""
NEVER_READY = """
import sys
if "worker" in sys.argv:
    time.sleep(3600)
"""
PATCHED = "from gevent import monkey\nmonkey.patch_all()\n"
SOLO, THREADS, GREEN = ("-P", "solo"), ("-P", "threads", "-c", "2"), ("-P", "gevent", "-c", "1000")
FEW = Probe("shop.work", "[3]", count=3)


# --- solo: the main process runs the tasks itself ----------------------------------------------------


@of(Scenario(HEAD + THIRD_HANGS, worker=SOLO, deadlines=SILENT))
def test_a_body_that_hangs_is_the_main_process_that_hangs(tried: Tried) -> None:
    """It keeps its events and answers nobody: its log is what tells that the third one was taken."""
    assert tried.kind is Kind.STUCK_IN_TASK, (tried.seen, tried.observation)
    assert tried.seen.symptom.where in ("its own code", None)
    assert tried.observation.held is None
    assert tried.observation.answered
    assert [message.state for message in tried.messages].count("SUCCESS") == 2


@of(Scenario(HEAD + PLAIN + ONE_SLOT_LOST, worker=SOLO, deadlines=SILENT))
def test_what_hangs_after_a_body_is_a_slot_lost(tried: Tried) -> None:
    assert tried.kind is Kind.SLOT_LOST, (tried.seen, tried.observation)


@of(Scenario(HEAD + LATE + PLAIN + ONE_SLOT_LOST, worker=SOLO, deadlines=SILENT))
def test_what_hangs_after_a_body_was_not_acknowledged_where_that_comes_late(tried: Tried) -> None:
    assert tried.kind is Kind.EXECUTED_NOT_ACKED, (tried.seen, tried.observation)


@of(Scenario(HEAD + PLAIN + HANDLER_HANGS, worker=SOLO, deadlines=SILENT))
def test_only_where_it_stands_tells_a_hang_before_the_task_from_one_within(tried: Tried) -> None:
    assert tried.kind is Kind.STUCK_IN_TASK, (tried.seen, tried.observation)
    assert tried.seen.symptom.where in ("outside of its tasks: its own code", None)


# --- threads and greenlets ---------------------------------------------------------------------------


@of(Scenario(HEAD + PLAIN + ONE_SLOT_LOST, worker=THREADS, deadlines=SILENT))
def test_to_be_asked_is_no_work_of_a_task(tried: Tried) -> None:
    """Its tasks' threads are the main process's, which computes whenever it is asked what it holds."""
    assert tried.kind is Kind.SLOT_LOST, (tried.seen, tried.observation)
    assert (tried.observation.held, tried.observation.ended) == (1, "quiet")


@of(Scenario(HEAD + TRIED_AGAIN, probe=FEW, worker=THREADS, deadlines=ENDLESS))
def test_why_a_task_asks_to_be_run_again_is_the_same_in_every_pool(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.STUCK_IN_TASK, "KeyError", "retry: 'price'"), tried.seen


@of(Scenario(PATCHED + HEAD + PLAIN, worker=GREEN))
def test_a_thousand_greenlets_take_no_more_probes_than_a_few_slots(tried: Tried) -> None:
    """And a project that patches Python where it is imported is sent from as any other."""
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert tried.observation.worker.concurrency == 1000
    assert [message.wave for message in tried.messages] == [1] * 20 + [2] * 4
    assert {message.sources for message in tried.messages} == {("event", "log", "result")}


@of(Scenario(HEAD + PLAIN + ONE_SLOT_LOST, worker=GREEN, deadlines=SILENT))
def test_a_greenlet_that_never_ends_is_a_slot_lost(tried: Tried) -> None:
    assert tried.kind is Kind.SLOT_LOST, (tried.seen, tried.observation)
    assert (tried.observation.held, tried.observation.ended) == (1, "quiet")


@of(Scenario(HEAD + NEVER_READY, deadlines=Deadlines(boot=25, quiet=4, total=60)))
def test_a_worker_that_is_never_ready_is_told_with_where_it_waits(tried: Tried) -> None:
    """The sender loads the same module, so only the worker may wait in it."""
    assert tried.kind is Kind.BOOT_FAILED, (tried.seen, tried.observation)
    assert tried.observation.failure is not None
    assert tried.observation.failure.timed_out
    assert tried.worker_ran
    assert tried.seen.symptom.where in ("its own code", None), "None where nobody may look"
    assert tried.seen.symptom.where is None or tried.observation.dumps
