"""A session that ends well leaves no process, not even one that no part of it knows of."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.flow import session
from bisect_celery.lab.cancel import Token


def test_nothing_labelled_is_left_when_the_guardian_is_dismissed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "_owner", None)
    owner = proc.own(f"test-{uuid.uuid4().hex}")
    daemonizes = "setsid sh -c 'echo $$ > $0; exec sleep 60' $0 > /dev/null 2>&1 & until [ -s $0 ]; do :; done"
    with session._guarded(owner, tmp_path / "scratch") as guardian:
        proc.run(("sh", "-c", daemonizes, f"{tmp_path}/pid"), deadline=20)
        daemon = int((tmp_path / "pid").read_text())
        assert proc.start_time(daemon) is not None
        assert proc.start_time(guardian.pid) is not None
    assert proc.start_time(daemon) is None
    assert Token().wait(lambda: not list(proc.labelled(owner)), 20)
