"""Programs that end, that do not, and that leave others behind."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.errors import Cancelled, InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Owner

# It leaves its process group and session but keeps the pipes; then writes its number. `$0` is a file.
DAEMON = "setsid sleep 60 & echo $! > $0; "


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    monkeypatch.setattr(proc, "_owner", None)
    owner = proc.own(f"test-{uuid.uuid4().hex}")
    yield owner
    proc.kill_labelled(owner)


def eventually(condition: Callable[[], bool], deadline: float = 20.0) -> None:
    assert Token().wait(condition, deadline), "the awaited condition never held"


def python(source: str) -> tuple[str, ...]:
    return (sys.executable, "-c", source)


def number_in(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text().strip() != "")
    return int(path.read_text())


# --- run ---------------------------------------------------------------------------------------------


def test_output_and_status() -> None:
    finished = proc.run(("sh", "-c", "echo out; echo err >&2; exit 3"), deadline=20, check=False)
    assert (finished.text(), finished.error_text(), finished.code) == ("out\n", "err\n", 3)
    with pytest.raises(proc.CommandFailed, match="status 3: err") as failed:
        proc.run(("sh", "-c", "echo err >&2; exit 3"), deadline=20)
    assert failed.value.finished.code == 3


def test_deadline_kills_the_group(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(proc.DeadlinePassed, match="did not end within"):
        proc.run(("sh", "-c", "sleep 60 & echo $! > $0; wait", str(tmp_path / "pid")), deadline=0.5)
    assert time.monotonic() - began < 5
    child = number_in(tmp_path / "pid")
    eventually(lambda: proc.start_time(child) is None)


def test_cancel(tmp_path: Path) -> None:
    cancel = Token()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        proc.run(("sh", "-c", "echo $$ > $0; exec sleep 60", str(tmp_path / "pid")), deadline=60, cancel=cancel)
    assert proc.start_time(number_in(tmp_path / "pid")) is None


@pytest.mark.parametrize("cancel", [None, Token()])
def test_input_larger_than_a_pipe(cancel: Token | None) -> None:
    data = os.urandom(3 << 20)
    slow = "import sys, time; data = sys.stdin.buffer.read(9); time.sleep(0.4); data += sys.stdin.buffer.read(); "
    finished = proc.run(python(slow + "sys.stdout.buffer.write(data)"), deadline=30, input=data, cancel=cancel)
    assert finished.out == data


def test_input_that_nobody_reads() -> None:
    assert proc.run(("true",), deadline=20, input=b"x" * (3 << 20)).code == 0


def test_big_output_on_both_pipes() -> None:
    words = "import sys\nfor _ in range(300): sys.stdout.write('o' * 9999); sys.stderr.write('e' * 9999)"
    finished = proc.run(python(words), deadline=30)
    assert (finished.out, finished.err) == (b"o" * 2999700, b"e" * 2999700)


def test_a_daemon_that_keeps_the_pipes_is_not_waited_for(owner: Owner, tmp_path: Path) -> None:
    began = time.monotonic()
    words = DAEMON + "echo out; echo err >&2; exit 4"
    finished = proc.run(("sh", "-c", words, str(tmp_path / "pid")), deadline=30, check=False)
    assert time.monotonic() - began < proc.PIPE_GRACE + 4
    assert (finished.out, finished.err, finished.code) == (b"out\n", b"err\n", 4)
    assert proc.start_time(number_in(tmp_path / "pid")) is not None


def test_a_daemon_that_keeps_the_pipes_does_not_outlast_the_deadline(owner: Owner, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(proc.DeadlinePassed):
        proc.run(("sh", "-c", DAEMON + "sleep 60", str(tmp_path / "pid")), deadline=1)
    assert time.monotonic() - began < 5
    assert proc.start_time(number_in(tmp_path / "pid")) is not None


def test_what_is_left_in_the_group_is_killed(tmp_path: Path) -> None:
    words = "sleep 60 > /dev/null 2>&1 & echo $! > $0"
    assert proc.run(("sh", "-c", words, str(tmp_path / "quiet")), deadline=30).code == 0
    assert proc.run(("sh", "-c", "sleep 60 & echo $! > $0", str(tmp_path / "holding")), deadline=30).code == 0
    for name in ("quiet", "holding"):
        pid = number_in(tmp_path / name)
        eventually(lambda pid=pid: proc.start_time(pid) is None)  # type: ignore[misc]


def test_missing_program() -> None:
    with pytest.raises(InfraError, match="`no-such-program` cannot be started: No such file"):
        proc.run(("no-such-program",), deadline=5)
    with pytest.raises(InfraError, match="`no-such-program` cannot be started: No such file"):
        proc.start(("no-such-program",))


# --- start and stop ----------------------------------------------------------------------------------


def test_start_and_stop(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = proc.start(("sh", "-c", "sleep 60 & echo $!; cat"), stdin=True, stdout=out)
    process.write(b"hello\n")
    eventually(lambda: b"hello" in (tmp_path / "out").read_bytes())
    assert process.alive()
    assert process.exit_code() is None
    child = int((tmp_path / "out").read_text().split()[0])
    process.stop()
    process.stop()
    assert not process.alive()
    assert process.exit_code() == -9
    eventually(lambda: proc.start_time(child) is None)
    process.write(b"to nobody\n")


def test_stop_with_grace_lets_it_say_goodbye(tmp_path: Path) -> None:
    words = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint(1, flush=True)\ntime.sleep(60)"
    with (tmp_path / "out").open("wb") as out:
        process = proc.start(python(words), stdout=out)
    eventually(lambda: (tmp_path / "out").read_bytes() != b"")
    process.stop(grace=20)
    assert process.exit_code() == 7


# --- what is provably ours ---------------------------------------------------------------------------


def test_the_label_and_nothing_of_ours_is_in_the_environment(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hunter2")
    seen = proc.run(("env",), deadline=20).text().splitlines()
    assert f"{proc.LABEL}={owner.label()}" in seen
    assert not any("hunter2" in line for line in seen)
    assert f"{proc.LABEL}={owner.label()}" in proc.run(("env",), deadline=20, env={"PATH": os.defpath}).text()


def test_owner_parse() -> None:
    owner = Owner("machine", "boot", 12, 345, "20260322-174501-3fa2")
    assert Owner.parse(owner.label()) == owner
    for other in ("", "a/b/c/d/e", "machine/boot/12/345", "machine/boot/12/345/session/more", "m/b/-1/2/s"):
        assert Owner.parse(other) is None


def test_descendants(owner: Owner) -> None:
    process = proc.start(("sh", "-c", "sh -c 'sleep 60; true'; true"))
    eventually(lambda: len(proc.descendants(process.pid)) == 2)
    child, grandchild = proc.descendants(process.pid)
    assert proc.descendants(child) == (grandchild,)
    process.stop()
    eventually(lambda: proc.descendants(process.pid) == ())


def test_kill_marked_takes_what_carries_the_mark_and_is_ours(owner: Owner, tmp_path: Path) -> None:
    words = ("sh", "-c", DAEMON + "exec sleep 60", str(tmp_path / "pid"))
    left = proc.start(words, env={"PATH": os.defpath, "MARK": "one"})
    other_mark = proc.start(("sleep", "60"), env={"PATH": os.defpath, "MARK": "one two"})
    daemon = number_in(tmp_path / "pid")
    eventually(lambda: set(proc.marked("MARK", "one")) == {left.pid, daemon})
    proc.own("another-session")
    assert list(proc.marked("MARK", "one")) == []
    assert proc.kill_marked("MARK", "one") == 0
    proc._owner = owner
    assert proc.kill_marked("MARK", "one") == 2
    assert proc.start_time(daemon) is None
    assert other_mark.alive()
    other_mark.stop()


def test_kill_labelled_takes_daemons_and_nobody_else(owner: Owner, tmp_path: Path) -> None:
    spared = proc.start(("sleep", "60"))
    left = proc.start(("sh", "-c", DAEMON + "wait", str(tmp_path / "pid")))
    daemon = number_in(tmp_path / "pid")
    other = proc.own("another-session")
    foreign = proc.start(("sleep", "60"))
    eventually(lambda: {pid for pid, _ in proc.labelled(owner)} >= {spared.pid, left.pid, daemon})
    assert (foreign.pid, other) in set(proc.labelled())
    assert proc.kill_labelled(owner, spare=spared.pid) == 2
    assert proc.start_time(daemon) is None
    assert not left.alive()
    assert spared.alive()
    assert foreign.alive()
    foreign.stop()
    assert proc.kill_labelled(owner) == 1
    assert not spared.alive()
    assert proc.is_alive(owner)
    assert not proc.is_alive(Owner(owner.machine, owner.boot, foreign.pid, 1, owner.session))


def test_what_another_container_on_this_machine_owns_is_not_taken_for_dead() -> None:
    here = proc.own("a session")
    elsewhere = replace(here, machine=here.machine.partition(":")[0] + ":4026539999", pid=4_000_000)
    assert proc.same_machine(elsewhere)
    assert proc.is_alive(elsewhere), "its pid means nothing here"
    assert not proc.is_alive(replace(here, pid=4_000_000))
    assert not proc.is_alive(replace(elsewhere, boot="an earlier boot"))
    assert proc.is_alive(replace(elsewhere, machine="another:1", boot="an earlier boot"))
    assert not proc.same_machine(replace(elsewhere, machine="another:1"))
