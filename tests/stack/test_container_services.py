"""Services of the container stack on a real engine: by their usual names, a trial's own, gone with the session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_support import look, place_of, started

from bisect_celery.lab.cancel import Token
from bisect_celery.stack.containers.stack import ContainerStack

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    with started("test-services", tmp_path_factory.mktemp("state"), services=("postgres",)) as stack:
        yield stack


def test_databases_and_a_redis_by_their_usual_names(stack: ContainerStack, tmp_path: Path) -> None:
    with place_of(stack, "one", tmp_path) as one:
        sql = "CREATE TABLE IF NOT EXISTS who (n int); INSERT INTO who VALUES (1); SELECT count(*) FROM who"
        host = one.bindings["database_host"]
        assert look(one, "postgres", host, "db", "postgres", sql=sql) == ["1", "2", "3"]
        assert one.bindings["database_url"].startswith("postgresql://bisect_celery:")
        one.keep_database("key")
        assert "redis_url" not in one.bindings
    assert stack.serve("redis", Token())
    assert stack.serve("redis", Token())
    kinds = [kind for kind, _ in stack.facts.services]
    assert kinds == ["postgres", "redis"]
    with place_of(stack, "two", tmp_path) as two:
        assert two.bindings["redis_url"] == "redis://127.0.0.1:6379/0"
        assert look(two, "redis", "127.0.0.1", "redis", "localhost", redis="INCR n") == [":1", ":2", ":3"]
        assert "does not exist" in look(two, "postgres", "db", sql="SELECT count(*) FROM who")[0]
        assert not two.copy_database("another key")
        assert two.copy_database("key")
        assert look(two, "postgres", "db", sql="SELECT count(*) FROM who") == ["3"]
        two.empty_database()
        assert "does not exist" in look(two, "postgres", "db", sql="SELECT count(*) FROM who")[0]
    with place_of(stack, "three", tmp_path) as three:
        assert look(three, "redis", "redis", redis="INCR n") == [":1"]


@pytest.mark.parametrize("kind", ["mariadb", "mysql"] if os.environ.get("BISECT_CELERY_MYSQL_IMAGE") else ["mariadb"])
def test_mariadb_and_mysql_serve_trials(stack: ContainerStack, tmp_path: Path, kind: str) -> None:
    """Beside a PostgreSQL, which no user can ask for: what is bound is the latest one's. MySQL's image is not one of
    those that the gate builds: its Debian has none."""
    assert stack.serve(kind, Token())
    mariadb = stack._beside.databases[-1]
    with place_of(stack, "four", tmp_path) as one:
        assert one.bindings["database_url"].startswith("mysql://bisect_celery:")
        assert look(one, "mariadb", "mariadb", sql="CREATE TABLE who (n int)") == [""]
        assert look(one, "mariadb", "mysql", sql="INSERT INTO who VALUES (7)") == [""]
        mariadb.keep("four", "key")
    with place_of(stack, "five", tmp_path) as two:
        assert "exist" in look(two, "mariadb", "mariadb", sql="SELECT n FROM who")[0]
        assert mariadb.copy("five", "key")
        assert look(two, "mariadb", "mariadb", sql="SELECT n FROM who") == ["7"]
