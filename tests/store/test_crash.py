"""The store under SIGKILL, and used by several processes at once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connections
from sample import judged, session

from bisect_celery.store import Store
from bisect_celery.store.setup import configure

HERE = Path(__file__).parent
# Says each number only after record() returned: what was said must be there afterwards.
WRITER = """
import sys
from pathlib import Path
from sample import judged, session
from bisect_celery.store import Store
store = Store.open(Path(sys.argv[1]))
name = sys.argv[2]
store.begin(session(name))
print("begun", flush=True)
for number in range(1, int(sys.argv[3]) + 1):
    store.record(name, judged(number, purpose="p" * (number * 997 % 9000)))
    print(number, flush=True)
    if number % 7 == 0:
        store.save(session(name, headline=f"after {number}"))
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    search = f"{HERE}:{HERE.parents[1]}"
    argv = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": search, "PATH": "/usr/bin"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().split()


def test_sigkill_loses_no_recorded_trial(path: Path) -> None:
    chance = random.Random(20260101)
    expected: dict[str, int] = {}
    for round_ in range(8):
        with writer(path, f"s{round_}", 100_000) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == str(chance.randint(1, 40)) or line.strip() == "40":
                    process.kill()
                    break
            heard = [line, *said(process)]
        expected[f"s{round_}"] = int(heard[-1])
    with Store.open(path) as store:
        for name, last in expected.items():
            numbers = [one.trial.number for one in store.trials(name)]
            # the one that was being written may be there as well, nothing else may differ
            assert numbers in ([*range(1, last + 1)], [*range(1, last + 2)])
            assert store.trials(name)[last - 1] == judged(last, purpose="p" * (last * 997 % 9000))
            assert store.load(name).headline in (f"after {last // 7 * 7}", f"after {(last + 1) // 7 * 7}", "")
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sum(expected.values()) > 8


def open_and_die(path: Path, statement: int) -> int:
    """Open the store in a child that kills itself before SQL statement `statement`; the child's wait status."""
    child = os.fork()
    if child == 0:
        left = [statement]

        def count(execute: Callable[..., object], *args: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*args)

        alias = configure(path)
        connections[alias].execute_wrappers.append(count)
        Store.open(path)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_sigkill_at_every_statement_while_the_store_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    for statement in range(1, 200):
        path = tmp_path / str(statement) / "store.sqlite3"
        status = open_and_die(path, statement)
        with Store.open(path) as store:
            store.begin(session())
            store.record("s1", judged(1))
            assert store.load("s1").judged == (judged(1),)
        if status == 0:
            break
        assert status == signal.SIGKILL
    assert statement > 10, "the kills must reach into the migration"
    assert status == 0, "the last one must have lived"


def test_several_processes_make_and_write_one_store_at_once(path: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(writer(path, f"s{number}", 25)) for number in range(4)]
        for process in processes:
            assert said(process)[-1] == "25"
            assert process.wait(30) == 0
    with Store.open(path) as store:
        assert {one.id: one.trials for one in store.sessions()} == {f"s{number}": 25 for number in range(4)}


def test_a_reader_sees_trials_while_another_process_writes(path: Path) -> None:
    with writer(path, "s", 60) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            if line.strip().isdigit():
                with Store.open(path) as reader:
                    seen.append((int(line), len(reader.trials("s"))))
    assert len(seen) == 60
    assert all(kept >= announced for announced, kept in seen)
