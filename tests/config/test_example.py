"""The example of variables that a project ships: which file, what becomes the trial's own, what stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.config.bindings import binding
from bisect_celery.config.example import fallback, is_example
from bisect_celery.model import Fallback

BINDINGS = {
    ("POSTGRES_HOST", "db"): ("postgres", "{database_host}"),
    ("PGPORT", "5432"): ("postgres", "{database_port}"),
    ("POSTGRES_DB", "shop"): ("postgres", "{database_name}"),
    ("DB_PASSWORD", "secret"): ("postgres", "{database_password}"),
    ("DATABASE_URL", "postgres://u:p@db/shop"): ("postgres", "{database_url}"),
    ("DATABASE_URL", "mysql://u:p@db/shop"): ("mysql", "{database_url}"),
    ("DATABASE_URL", "postgis://u:p@db/shop"): (
        "postgres", "postgis://{database_user}:{database_password}@{database_host}:{database_port}/{database_name}",
    ),
    ("MYSQL_USER", "shop"): ("mysql", "{database_user}"),
    ("REDIS_ACTIVITY_HOST", "redis_activity"): ("redis", "{redis_host}"),
    ("REDIS_BROKER_PASSWORD", "x"): ("redis", "{redis_password}"),
    ("CACHE", "redis://cache:6379/1"): ("redis", "{redis_url}"),
    ("CELERY_RESULT_BACKEND", "redis://redis:6379/1"): ("redis", "{redis_url}"),
    ("CELERY_BROKER_URL", "redis://redis:6379/0"): (None, "{broker_url}"),
    ("QUEUE", "amqp://guest@rabbit//"): (None, "{broker_url}"),
    ("RABBITMQ_HOST", "plane-mq"): (None, "{broker_host}"),
    ("RABBITMQ_PORT", "5672"): (None, "{broker_port}"),
    ("RABBITMQ_USER", "plane"): (None, "{broker_user}"),
    ("AMQP_PASSWORD", "plane"): (None, "{broker_password}"),
    ("RABBITMQ_VHOST", "plane"): (None, "{broker_vhost}"),
    ("RABBITMQ_MANAGEMENT_URL", "http://plane-mq:15672"): None,
    ("RABBITMQ_ADMIN_PORT", "15672"): None,
    ("RABBITMQ_MANAGEMENT_PORT", "15672"): None,
    # not services' business, or not a part that we know
    ("DB_ENGINE", "django.db.backends.postgresql"): None,
    ("DATABASE_URL", "sqlite:///db.sqlite3"): None,
    ("REDIS_DB_INDEX", "0"): None,
    ("EMAIL_HOST", "smtp.example.com"): None,
    ("FLOWER_PORT", "8888"): None,
    ("POSTGRES_IMAGE", "postgres:16"): None,
    ("TEST_DATABASE_URL", ""): None,
    ("DEBUG", "1"): None,
}  # fmt: skip


class Tree:
    """A listing of files in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def paths(self) -> Sequence[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files[path].encode() if path in self._files else None


def example(files: Mapping[str, str], subfolder: str = "") -> Fallback | None:
    return fallback(Tree(files), subfolder)


@pytest.mark.parametrize("said", BINDINGS, ids=lambda said: said[0])
def test_what_is_the_trials_own(said: tuple[str, str]) -> None:
    assert binding(*said) == BINDINGS[said]


@given(st.text(), st.text())
def test_any_variable_can_be_asked_about(name: str, value: str) -> None:
    found = binding(name, value)
    assert found is None or re.search(r"\{\w+\}", found[1])


def test_an_example_becomes_what_a_trial_can_have() -> None:
    text = "SECRET_KEY=change-me\nDOMAIN=shop.example\nPOSTGRES_HOST=db\nREDIS_URL=redis://redis/0\nEMPTY=\nBARE\n"
    found = example({".env.example": text, "manage.py": ""})
    assert found is not None
    variables = dict(found.variables)
    assert found.source == ".env.example"
    assert found.services == ("postgres", "redis")
    assert found.bound == (("POSTGRES_HOST", "postgres"), ("REDIS_URL", "redis"))
    assert (variables["DOMAIN"], variables["POSTGRES_HOST"], variables["EMPTY"]) == (
        "shop.example", "{database_host}", "",
    )  # fmt: skip
    assert variables["SECRET_KEY"] not in ("", "change-me")  # projects refuse the one that they show
    assert "BARE" not in variables


def test_one_database_whatever_its_variables_are_called() -> None:
    plain = example({".env.example": "DB_HOST=db\nDB_PORT=3306\n"})
    marked = example({".env.example": "DB_HOST=db\nDB_ENGINE=django.db.backends.mysql\n"})
    maria = example({".env.example": "MYSQL_HOST=db\nDB_IMAGE=mariadb:11\n"})
    assert [one.services for one in (plain, marked, maria) if one] == [("mysql",), ("mysql",), ("mariadb",)]


def test_the_nearest_file_and_in_its_folder_the_one_for_developers() -> None:
    files = {
        ".env.example": "A=1\n", ".env.dev.example": "A=2\n", ".env.test": "A=3\n", "web/env.sample": "A=4\n",
        "web/docker/.env.example": "A=5\n",
    }  # fmt: skip
    paths = [(found.source if (found := example(files, place)) else None) for place in ("", "web", "mail")]
    assert paths == [".env.dev.example", "web/env.sample", ".env.dev.example"]


def test_no_example_is_none_and_one_that_cannot_be_read_is_passed_by() -> None:
    assert example({"README.md": "A=1\n"}) is None
    found = example({".env.example": "this is prose, not variables\n", ".env.sample": "A=1\n"})
    assert found is not None
    assert found.source == ".env.sample"


def test_what_is_made_to_be_shown_is_told_from_what_is_used() -> None:
    assert all(map(is_example, (".env.example", "docker/env.sample", ".env-dist", "example.env", ".env.dev.example")))
    assert not any(map(is_example, (".env", "production.env", ".env.local", ".env.test", "env.py")))
