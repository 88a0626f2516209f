"""State from before and a migration that is copied: the copy of a clean database must not take the state's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from bisect_celery.core.deadline import before
from bisect_celery.core.redact import Redactor
from bisect_celery.lab import lab as labs
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.earlier import Earlier
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Environment, Probe, Tree


class Repository:
    def layout(self, tree: str, folder: Path, cancel: object) -> None:
        (folder / "shop" / "migrations").mkdir(parents=True)
        (folder / "shop" / "migrations" / "0001_first.py").write_text("")


def test_no_copy_is_taken_where_a_trial_begins_with_what_an_older_revision_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labs, "build", lambda *args, **more: Environment("key", "python", "bin"))
    stack = cast(Any, type("Stack", (), {"runner": None, "own_images": lambda self: None})())
    lab = Lab(cast(Any, Repository()), stack, tmp_path / "trials", tmp_path, python=None, as_of="", overlays=(),
              redactor=Redactor(()), cancel=Token())  # fmt: skip
    order = Order("1", Tree("a" * 40, "a"), Plan("shop", Probe(), migrate="true"), before(10.0))
    try:
        with lab._laid_out(order) as (_, _, plan):
            assert plan.database_key is not None
        lab.earlier = Earlier(tmp_path, "b" * 40, "b", (), 0, 0)
        with lab._laid_out(order) as (_, _, plan):
            assert plan.database_key is None
    finally:
        lab.close()
