"""What supplies what is missing: the flag, and for services the binding that fits the variable's name."""

from __future__ import annotations

import pytest

from bisect_celery.flow.supply import flag

SUPPLIED = {
    ("variable", "SECRET_KEY"): "`--env SECRET_KEY=VALUE`, `--env-file FILE`",
    ("variable", "REDIS_URL"): "`--service redis` sets it",
    ("variable", "DATABASE_URL"): "`--service postgres` sets it",
    ("variable", "CACHE_REDIS_HOST"): "`--service redis --env CACHE_REDIS_HOST={redis_host}`",
    ("variable", "POSTGRES_PASSWORD"): "`--service postgres --env POSTGRES_PASSWORD={database_password}`",
    ("variable", "POSTGRES_DB"): "`--service postgres --env POSTGRES_DB={database_name}`",
    ("variable", "DB_PORT"): "`--service postgres --env DB_PORT={database_port}`",
    ("variable", "PGUSER"): "`--service postgres --env PGUSER={database_user}`",
    ("variable", "MYSQL_HOST"): "`--service mysql --env MYSQL_HOST={database_host}`",
    ("host", "redis"): "`--service redis`, with `{redis_host}`",
    ("host", "db"): "`--service postgres`, with `{database_host}`",
    ("host", "localhost:5432"): "`--service postgres`",
    ("host", "mysql"): "`--service mysql`",
    ("host", "elasticsearch"): "`--env` for the variable",
    ("module", "redis"): "its package in the requirements",
}


@pytest.mark.parametrize("missing", SUPPLIED, ids=lambda one: f"{one[0]} {one[1]}")
def test_the_flag_for_what_is_missing(missing: tuple[str, str]) -> None:
    assert SUPPLIED[missing] in flag(*missing)


def test_a_name_that_the_network_of_containers_knows() -> None:
    assert "in containers `db` is found" in flag("host", "db")
    assert "in containers" not in flag("host", "localhost:6379")
