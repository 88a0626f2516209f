"""A folder for a moment: closed to others, gone afterwards, and gone at the next use where its process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bisect_celery.flow.moment import for_a_moment

HOLDS_ONE = """
import sys, time
from pathlib import Path
from bisect_celery.flow.moment import for_a_moment
with for_a_moment(Path(sys.argv[1])) as folder:
    (folder / ".env").write_text("PASSWORD=hunter2")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_this_users_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with for_a_moment(tmp_path / "all") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert ":" not in str(folder), "which ends a path in a compose file"
        (folder / "sub").mkdir()
    assert list((tmp_path / "all").iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    parent = tmp_path / "all"
    words = [sys.executable, "-c", HOLDS_ONE, str(parent)]
    killed, living = (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        folders = [Path((one.stdout.readline() if one.stdout else "").strip()) for one in (killed, living)]
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert (folders[0] / ".env").exists()
        with for_a_moment(parent) as ours:
            assert sorted(parent.iterdir()) == sorted((ours, folders[1]))
    finally:
        for one in (killed, living):
            one.kill()
            one.communicate()
