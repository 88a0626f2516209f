"""The terminal goes away: a closed window, a cut connection, a pipe that nobody reads any more."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, becomes, owned_by
from small_incident import Incident

from bisect_celery.model import Outcome

pytestmark = pytest.mark.network


def in_a_window(bench: Bench, *words: str) -> tuple[subprocess.Popen[bytes], int]:
    """`bisect-celery WORDS` as the foreground of a terminal of its own; also the end by which it is closed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bisect_celery", *words], cwd=bench.folder, env=bench.environment({"TERM": "xterm"}),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def drained(window: int) -> Callable[[], bool]:
    """Reads what was written to a window, so that its writer never waits; always True."""
    os.set_blocking(window, False)

    def read() -> bool:
        try:
            while os.read(window, 65536):
                pass
        except BlockingIOError:
            pass
        return True

    return read


@pytest.mark.timeout(200)
def test_a_closed_window_is_an_interrupt(bench_at: Callable[[Path], Bench], failing: Incident) -> None:
    bench = bench_at(failing.folder)
    process, window = in_a_window(bench, "run", failing.good, failing.bad, *failing.words)
    read = drained(window)
    assert becomes(lambda: read() and len(bench.trials()) >= 1, 100)
    os.close(window)
    assert process.wait(60) in (130, -1)
    assert becomes(lambda: not owned_by(process.pid), 40)
    assert bench.left() == []
    assert bench.session().outcome is Outcome.INTERRUPTED
    assert not (bench.home.state / "crash.log").exists()


@pytest.mark.timeout(200)
def test_nobody_who_listens_is_no_reason_to_stop(bench_at: Callable[[Path], Bench], failing: Incident) -> None:
    """`bisect-celery run ... 2>&1 | head -1`: the session goes on to its end, and its report is there."""
    bench = bench_at(failing.folder)
    words = ("run", failing.good, failing.shas[2], *failing.words)
    process = subprocess.Popen(
        [sys.executable, "-m", "bisect_celery", *words], cwd=bench.folder, env=bench.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(100) == 3
    assert bench.session().outcome is Outcome.ENDS_WRONG
    assert becomes(lambda: not owned_by(process.pid), 40)
    assert bench.left() == []
    assert not (bench.home.state / "crash.log").exists()
