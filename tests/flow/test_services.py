"""Whole runs of a project with a database and Redis: what migrates is found, and what it needs is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import migrated_incident
import pytest
from bench import Bench

from bisect_celery.model import Outcome

CONFIG = """\
service = ["postgres", "redis"]
migrate = "python manage.py migrate"
task = "orders.tasks.place"
args = ["Ada", 3]
count = 3
"""


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.redis
@pytest.mark.postgres
def test_a_migration_is_found_to_be_the_cause(tmp_path: Path, bench_at: Callable[[Path], Bench]) -> None:
    folder = tmp_path / "shop"
    shas = migrated_incident.written(folder)
    (folder / "bisect-celery.toml").write_text(CONFIG)
    bench = bench_at(folder)
    ended = bench.run("run", shas[0], shas[-1], "--stack", "process", "--broker", "embedded", "--worker", "-c 1")
    assert ended.code == 0, ended.text
    session = bench.session()
    assert session.outcome is Outcome.CONFIRMED
    assert session.culprit is not None
    assert session.culprit.revision.title == migrated_incident.CULPRIT
    assert {atom.path for atom in session.culprit.cause} == {"orders/migrations/0002_unique.py"}
    ours = {one.what: one.ours for one in session.differences}
    assert ours["result backend"] == "a Redis of each trial's own"
    assert ours["postgres"].startswith("PostgreSQL ")
    assert ours["redis"].startswith("Redis ")
    # Two sets of migrations: each is gone through once, and every other trial begins with a copy.
    copied = [
        "No migrations to apply" in Path(judged.trial.artifacts, "migrate.out").read_text()
        for judged in session.judged
        if judged.trial.reused is None
    ]
    assert len(copied) > 5
    assert copied.count(False) == 2
    assert bench.left() == []
