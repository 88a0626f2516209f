"""Settings that cannot be meant together are refused in a sentence, with what to leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bisect_celery.config import Composed, detect, load, to_request
from bisect_celery.config.listing import FolderListing
from bisect_celery.errors import UserError
from bisect_celery.model import Companion, Request


def asked(folder: Path, composed: Composed | None = None, **flags: object) -> Request:
    (folder / "shop.py").write_text("from celery import Celery\napp = Celery('shop')\n")
    (folder / "probe.py").write_text("def send(app): ...")
    loaded = load(flags, typed_in=folder, root=folder, caller_environment={})
    detected = detect(FolderListing(folder), typed_in="", app=None)
    return to_request(loaded, detected, good="a", bad="b", repository=folder, composed=composed)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"send": "harness"}, "where to send"),
        ({"send": "harness", "queue": "celery", "check": "value"}, "`--check` runs inside the project"),
        ({"send": "harness", "queue": "celery", "script": "probe.py"}, "`--script` runs inside the project"),
        ({"script": "probe.py", "task": "shop.work"}, "sends by itself"),
        ({"periodic": "nightly", "task": "shop.work"}, "sends what the schedule says"),
        ({"periodic": "nightly", "script": "probe.py"}, "sends what the schedule says"),
        ({"script": "probe.py", "kwargs": '{"a": 1}'}, "sends by itself"),
        ({"fails": "1/5", "judge": "latency"}, "what is worse in every start"),
    ],
)
def test_what_cannot_be_meant_together(tmp_path: Path, flags: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        asked(tmp_path, **flags)
    assert refused.value.hint


@pytest.mark.parametrize(
    "flags",
    [
        {"script": "probe.py", "check": "value > 3", "count": "3"},
        {"fails": "1", "judge": "latency,memory"},
        {"expect": "1", "check": "value", "log-must": "a", "log-must-not": "b"},
    ],
)
def test_what_can(tmp_path: Path, flags: dict[str, object]) -> None:
    asked(tmp_path, **flags)


def test_state_from_before_is_never_half_there(tmp_path: Path) -> None:
    beside = (Companion("db", "postgres", "postgres"), Companion("mq", "rabbitmq", "rabbitmq"))
    composed = Composed(("compose.yml",), "compose.yml", ("db", "mq", "worker"), "worker", companions=beside)
    with pytest.raises(UserError, match="half of a state beside db") as refused:
        asked(tmp_path, composed, **{"upgrade-from": "good"})
    assert "`--compose none`" in refused.value.hint
    with pytest.raises(UserError, match="half of a state beside redis"):
        asked(tmp_path, service=["redis"], **{"upgrade-from": "good"})
    asked(tmp_path, Composed(("compose.yml",), "compose.yml", companions=beside[1:]), **{"upgrade-from": "good"})
