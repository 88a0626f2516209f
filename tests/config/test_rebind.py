"""Variables that lead to a compose file's servers lead to ours instead, with users, passwords and names."""

from __future__ import annotations

from bisect_celery.config.rebind import rebound
from bisect_celery.model import Companion

DB = Companion("db", "postgres", "postgres", ("db", "pg"))
CACHE = Companion("cache", "redis", "redis", ("cache",))


def test_addresses_and_their_parts() -> None:
    pairs = {
        "DATABASE_URL": ("postgresql+psycopg://u:p%20w@pg:5432/shop?sslmode=off",
                         "postgresql+psycopg://{database_login}{database_host}:{database_port}/{database_name}?sslmode=off"),
        "CACHE_URL": ("redis://:secret@cache/3", "redis://{redis_login}{redis_host}:{redis_port}/3"),
        "SQL_HOST": ("db", "{database_host}"),
        "SQL_PORT": ("5432", "{database_port}"),
        "SQL_USER": ("u", "{database_user}"),
        "POSTGRES_PASSWORD": ("p", "{database_password}"),
        "POSTGRES_DB": ("shop", "{database_name}"),
        "CACHE_LOCATION": ("cache:6379", "{redis_host}:{redis_port}"),
        "REDIS_HOST": ("cache", "{redis_host}"),
        "DB_HOSTNAME": ("pg:5432", "{database_host}:{database_port}"),
        "DB_USERNAME": ("u", "{database_user}"),
        "DB_NAME": ("shop", "{database_name}"),
        "SQL_DBNAME": ("shop", "{database_name}"),
        "REDIS_DB": ("3", "3"),
        "API_USER": ("u", "u"),
        "API_URL": ("https://api.example/db", "https://api.example/db"),
        "MODE": ("db-backed", "db-backed"),
    }  # fmt: skip
    found = dict(rebound(((name, before) for name, (before, _) in pairs.items()), (DB, CACHE)))
    assert found == {name: after for name, (_, after) in pairs.items()}


def test_what_leads_elsewhere_stays() -> None:
    pairs = (("DATABASE_URL", "postgres://u:p@db/shop"), ("BROKEN", "redis://[cache"), ("POSTGRES_PASSWORD", "p"))
    assert rebound(pairs, (CACHE,)) == pairs
