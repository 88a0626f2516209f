"""What a hang waits in, told in names that no revision of the project changes."""

from __future__ import annotations

from bisect_celery.core.frames import OWN_CODE, parent_waits_in, tasks_wait_in
from bisect_celery.model import Dump

PACKAGES = "/site-packages"
RUNS_TASK = (
    f"build_tracer.<locals>.trace_task ({PACKAGES}/celery/app/trace.py:564)",
    f"fast_trace_task ({PACKAGES}/celery/app/trace.py:798)",
    f"Worker.workloop ({PACKAGES}/billiard/pool.py:369)",
    "<module> (celery:10)",
)
IDLE = (f"_recv ({PACKAGES}/billiard/connection.py:5)", *RUNS_TASK[2:])
WAITING = ("Condition.wait (threading.py:320)", f"AsyncResult.get ({PACKAGES}/celery/result.py:224)")


def child(*inner: str, pid: int = 1) -> Dump:
    return Dump(pid, "child", (*inner, *RUNS_TASK), "MainThread")


def test_it_is_the_librarys_function_that_the_project_called() -> None:
    assert tasks_wait_in([child(*WAITING, "total (shop/tasks.py:9)")]) == "get (celery/result.py)"
    old = [name.rpartition(".")[2] for name in WAITING]  # Python before 3.11 tells no class
    assert tasks_wait_in([child(old[0], f"get ({PACKAGES}/celery/result.py:230)", "sum (shop/tasks.py:80)")]) == (
        "get (celery/result.py)"
    )


def test_names_and_lines_of_the_project_are_not_told() -> None:
    one, other = child("enter (shop/tasks.py:9)"), child("<lambda> (orders/work.py:70)", "run (orders/work.py:5)")
    assert tasks_wait_in([one]) == tasks_wait_in([other]) == OWN_CODE


def test_a_package_that_is_installed_is_a_library_whatever_its_name() -> None:
    frames = (f"send ({PACKAGES}/shop/adapters.py:5)", f"post ({PACKAGES}/shop/api.py:14)", "mail (shop/tasks.py:9)")
    assert tasks_wait_in([child(*frames)]) == "post (shop/api.py)"


def test_the_innermost_of_the_projects_frames_counts_when_a_library_calls_it_back() -> None:
    frames = (
        "hold (shop/locks.py:3)",
        f"send ({PACKAGES}/celery/utils/dispatch/signal.py:1)",
        "work (shop/tasks.py:9)",
    )
    assert tasks_wait_in([child(*frames)]) == OWN_CODE


def test_a_hang_in_celery_itself_after_the_body_is_told_by_what_it_does_there() -> None:
    frames = (f"send ({PACKAGES}/kombu/messaging.py:1)", f"mark_as_done ({PACKAGES}/celery/backends/base.py:9)")
    assert tasks_wait_in([child(*frames)]) == "mark_as_done (celery/backends/base.py)"


def test_an_import_is_an_import_however_it_is_written() -> None:
    frozen = ("acquire (<frozen importlib._bootstrap>:110)", "{} (<frozen importlib._bootstrap>:1084)")
    for entered in ("_find_and_load", "_handle_fromlist"):
        frames = (frozen[0], frozen[1].format(entered), "__call__ (shop/audit.py:12)")
        assert tasks_wait_in([child(*frames)]) == "import (importlib)"


def test_only_processes_that_hold_a_task_are_asked_and_most_of_them_decide() -> None:
    idle = Dump(9, "child", IDLE)
    assert tasks_wait_in([idle, Dump(8, "parent", IDLE)]) is None
    stuck = [child(*WAITING, "total (shop/tasks.py:9)", pid=pid) for pid in (1, 2)]
    assert tasks_wait_in([child("total (shop/tasks.py:9)", pid=3), *stuck, idle]) == "get (celery/result.py)"
    assert tasks_wait_in([]) is None
    assert tasks_wait_in([Dump(1, "child", ("nonsense", *RUNS_TASK))]) is None


def test_the_old_tracer_is_one_too() -> None:
    old = ("wait (threading.py:1)", "work (shop/tasks.py:9)", "trace_task (celery/execute/trace.py:181)")
    assert tasks_wait_in([Dump(1, "child", old)]) == "wait (threading.py)"


def test_a_main_process_that_stands_in_the_project_is_told_and_one_in_its_loop_is_not() -> None:
    loop = (f"poll ({PACKAGES}/kombu/utils/eventio.py:83)", f"asynloop ({PACKAGES}/celery/worker/loops.py:130)")
    serving = ("serve_forever (socketserver.py:233)", "serve (shop/celery.py:14)")
    entrance = ("main (manage.py:20)", "<module> (manage.py:22)")
    assert parent_waits_in([Dump(1, "parent", (*loop, *entrance))]) is None
    assert parent_waits_in([Dump(1, "parent", (*serving, *loop, *entrance))]) == "serve_forever (socketserver.py)"
    assert parent_waits_in([Dump(1, "child", serving), Dump(1, "parent", serving, "metrics")]) is None
