"""Where results go: they stay where they are kept when that can be a trial's own, and are replaced when it cannot."""

from __future__ import annotations

import pytest

from bisect_celery.flow.adopt import backend_note, replaced_backend
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Observation, Probe, WorkerFacts


def replaced(kind: str | None, *, at: str | None = None, redis: bool = True, plan: Plan | None = None) -> str | None:
    """The replacement's URL; None where results stay."""
    seen = Observation(1.0, worker=WorkerFacts(result_backend=kind, result_at=at))
    found = replaced_backend(seen, plan or Plan("shop", Probe()), lambda kind: redis)
    return found.result_url if found else None


@pytest.mark.parametrize("kind", [None, "rpc", "django-db", "file"])
def test_what_is_in_the_trial_anyway_stays(kind: str | None) -> None:
    assert replaced(kind) is None


def test_a_redis_stays_a_redis() -> None:
    assert replaced("redis", at="ours") is None
    assert replaced("redis", at="cache.example:6379") == "{redis_url}"
    assert replaced("rediss", at=None) == "{redis_url}"
    assert replaced("redis", at="cache.example:6379", redis=False) == "rpc://"


def test_results_in_a_database_stay_there_only_if_it_is_the_trials_own() -> None:
    with_postgres = Plan("shop", Probe(), services=("postgres",))
    assert replaced("db+postgresql", at="ours") is None
    assert replaced("db+postgresql", at="db:5432", plan=with_postgres) == "db+{database_url}"
    assert replaced("db+postgresql", at="db:5432") == "rpc://"
    assert replaced("mongodb") == "rpc://"


def test_nothing_is_replaced_twice() -> None:
    assert replaced("redis", at="elsewhere:1", plan=Plan("shop", Probe(), result_url="{redis_url}")) is None


def test_what_is_done_is_said() -> None:
    plan = Plan("shop", Probe())
    seen = Observation(1.0, worker=WorkerFacts(result_backend="redis", result_at="elsewhere:6379"))
    ours = replaced_backend(seen, plan, lambda kind: True)
    broker = replaced_backend(seen, plan, lambda kind: False)
    assert ours is not None
    assert broker is not None
    assert "a Redis of each trial's own" in backend_note("redis", ours)
    assert "no redis-server is installed" in backend_note("redis", broker)
