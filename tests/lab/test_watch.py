"""One trial from end to end: what a tiny project does, and what is seen of it."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from scenario import ENDLESS, SILENT, Scenario, Tried, of

from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Signature
from bisect_celery.model import Kind, Probe, Stage, Symptom

HEAD = """\
import os, signal, subprocess, sys, threading, time
from celery import Celery, Task
from celery.exceptions import Ignore
from celery.signals import task_postrun, worker_init

app = Celery("shop", broker="amqp://production.example//", backend="rpc://")
app.conf.worker_prefetch_multiplier = 1
"""
PLAIN = """
@app.task
def work(n):
    return n * 2
"""
HANG_AFTER = """
@task_postrun.connect
def after(**_):
    time.sleep(3600)
"""
LOSES_RESULTS = """
if "worker" in sys.argv:
    type(app.backend).store_result = lambda *_, **__: None
"""
ONE_HANGS_AFTER = """
@task_postrun.connect
def after(**_):
    try:
        os.close(os.open(os.path.join(os.environ["HOME"], "first"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    time.sleep(3600)
"""
FEW = Probe("shop.work", "[3]", count=4)
WAVES = 20 + 2  # at least twenty probes, then one for each slot


def shop(*parts: str) -> str:
    return HEAD + "\n".join(textwrap.dedent(part) for part in parts)


# --- healthy -----------------------------------------------------------------------------------------


def assert_completed(tried: Tried, *sources: str) -> None:
    seen = tried.observation
    assert tried.kind is Kind.COMPLETED, (tried.seen, seen)
    assert seen.ended == "complete"
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert {message.wave for message in tried.messages} == {1, 2}
    assert {message.sources for message in tried.messages} == {sources}
    assert {message.starts for message in tried.messages} == {1}
    assert tried.counts() == (0, 0)
    assert seen.worker_exit is None
    assert seen.failure is None
    assert seen.children_lost == 0


TOKEN = "app.conf.api_token = os.environ['TOKEN']"


@of(Scenario(shop(PLAIN, "app.conf.event_exchange = 'shop.told'")))
def test_events_may_go_elsewhere(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")


@of(Scenario(shop(TOKEN, PLAIN), variables=(("TOKEN", "a-canary-of-ours"),)))
def test_good(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert "a-canary-of-ours" in tried.secrets, "told, so that it can be taken out of everything"
    assert len(tried.messages) == WAVES
    seen = tried.observation
    assert seen.held == 0
    assert {message.value for message in tried.messages} == {"6"}
    assert seen.worker.concurrency == 2
    assert seen.worker.acks_late is False
    assert seen.ready_at is not None
    assert 0 < seen.quiet < seen.until - seen.ready_at
    for message in tried.messages:
        assert message.started is not None
        assert message.finished is not None
        assert seen.ready_at <= message.sent <= message.started


@of(Scenario(shop(PLAIN), worker=("-c", "1", "-P", "solo")))
def test_the_solo_pool_is_judged_like_any_other(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert tried.observation.held == 0


@of(Scenario(shop(PLAIN), worker=("-c", "2", "-P", "threads")))
def test_the_threads_pool_is_judged_like_any_other(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert tried.observation.held == 0


@of(Scenario(shop("app.conf.worker_enable_remote_control = False", PLAIN)))
def test_a_worker_that_cannot_be_asked_is_good_by_its_main_process_word(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert tried.observation.held is None


@of(Scenario(shop("@app.task(ignore_result=True)\ndef work(n): return n * 2")))
def test_ignored_results_need_none(tried: Tried) -> None:
    assert_completed(tried, "event", "log")
    assert {message.stored for message in tried.messages} == {None}


@of(Scenario(shop(PLAIN).replace(', backend="rpc://"', "")))
def test_without_a_result_backend_events_and_the_log_tell(tried: Tried) -> None:
    assert_completed(tried, "event", "log")
    assert tried.observation.worker.result_backend in (None, "disabled")


@of(Scenario(shop(PLAIN), probe=Probe(None, '["any"]')))
def test_with_no_task_named_one_is_sent_that_every_celery_has(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert {message.value for message in tried.messages} == {'["any"]'}


@of(
    Scenario(
        shop(
            """
            @app.task(bind=True)
            def work(self, n):
                if self.request.retries == 0:
                    raise self.retry(countdown=0)
                return n
            """
        )
    )
)
def test_a_retry_that_the_task_asked_for_is_no_redelivery(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert {message.retries for message in tried.messages} == {1}
    assert {message.exception for message in tried.messages} == {None}


@of(Scenario(shop(PLAIN), worker=("-c", "2", "--max-tasks-per-child", "6")))
def test_children_that_are_replaced_in_time_are_not_lost(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")


@of(
    Scenario(
        shop(
            """
            print("not our words", end="")
            sys.stdout.write('{"event": "foreign", "address": "nowhere"}\\n')
            os.write(1, b'{"event": "failed", "exception": "Nonsense"')
            subprocess.call(["echo", '{"event": "loaded"}'])
            sys.stdout.flush()
            threading.Thread(target=time.sleep, args=(3600,)).start()
            """,
            PLAIN,
        )
    )
)
def test_what_the_app_prints_is_not_the_senders_word_and_its_threads_keep_nobody(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")


@of(
    Scenario(
        shop(
            """
            @worker_init.connect
            def declare(**_):
                with app.connection_for_write() as connection:
                    connection.default_channel.queue_declare("dead.letters", durable=True, auto_delete=False)
            """,
            PLAIN,
        )
    )
)
def test_a_queue_that_nobody_is_to_consume_does_not_hold_up_the_boot(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")
    assert "dead.letters" in {queue.name for queue in tried.observation.queues}


SPARES = "app.conf.broker_url = ['amqp://localhost//', 'amqp://spare.example//']"


@of(Scenario(shop(SPARES, PLAIN).replace("rpc://", "redis://production.example/0"), result_url="rpc://"))
def test_a_replaced_result_backend_serves_and_spare_brokers_are_overridden(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")


# --- tasks that fail ---------------------------------------------------------------------------------


@of(Scenario(shop("@app.task\ndef work(n): raise KeyError('order-%d' % n, os.getpid())")))
def test_a_raising_task(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.TASK_FAILED, "KeyError", "(<text>, <n>)")
    assert {message.state for message in tried.messages} == {"FAILURE"}
    assert {message.sources for message in tried.messages} == {("event", "log", "result")}
    assert len(tried.messages) == WAVES
    assert tried.counts() == (0, 0)


@of(Scenario(shop("@app.task(ignore_result=True)\ndef work(n): raise KeyError('order-%d' % n, os.getpid())")))
def test_a_raising_task_whose_result_nobody_keeps_shows_the_same(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.TASK_FAILED, "KeyError", "(<text>, <n>)")
    assert {message.sources for message in tried.messages} == {("event", "log")}


@of(
    Scenario(
        shop(
            """
            class Audited(Task):
                def on_success(self, retval, task_id, args, kwargs):
                    raise AttributeError("module 'audit' has no attribute 'trail'")

            @app.task(base=Audited)
            def work(n):
                return n
            """
        )
    )
)
def test_a_raising_on_success_is_no_success_whatever_the_result_says(tried: Tried) -> None:
    assert tried.kind is Kind.TASK_FAILED, tried.seen
    assert tried.seen.symptom.exception == "AttributeError"


@of(Scenario(shop("@app.task\ndef work(n): raise Ignore()")))
def test_a_task_that_ignores_itself_is_no_success(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.TASK_FAILED, None, "IGNORED")


@of(Scenario(shop(PLAIN), probe=Probe(None, '["any"]', sender="harness", queue="celery")))
def test_a_task_that_every_celery_has_is_sent_from_outside_too(tried: Tried) -> None:
    assert_completed(tried, "event", "log")


@of(Scenario(shop(PLAIN), probe=Probe("shop.gone", "[3]")))
def test_an_unregistered_task(tried: Tried) -> None:
    assert tried.kind is Kind.UNREGISTERED
    assert tried.observation.unregistered
    assert "shop.gone" not in tried.observation.worker.registered


@of(Scenario(shop(PLAIN), probe=Probe("shop.work", "[3]", expect="7")))
def test_another_value_than_expected(tried: Tried) -> None:
    assert tried.kind is Kind.WRONG_RESULT
    assert {message.value for message in tried.messages} == {"6"}


@of(
    Scenario(
        shop(
            """
            from decimal import Decimal
            @app.task(serializer="pickle")
            def work(n):
                return {"price": Decimal("3.50"), 1: n}
            app.conf.accept_content = app.conf.result_accept_content = ["json", "pickle"]
            app.conf.result_serializer = "pickle"
            """
        ),
        probe=Probe("shop.work", "[3]", expect='{"price": "3.50", "1": 3}'),
    )
)
def test_a_value_that_json_has_no_words_for_is_still_a_value(tried: Tried) -> None:
    assert tried.kind is Kind.WRONG_RESULT, tried.seen  # told as a text of its own, since its keys are of two kinds
    assert all(message.value and "3.50" in message.value for message in tried.messages)


@of(
    Scenario(
        shop(
            """
            class Unsendable(Task):
                def apply_async(self, *args, **kwargs):
                    raise TypeError("create_engine() got an unexpected keyword argument 'retry'")

            @app.task(base=Unsendable)
            def work(n):
                return n
            """
        )
    )
)
def test_publishing_raises(tried: Tried) -> None:
    template = "publishing: TypeError: create_engine() got an unexpected keyword argument 'retry'"
    assert tried.seen.symptom == Symptom(Kind.TASK_FAILED, "TypeError", template)
    assert tried.observation.failure is not None
    assert tried.observation.failure.stage is Stage.PROBE


@of(Scenario(shop("app.conf.task_always_eager = True", PLAIN)))
def test_tasks_that_would_run_in_the_sender_prove_nothing_of_a_worker(tried: Tried) -> None:
    assert tried.kind is Kind.TASK_FAILED
    assert tried.seen.symptom.exception == "NotPublished"
    assert {message.state for message in tried.messages} == {None}


RESULT_FILES = shop(PLAIN).replace('"rpc://"', '"file://" + os.environ["HOME"]')


@of(Scenario(RESULT_FILES))
def test_results_in_files(tried: Tried) -> None:
    assert_completed(tried, "event", "log", "result")


@of(
    Scenario(
        RESULT_FILES
        + textwrap.dedent(
            """
            def get_task_meta(self, *_):
                raise LookupError("no such column: children")

            if "worker" not in sys.argv:
                type(app.backend).get_task_meta = get_task_meta
            """
        )
    )
)
def test_results_that_cannot_be_read(tried: Tried) -> None:
    template = "LookupError: no such column: children"
    assert tried.seen.symptom == Symptom(Kind.RESULT_LOST, "LookupError", template), tried.seen
    assert tried.observation.failure is not None
    assert tried.observation.failure.stage is Stage.RESULT


@of(Scenario(shop(PLAIN, LOSES_RESULTS), deadlines=SILENT))
def test_results_that_never_come(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.RESULT_LOST), tried.seen
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert {message.stored for message in tried.messages} == {None}


# --- tasks that never end ----------------------------------------------------------------------------


@of(Scenario(shop("@app.task\ndef work(n): time.sleep(3600)"), deadlines=SILENT))
def test_a_hang_in_the_body(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.STUCK_IN_TASK)
    seen = tried.observation
    assert seen.ended == "quiet"
    assert seen.held == 2
    assert seen.until - seen.last_progress >= SILENT.quiet
    assert len([message for message in tried.messages if message.started is not None]) == 2
    assert {message.state for message in tried.messages} == {None}


@of(
    Scenario(
        shop("@app.task\ndef work(n): time.sleep(3600)"),
        deadlines=Deadlines(boot=90, quiet=60, total=120, quick=2),
        signature=Signature(Symptom(Kind.STUCK_IN_TASK)),
    )
)
def test_a_hang_that_looks_like_the_bad_end_is_believed_sooner(tried: Tried) -> None:
    assert tried.kind is Kind.STUCK_IN_TASK
    assert 2 <= tried.observation.until - tried.observation.last_progress < 60


@of(
    Scenario(
        shop("@app.task\ndef work(n): time.sleep(3600)"),
        deadlines=Deadlines(boot=90, quiet=5, total=120, quick=1),
        signature=Signature(Symptom(Kind.SLOT_LOST)),
    )
)
def test_a_hang_that_looks_otherwise_is_given_all_its_time(tried: Tried) -> None:
    assert tried.kind is Kind.STUCK_IN_TASK
    assert tried.observation.until - tried.observation.last_progress >= 5


COMPUTES = """
@app.task
def work(n):
    end = time.process_time() + SECONDS
    while time.process_time() < end:
        n = n * 3 % 1009
"""
TWO = Probe("shop.work", "[3]", count=2)
HASTY = Deadlines(boot=90, quiet=2, total=120, quick=1)


@of(
    Scenario(
        shop(COMPUTES.replace("SECONDS", "3")),
        probe=TWO, deadlines=HASTY, signature=Signature(Symptom(Kind.STUCK_IN_TASK)),
    )
)  # fmt: skip
def test_who_computes_is_not_stuck_however_silent(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert tried.observation.quiet > 2


@of(Scenario(shop(COMPUTES.replace("SECONDS", "3600")), probe=TWO, deadlines=replace(ENDLESS, quiet=2)))
def test_who_computes_for_ever_is(tried: Tried) -> None:
    assert tried.observation.ended == "total"
    assert tried.seen.symptom == Symptom(Kind.STUCK_IN_TASK), tried.seen


@of(Scenario(shop("app.conf.task_acks_late = True", PLAIN, HANG_AFTER), deadlines=SILENT))
def test_a_hang_after_the_body_with_late_acknowledgement(tried: Tried) -> None:
    assert tried.kind is Kind.EXECUTED_NOT_ACKED, tried.seen
    succeeded = [message for message in tried.messages if message.state == "SUCCESS"]
    assert len(succeeded) == 2
    assert {message.sources for message in succeeded} == {("log", "result")}
    assert tried.observation.held == 2
    assert tried.counts() == (18, 2)


@of(Scenario(shop(PLAIN, HANG_AFTER), deadlines=SILENT))
def test_a_hang_after_the_body_with_early_acknowledgement(tried: Tried) -> None:
    assert tried.kind is Kind.SLOT_LOST, tried.seen
    assert len([message for message in tried.messages if message.state == "SUCCESS"]) == 2
    assert tried.observation.held == 2
    assert tried.counts() == (16, 2)


@of(Scenario(shop(PLAIN, ONE_HANGS_AFTER), deadlines=SILENT))
def test_a_single_slot_lost_behind_good_results_and_an_empty_queue(tried: Tried) -> None:
    """DESIGN 10: with early acknowledgement everything else says that all is well."""
    assert tried.seen.symptom == Symptom(Kind.SLOT_LOST), tried.seen
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert {message.stored for message in tried.messages} == {"SUCCESS"}
    assert len(tried.messages) == WAVES
    assert tried.counts() == (0, 0)
    assert tried.observation.held == 1


@of(
    Scenario(
        shop("app.conf.worker_enable_remote_control = False", PLAIN, ONE_HANGS_AFTER), deadlines=SILENT
    )
)  # fmt: skip
def test_a_single_slot_lost_in_a_worker_that_cannot_be_asked_shows_by_the_end_that_was_not_told(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.SLOT_LOST), tried.seen
    assert tried.observation.held is None
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert sum("event" not in message.sources for message in tried.messages) == 1


@of(Scenario(shop("app.conf.task_acks_late = True", PLAIN, ONE_HANGS_AFTER), deadlines=SILENT))
def test_a_single_slot_lost_with_late_acknowledgement(tried: Tried) -> None:
    assert tried.kind is Kind.EXECUTED_NOT_ACKED, tried.seen
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert tried.counts() == (0, 1)
    assert tried.observation.held == 1


@of(
    Scenario(
        shop(
            """
            class Guarded(Task):
                def __call__(self, *args, **kwargs):
                    value = super().__call__(*args, **kwargs)
                    time.sleep(3600)
                    return value

            @app.task(base=Guarded, acks_late=True)
            def work(n):
                print("mailed", n, flush=True)
                return n
            """
        ),
        probe=Probe("shop.work", "[3]", done_log="mailed"),
        deadlines=SILENT,
    )
)
def test_a_hang_between_body_and_result_shows_by_the_declared_effect(tried: Tried) -> None:
    assert tried.kind is Kind.EXECUTED_NOT_ACKED, tried.seen
    assert len([message for message in tried.messages if message.done is not None]) == 2
    assert {message.state for message in tried.messages} == {None}


@of(
    Scenario(
        shop(
            """
            @app.task(bind=True, max_retries=None)
            def work(self, n):
                raise self.retry(exc=ConnectionError("no order service at 10.0.0.1"), countdown=3600)
            """
        ),
        deadlines=SILENT,
    )
)
def test_tasks_that_wait_to_be_run_again(tried: Tried) -> None:
    expected = Symptom(Kind.STUCK_IN_TASK, "ConnectionError", "retry: no order service at <n>.<n>")
    assert tried.seen.symptom == expected, tried.seen


@of(
    Scenario(
        shop(
            """
            @app.task(bind=True, max_retries=None)
            def work(self, n):
                raise self.retry(exc=ConnectionError("no order service"), countdown=0)
            """
        ),
        probe=FEW,
        deadlines=ENDLESS,
    )
)
def test_tasks_that_are_run_again_for_ever(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.STUCK_IN_TASK, "ConnectionError", "retry: no order service"), tried.seen
    assert tried.observation.ended == "total"


@of(
    Scenario(
        shop("@app.task\ndef work(n): time.sleep(3); return n"),
        deadlines=replace(ENDLESS, quiet=20),
    )
)
def test_tasks_that_go_on_past_the_limit_are_slow_not_stuck(tried: Tried) -> None:
    assert tried.kind is Kind.SLOW, tried.seen
    assert any(message.state == "SUCCESS" for message in tried.messages)


@of(
    Scenario(
        shop(
            """
            @app.task
            def child():
                time.sleep(3600)

            @app.task
            def work(n):
                try:
                    os.close(os.open(os.path.join(os.environ["HOME"], "first"), os.O_CREAT | os.O_EXCL))
                    child.delay()
                except FileExistsError:
                    pass
                return n
            """
        ),
        deadlines=SILENT,
    )
)
def test_another_task_that_the_probe_sent_never_ends(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.STUCK_IN_TASK, None, "another task"), tried.seen
    assert {message.state for message in tried.messages} == {"SUCCESS"}
    assert tried.observation.held_others == 1


# --- tasks that nobody takes -------------------------------------------------------------------------


@of(Scenario(shop("app.conf.task_routes = {'shop.work': {'queue': 'mail'}}", PLAIN), deadlines=SILENT))
def test_a_route_to_a_queue_that_the_worker_does_not_consume(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.NEVER_RECEIVED, None, "no consumer"), tried.seen
    assert tried.counts() == (20, 0)
    assert {message.received for message in tried.messages} == {None}


@of(
    Scenario(
        shop(
            """
            from celery.signals import task_received
            @task_received.connect
            def wait(**_):
                time.sleep(3600)
            """,
            PLAIN,
        ),
        deadlines=SILENT,
    )
)
def test_a_main_process_that_takes_tasks_and_passes_none_on(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.NEVER_RECEIVED, None, "received"), tried.seen
    assert {message.started for message in tried.messages} == {None}
    assert tried.counts()[1] > 0


# --- deaths ------------------------------------------------------------------------------------------


@of(Scenario(shop("@app.task\ndef work(n): os.kill(os.getppid(), signal.SIGKILL)")))
def test_the_worker_is_killed_while_it_works(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.WORKER_DIED, None, "signal 9"), tried.seen
    assert tried.observation.worker_exit == -9
    assert tried.observation.ended == "exit"


@of(Scenario(shop("@app.task\ndef work(n): os._exit(3)"), worker=("-c", "1", "-P", "solo")))
def test_the_worker_ends_itself_while_it_works(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.WORKER_DIED, None, "status 3"), tried.seen


@of(Scenario(shop("@app.task\ndef work(n): os._exit(3)"), probe=FEW))
def test_pool_processes_that_die_fail_their_tasks(tried: Tried) -> None:
    assert tried.kind is Kind.TASK_FAILED, tried.seen
    assert tried.seen.symptom.exception == "WorkerLostError"
    assert tried.observation.children_lost >= 1


# A busy main process may notice late that its children ended: Celery gives itself ten seconds.
NOTICES_LATE = Deadlines(boot=90, quiet=12, total=120)


@of(Scenario(shop(PLAIN, "@task_postrun.connect\ndef after(**_): os._exit(3)"), probe=FEW, deadlines=NOTICES_LATE))
def test_pool_processes_that_die_after_good_results_are_no_success(tried: Tried) -> None:
    assert tried.kind in (Kind.WORKER_DIED, Kind.TASK_FAILED), tried.seen  # by the version of Celery
    assert tried.observation.children_lost >= 1


# --- never ready -------------------------------------------------------------------------------------


@of(Scenario("import no_such_module\n" + shop(PLAIN)))
def test_a_module_that_is_missing(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    failure = tried.observation.failure
    assert failure is not None
    assert failure.exception == "ModuleNotFoundError"
    assert failure.missing == (("module", "no_such_module"),)
    assert failure.reason == "ModuleNotFoundError: No module named 'no_such_module'"
    assert not tried.worker_ran


@of(Scenario(shop("app.conf.secret = os.environ['SHOP_SECRET']", PLAIN)))
def test_a_variable_that_is_missing(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    failure = tried.observation.failure
    assert failure is not None
    assert failure.missing == (("variable", "SHOP_SECRET"),)


@of(Scenario(shop("if 'worker' in sys.argv: from os import no_such_name", PLAIN)))
def test_an_import_that_fails_in_the_worker_only(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    failure = tried.observation.failure
    assert failure is not None
    assert failure.exception == "ImportError", failure
    assert failure.reason.startswith("ImportError: cannot import name 'no_such_name' from 'os'")
    assert tried.worker_ran
    assert tried.observation.worker_exit is None  # it never was ready, so it did not die at work


@of(Scenario(shop("if 'worker' in sys.argv: os._exit(7)", PLAIN)))
def test_a_worker_that_ends_at_boot_without_a_word(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    assert tried.observation.failure is not None
    assert tried.observation.failure.reason == "the worker ended with status 7 before it was ready"
    assert not tried.observation.failure.timed_out  # it is a fact of this revision, not of a slow moment


@of(Scenario(shop("os._exit(7)", PLAIN)))
def test_an_app_that_ends_whoever_loads_it(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    assert tried.observation.failure is not None
    assert "status 7" in tried.observation.failure.reason
    assert not tried.worker_ran


@of(Scenario(shop("sys.exit('no configuration')", PLAIN)))
def test_an_app_that_exits_where_it_is_loaded(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    assert tried.observation.failure is not None
    assert tried.observation.failure.reason == "SystemExit: no configuration"


@of(
    Scenario(
        shop("if 'worker' in sys.argv: time.sleep(3600)", PLAIN),
        deadlines=Deadlines(boot=20, quiet=20, total=60),
    )
)
def test_a_worker_that_never_comes_up(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED, tried.seen
    assert tried.observation.failure is not None
    assert tried.observation.failure.reason == "no consumer stood on a queue within 20 s"
    assert tried.observation.failure.timed_out


ENDS_WHEN_READY = """
from celery.signals import worker_ready
@worker_ready.connect
def end(**_):
    os._exit(7)
"""


def assert_never_ready(tried: Tried) -> None:
    """It had stood, and its log says "ready"; that this was seen before it had ended is chance."""
    told = "the worker ended with status <n> before it was ready"
    assert tried.seen.symptom == Symptom(Kind.BOOT_FAILED, None, told), tried.seen


@of(Scenario(shop(PLAIN, ENDS_WHEN_READY)))
def test_a_worker_that_ends_before_it_answers_did_not_boot(tried: Tried) -> None:
    assert_never_ready(tried)


@of(Scenario(shop("app.conf.worker_enable_remote_control = False", PLAIN, ENDS_WHEN_READY)))
def test_a_worker_that_cannot_be_asked_and_ends_before_it_takes_anything_did_not_boot(tried: Tried) -> None:
    assert_never_ready(tried)


@of(
    Scenario(
        shop(
            """
            from celery.signals import worker_process_init
            @worker_process_init.connect
            def end(**_):
                sys.exit("no journal")
            """,
            PLAIN,
        )
    )
)
def test_a_pool_that_does_not_start_is_the_same_failure_whenever_it_is_seen(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.WORKER_DIED, None, "pool processes"), tried.seen


# --- never ours --------------------------------------------------------------------------------------


def assert_never_started(tried: Tried, address: str) -> None:
    assert tried.kind is Kind.BROKER_NOT_REDIRECTED, tried.seen
    assert tried.observation.foreign_broker == address
    assert tried.observation.ended == "foreign"
    assert not tried.worker_ran
    assert tried.messages == ()


OVERWRITTEN = """\
import os
for name in [name for name in os.environ if "BROKER" in name]:
    os.environ[name] = "amqp://shop:pw@production.example:5673/shop"
"""


@of(Scenario(OVERWRITTEN + shop(PLAIN)))
def test_settings_that_write_over_the_variables(tried: Tried) -> None:
    assert_never_started(tried, "production.example:5673/shop")


@of(
    Scenario(
        shop(PLAIN).replace(
            "app = Celery(",
            textwrap.dedent(
                """
                class Stubborn(Celery):
                    def connection_for_read(self, url=None, **options):
                        return super().connection_for_read("amqp://production.example//", **options)

                app = Stubborn("""
            ),
        )
    )
)
def test_an_app_that_reads_from_elsewhere(tried: Tried) -> None:
    assert_never_started(tried, "production.example:5672/")


@of(Scenario(shop(PLAIN).replace("rpc://", "redis://production.example/0")))
def test_results_that_would_go_elsewhere_start_no_worker(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED
    assert tried.observation.worker.result_backend == "redis"  # by which whoever asked can replace it
    assert not tried.worker_ran


@of(
    Scenario(
        shop(PLAIN).replace("app = Celery(", "Celery.backend_cls = 'redis://production.example/0'\napp = Celery("),
        result_url="rpc://",
    )
)
def test_results_that_go_elsewhere_all_the_same_start_no_worker(tried: Tried) -> None:
    assert_never_started(tried, "its result backend `redis`")
