"""Lines as workers of Celery 2.5 to 5.7 really write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.probe import logs
from bisect_celery.probe.logs import LogSign

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TASK = f"shop.tasks.work[{ID}]"
MAIN, CHILD = "[2026-11-22 18:36:17,339: {}/MainProcess] ", "[2026-11-22 18:36:17,339: {}/ForkPoolWorker-2] "
WORKER_3_1 = "[2015-03-01 12:00:00,001: {}/Worker-1] "


def main(level: str, text: str) -> str:
    return MAIN.format(level) + text


def child(level: str, text: str) -> str:
    return CHILD.format(level) + text


LINES = {
    # received
    main("INFO", f"Task {TASK} received"): LogSign("received", ID, None, "MainProcess"),  # 5.x
    main("INFO", f"Received task: {TASK}  "): LogSign("received", ID, None, "MainProcess"),  # 3.1 to 4.4
    main("INFO", f"Received task: {TASK}  ETA:[2015-03-01 12:00:00] "): LogSign("received", ID, None, "MainProcess"),
    main("INFO", f"Got task from broker: {TASK}"): LogSign("received", ID, None, "MainProcess"),  # 2.5
    # thrown away unread
    main("ERROR", "Received invalid task message: Refusing to deserialize untrusted content of type pickle"): LogSign(
        "refused", None, "Refusing to deserialize untrusted content of type pickle", "MainProcess"
    ),
    main("CRITICAL", "Can't decode message body: DecodeError('no (x)') [type:'json' encoding:'utf-8' headers:{}]"): (
        LogSign("refused", None, "DecodeError('no (x)')", "MainProcess")
    ),
    main("WARNING", "Received and deleted unknown message.  Wrong destination?!?"): LogSign(
        "refused", None, "Received and deleted unknown message", "MainProcess"
    ),
    # ends
    child("INFO", f"Task {TASK} succeeded in 0.008641730000817915s: 3"): LogSign(
        "succeeded", ID, None, "ForkPoolWorker-2"
    ),
    main("INFO", f"Task {TASK} succeeded in 0.0086s: None"): LogSign("succeeded", ID, None, "MainProcess"),  # 3.1
    child("ERROR", f"Task {TASK} raised unexpected: ValueError('no such order')"): LogSign(
        "failed", ID, "ValueError('no such order')", "ForkPoolWorker-2"
    ),
    child("INFO", f"Task {TASK} raised expected: shop.NoSuchOrder(17)"): LogSign(
        "failed", ID, "shop.NoSuchOrder(17)", "ForkPoolWorker-2"
    ),
    child("ERROR", f"Task {TASK} raised unexpected: <NoSuchOrder 17>"): LogSign(
        "failed", ID, "<NoSuchOrder 17>", "ForkPoolWorker-2"
    ),
    main("ERROR", f"Task {TASK} raised exception: ValueError('no',)"): LogSign(  # 2.5
        "failed", ID, "ValueError('no',)", "MainProcess"
    ),
    child("CRITICAL", f"Task {TASK} INTERNAL ERROR: AttributeError('trail')"): LogSign(
        "failed", ID, "AttributeError('trail')", "ForkPoolWorker-2"
    ),
    child("ERROR", f"Task {TASK} on_success handler raised: AttributeError('trail')"): LogSign(  # 5.7
        "failed", ID, "AttributeError('trail')", "ForkPoolWorker-2"
    ),
    child("INFO", f"Task {TASK} retry: Retry in 180s: OSError('gone')"): LogSign(
        "retry", ID, "Retry in 180s: OSError('gone')", "ForkPoolWorker-2"
    ),
    child("INFO", f"Task {TASK} ignored"): LogSign("ignored", ID, None, "ForkPoolWorker-2"),
    child("WARNING", f"Task {TASK} reject requeue=False: no"): LogSign("rejected", ID, None, "ForkPoolWorker-2"),
    main("INFO", f"Discarding revoked task: {TASK}"): LogSign("revoked", ID, None, "MainProcess"),
    # the pool and the worker
    main("ERROR", "Process 'ForkPoolWorker-2' pid:4711 exited with 'signal 11 (SIGSEGV)'"): LogSign("lost"),
    "child process exiting after exceeding memory limit (201284KiB / 150000KiB)": LogSign("outgrown"),
    main("ERROR", "Process 'Worker-1' pid:4711 exited with 'exitcode 3'"): LogSign("lost"),  # 3.1
    main("INFO", "celery@shop.example ready."): LogSign("ready"),
    "celery@shop ready.": LogSign("ready"),  # 3.1 prints it
    WORKER_3_1.format("WARNING") + "celery@shop has started.": LogSign("ready"),  # 2.5
    "Received unregistered task of type 'shop.gone'.": LogSign("unregistered"),
    main("ERROR", "Received unregistered task of type 'shop.gone'."): LogSign("unregistered"),
    main("ERROR", "Received unregistered task of type u'shop.gone'."): LogSign("unregistered"),  # Python 2
    main("ERROR", "Received unregistered task of type shop.gone."): LogSign("unregistered"),
    main("CRITICAL", "Unrecoverable error: AccessRefused(403, 'no')"): LogSign("error", process="MainProcess"),
    child("ERROR", "Process cleanup failed: OSError('gone')"): LogSign("error", process="ForkPoolWorker-2"),
    main(
        "ERROR", "Task handler raised error: WorkerLostError('Worker exited prematurely: exitcode 3 Job: 0.')"
    ): LogSign("error", process="MainProcess"),
}
NOTHING = [
    "",
    child("INFO", "the order is ready."),
    child("INFO", "mailed order 17"),
    child("INFO", f"working on {ID}"),
    child("WARNING", f"Task {TASK} reject requeue=True: later"),  # it comes back
    main("INFO", "mingle: searching for neighbors"),
    "billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 0.",
    "    raise WorkerLostError(",
    "Did you remember to import the module containing this task?",
]


@pytest.mark.parametrize("line", LINES)
def test_the_table_of_lines(line: str) -> None:
    assert logs.read_line(line) == LINES[line]


RED, PLAIN = "\x1b[1;31m", "\x1b[0m"
REFUSED = main("ERROR", "Received invalid task message: no")
# What a line of a file says, whoever wrote it: the lines that Celery would have written.
WRITTEN = {
    child("ERROR", f"Task {TASK} raised unexpected: ValueError('no order')"): [
        child("ERROR", f"Task {TASK} raised unexpected: ValueError('no order')")
    ],
    # CELERYD_LOG_COLOR, and projects that colour their log themselves
    RED + REFUSED: [REFUSED],
    f"kombu.exceptions.ContentDisallowed: no{PLAIN}": ["kombu.exceptions.ContentDisallowed: no"],
    "celery@shop ready.\r": ["celery@shop ready."],
    # JSON, as python-json-logger, structlog and others write it
    '{"levelname": "INFO", "message": "celery@shop ready."}': ["celery@shop ready."],
    '{"event": "celery@shop ready.", "level": "info"}': ["celery@shop ready."],
    '{"msg": "Received invalid task message: no\\nIgnored.", "exc_info": "Traceback:\\nContentError: no"}': [
        "Received invalid task message: no", "Ignored.", "Traceback:", "ContentError: no",
    ],
    '{"message": {"order": 17}}': ['{"message": {"order": 17}}'],
    '{"order": 17}': ['{"order": 17}'],
    "{not JSON": ["{not JSON"],
    "[17]": ["[17]"],
    "": [""],
}  # fmt: skip


@pytest.mark.parametrize("line", WRITTEN)
def test_what_a_line_says_whatever_it_is_dressed_in(line: str) -> None:
    assert logs.said(logs.plain(line)) == WRITTEN[line]


@given(st.text())
def test_any_line_says_something_without_colours(line: str) -> None:
    assert logs.said(line)
    assert logs.plain(f"{RED}{line}{PLAIN}") == logs.plain(line)


@pytest.mark.parametrize(
    "line",
    [
        f"Task {TASK} raised unexpected: ValueError('no order')",
        f"12:00 tasks Task {TASK} raised unexpected: ValueError('no order') [request 17] [ada@shop.example]",
        f"worker-7 | Task {TASK} raised unexpected: ValueError('no order'), in 17 s",
    ],
)
def test_what_a_format_of_the_projects_own_puts_behind_an_exception_is_no_part_of_it(line: str) -> None:
    found = logs.read_line(line)
    assert found is not None
    assert (found.what, found.id, found.raised) == ("failed", ID, "ValueError('no order')")


@pytest.mark.parametrize("quoted", ["'a)b(\"'", '"it\'s :)"', "'a\\')'", "('x', [1, ')'])", "Inner('(')", "b')'"])
def test_the_end_of_an_exception_is_found_whatever_it_quotes(quoted: str) -> None:
    found = logs.read_line(f"Task {TASK} raised unexpected: ValueError({quoted}) and more (of it)")
    assert found is not None
    assert found.raised == f"ValueError({quoted})"


def test_an_exception_in_celerys_own_format_is_the_rest_of_the_line() -> None:
    """Its `repr` may be anything."""
    for raised in ("Order(17) and its mail", "ValueError('no order", "<Order 17>"):
        found = logs.read_line(child("ERROR", f"Task {TASK} raised unexpected: {raised}"))
        assert found is not None
        assert found.raised == raised


REASONS = {
    "Retry in 180s: OSError('gone')": "OSError('gone')",
    "Retry in 0.5s: OSError('gone: away')": "OSError('gone: away')",
    "Retry at 2026-11-22 18:36:17.339000+00:00: OSError('gone')": "OSError('gone')",
    "Retry in 180s": None,
    "Retry at 2026-11-22 18:36:17+00:00": None,
    "the shop is closed": "the shop is closed",
}


@pytest.mark.parametrize("reason", REASONS)
def test_why_a_task_asks_to_be_run_again(reason: str) -> None:
    assert logs.retry_reason(reason) == REASONS[reason]


@pytest.mark.parametrize("line", NOTHING)
def test_lines_that_say_nothing_of_a_task(line: str) -> None:
    assert logs.read_line(line) is None


@given(st.text())
def test_no_line_is_too_odd_to_read(line: str) -> None:
    logs.read_line(line)
    logs.broker_in(line)
    logs.last_exception([line, line])
    logs.last_words([line])


BROKERS = {
    ".> transport:   amqp://guest:**@127.0.0.1:5672//": "amqp://127.0.0.1:5672//",
    "- *** --- * --- .> transport:   redis://:**@cache:6379/0": "redis://cache:6379/0",
    "-- * - **** ---   . broker:      amqp://u@rabbit:5672/v": "amqp://rabbit:5672/v",
    "- ** ---------- .> transport:   sqla+sqlite:////tmp/broker": "sqla+sqlite:////tmp/broker",
    main("INFO", "Connected to amqp://shop:**@127.0.0.1:5672/shop"): "amqp://127.0.0.1:5672/shop",
    "Connected to amqp://127.0.0.1//": "amqp://127.0.0.1//",
    main("INFO", "Connected to redis://cache:6379/0"): None,  # a project's own cache, as far as a log can tell
    child("INFO", "order 17: Connected to amqp://partner.example//"): None,
    "we have no transport: amqp://x": None,
    "nothing": None,
}


@pytest.mark.parametrize("line", BROKERS)
def test_the_brokers_address(line: str) -> None:
    assert logs.broker_in(line) == BROKERS[line]


# --- why it ended ------------------------------------------------------------------------------------

USAGE = """\
Usage: celery [OPTIONS] COMMAND [ARGS]...

Error: Invalid value for '-A' / '--app':
Unable to load celery application.
While trying to load the module shop the following error occurred:
Traceback (most recent call last):
  File "/venv/lib/celery/bin/celery.py", line 58, in convert
    return find_app(value)
           ^^^^^^^^^^^^^^^
  File "/tree/shop.py", line 2, in <module>
    from os import no_such_name
ImportError: cannot import name 'no_such_name' from 'os' (/usr/lib/os.py)
""".splitlines()
DJANGO = """\
Traceback (most recent call last):
  File "/tree/manage.py", line 3, in <module>
    import settings
KeyError: 'SECRET_KEY'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/tree/manage.py", line 22, in <module>
    main()
django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable
""".splitlines()
INDENTED = ["  " + line for line in DJANGO]
NO_KEY = ("ImproperlyConfigured", "Set the SECRET_KEY environment variable")
HEAD = ["Traceback (most recent call last):", '  File "x", line 1, in y']
ENDS: dict[str, tuple[list[str], tuple[str, str] | None]] = {
    "celery's own usage error": (
        USAGE,
        ("ImportError", "cannot import name 'no_such_name' from 'os' (/usr/lib/os.py)"),
    ),
    "the last of a chain": (DJANGO, NO_KEY),
    "indented as a whole": (INDENTED, NO_KEY),
    "followed by other lines": ([*DJANGO, "", "worker: Cold shutdown"], NO_KEY),
    "without a message": ([*HEAD, "    x()", "KeyboardInterrupt"], ("KeyboardInterrupt", "")),
    "without a traceback": (["shop.errors.NoSuchThingError: no"], ("NoSuchThingError", "no")),
    "the head only": (HEAD, None),
    "nothing": ([], None),
    "no exception": (["all is well", "Error of some kind"], None),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_exception(name: str) -> None:
    lines, expected = ENDS[name]
    assert logs.last_exception(lines) == expected


CRASH = ["Traceback (most recent call last):", '  File "x.py", line 1', "    serve()", "MemoryError: 17"]
FAILED_TASK = [child("ERROR", f"Task {TASK} raised unexpected: ValueError('no')"), *CRASH[:3], "ValueError: no"]
WORDS: dict[str, tuple[list[str], str | None]] = {
    "unrecoverable": (
        [main("CRITICAL", "Unrecoverable error: AccessRefused(403, 'no')"), *CRASH[:3], "AccessRefused: no"],
        "AccessRefused(403, 'no')",
    ),
    "a traceback of nobody's": ([main("INFO", "celery@shop ready."), "", *CRASH], "MemoryError: 17"),
    "a task's traceback": (FAILED_TASK, None),
    "a traceback, and then lines of JSON": ([*CRASH, '{"message": "celery@shop ready."}'], None),
    "a task's traceback, and then more": ([*FAILED_TASK, main("INFO", f"Task {TASK} received")], None),
    "nothing": ([], None),
    "no word": ([main("INFO", "celery@shop ready.")], None),
}


@pytest.mark.parametrize("name", WORDS)
def test_the_last_words(name: str) -> None:
    lines, expected = WORDS[name]
    assert logs.last_words(lines) == expected


def test_what_the_embedded_broker_refuses_is_read_out_of_the_workers_log() -> None:
    line = (
        "[2025-07-14 10:00:00,000: ERROR/MainProcess] consumer: Cannot connect: (0, 0): (540) NOT_IMPLEMENTED - "
        "bisect-celery's embedded broker does not emulate queue priorities (x-max-priority): use --broker rabbitmq"
    )
    assert logs.not_emulated(line) == "queue priorities (x-max-priority)"
    assert logs.not_emulated("[...] the mail does not emulate anything: at all") is None


def test_the_end_of_a_traceback_names_the_exception_of_words_that_came_before() -> None:
    words = "Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)"
    assert logs.exception_of(f"kombu.exceptions.ContentDisallowed: {words}", words) == "ContentDisallowed"
    assert logs.exception_of(f"ContentDisallowed: {words} and more", words) is None
    assert logs.exception_of(f"    raise self._for_untrusted_content: {words}", words) is None
    assert logs.exception_of(f"[2026-11-22 18:36:17,339: ERROR/MainProcess] {words}", words) is None
