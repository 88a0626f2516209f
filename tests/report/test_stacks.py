"""Of a stack, the frames that tell something."""

from __future__ import annotations

from incident import CHILD, PARENT, stuck

from bisect_celery.model import Dump
from bisect_celery.report.stacks import places, shorten


def test_a_hung_child_is_shown_from_where_it_waits_to_who_called_the_project() -> None:
    frames, left_out = shorten(CHILD)
    assert frames == CHILD[:6]
    assert left_out == 5


def test_an_idle_process_is_shown_by_its_innermost_frames() -> None:
    assert shorten(PARENT) == (PARENT[:3], 2)


def test_alike_children_are_one_place_and_idle_threads_are_counted() -> None:
    found, others = places(stuck().dumps)
    assert [place.who for place in found] == ["parent", "2 of 2 pool children"]
    assert others == 1


def test_children_that_stand_elsewhere_are_another_place() -> None:
    other = ("recv (billiard/connection.py:5)", "run (billiard/process.py:120)")
    dumps = [Dump(1, "child", CHILD, "MainThread"), Dump(2, "child", other), Dump(3, "child", CHILD)]
    assert [place.who for place in places(dumps)[0]] == ["2 of 3 pool children", "1 of 3 pool children"]
    assert places([Dump(1, "child", CHILD)])[0][0].who == "the pool child"


def test_a_thread_of_the_parent_that_tells_is_shown_with_its_name() -> None:
    loader = ("read (json/decoder.py:337)", "load_table (shop/regions.py:12)", "run (threading.py:982)")
    found, others = places([Dump(1, "parent", PARENT, "MainThread"), Dump(1, "parent", loader, "warm-up")])
    assert [place.who for place in found] == ["parent", "parent, thread warm-up"]
    assert found[1].frames == loader
    assert others == 0


def test_where_things_are_installed_is_not_told() -> None:
    frames = (
        "wait (/usr/lib/python3.11/threading.py:320)",
        "get (/home/jo/.venv/lib/python3.11/site-packages/celery/result.py:224)",
        "call (/home/jo/.venv/lib/python3.11/site-packages/requests/api.py:14)",
        "task (/var/tmp/trial-7/checkout/shop/tasks.py:9)",
    )
    shown, _ = shorten(frames)
    assert shown == (
        "wait (threading.py:320)",
        "get (celery/result.py:224)",
        "call (requests/api.py:14)",
        "task (shop/tasks.py:9)",
    )


def test_the_starting_script_does_not_make_machinery_telling() -> None:
    frames = (*PARENT[:4], "main (shop/cli.py:3)", "<module> (manage.py:22)")
    assert shorten(frames)[0] == PARENT[:3]


def test_frames_of_the_command_line_do_not_make_machinery_telling() -> None:
    outer = ("invoke (click/core.py:783)", "main (celery/bin/celery.py:236)", "<module> (celery:8)")
    assert shorten((*PARENT[:4], *outer))[0] == PARENT[:3]
    assert shorten((*CHILD[:10], *outer))[0] == CHILD[:6]


def test_a_hang_at_import_is_told_by_the_module() -> None:
    frames = ("connect (socket.py:1)", "<module> (shop/settings.py:3)", "import_module (importlib/__init__.py:126)")
    assert shorten(frames) == (frames, 0)


def test_a_deep_stack_keeps_both_ends_of_what_is_inside_the_project() -> None:
    inner = tuple(f"f{n} (<frozen importlib._bootstrap>:{n + 1})" for n in range(30))
    shown, left_out = shorten((*inner, "task (shop/tasks.py:9)"))
    assert shown == (*inner[:4], *inner[-4:], "task (shop/tasks.py:9)")
    assert left_out == 22


def test_what_is_no_frame_is_not_shown() -> None:
    frames = ("task (shop/tasks.py:9) password='x'", "password = 'x'", "task (shop/tasks.py:9)", "f (x.py:None)", "")
    assert shorten(frames)[0] == ("task (shop/tasks.py:9)", "f (x.py)")
    assert places([Dump(1, "child", ("only locals = 3",))]) == ((), 0)
