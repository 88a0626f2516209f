"""What supplies what is missing: the flag, and for services the binding that fits the variable's name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bisect_celery.flow.supply import advice, flag, for_trial
from bisect_celery.model import (
    Failure,
    Fallback,
    Judged,
    Judgement,
    Kind,
    Message,
    Observation,
    Stage,
    Symptom,
    Tree,
    Trial,
    Verdict,
    WorkerFacts,
)

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
    ("host", "/var/run/postgresql/.s.PGSQL.5432"): "`--service postgres`",
    ("host", "MySQL"): "`--service mysql`",
    ("library", "cairo"): "this library's headers",
    ("host", "elasticsearch"): "`--env` for the variable",
    ("module", "redis"): "its package in the requirements",
}


@pytest.mark.parametrize("missing", SUPPLIED, ids=lambda one: f"{one[0]} {one[1]}")
def test_the_flag_for_what_is_missing(missing: tuple[str, str]) -> None:
    assert SUPPLIED[missing] in flag(*missing)


def test_a_name_that_the_network_of_containers_knows() -> None:
    assert "in containers `db` is found" in flag("host", "db")
    for other in ("localhost:6379", "redis_broker", "/run/postgresql/.s.PGSQL.5432"):
        assert "in containers" not in flag("host", other)


# --- advice --------------------------------------------------------------------------------------------

EXAMPLE = Fallback(".env.example", (("DOMAIN", "shop.example"),))


def test_each_thing_that_is_missing_comes_with_its_flag() -> None:
    failure = Failure(Stage.BOOT, "it does not start", "KeyError", (("variable", "DOMAIN"), ("host", "db")))
    assert advice(failure) == (
        "missing variable `DOMAIN`: `--env DOMAIN=VALUE`, `--env-file FILE` or `--pass DOMAIN`.",
        f"missing host `db`: {flag('host', 'db')}.",
    )
    assert advice(failure, EXAMPLE)[0].startswith("missing variable `DOMAIN`: `--env-file .env.example` sets it; ")


@pytest.mark.parametrize(
    ("reason", "target"),
    [
        ("The package pycairo==1.23.0 that requirements_prod.txt asks for does not build.", "requirements_prod.txt"),
        ("No release of x==9 fits what deps/base.in asks for as of today.", "deps/base.in"),
        ("The package x that uv.lock asks for does not build.", "requirements.txt"),
        ("The packages that it asks for do not fit together.", "requirements.txt"),
    ],
)
def test_other_pins_go_to_the_file_that_asked(reason: str, target: str) -> None:
    (line,) = advice(Failure(Stage.ENVIRONMENT, reason))
    assert f"`--overlay FILE:{target}`" in line


def failed(exception: str, detail: str) -> Judged:
    message = Message("1", 1, 0.1, state="FAILURE", exception=exception, detail=detail)
    seen = Observation(1.0, messages=(message, message))
    return Judged(Trial(1, Tree("0" * 40, "a", ""), seen), Judgement(Verdict.BAD, Symptom(Kind.TASK_FAILED), ""))


@pytest.mark.parametrize(
    "detail",
    [
        'relation "auth_user" does not exist\nLINE 1: SELECT',
        "no such table: auth_user",
        "(1146, \"Table 'shop.auth_user' doesn't exist\")",
        "column orders.note does not exist",
    ],
)
def test_a_task_without_its_tables_wants_a_migration(detail: str) -> None:
    (line,) = for_trial(failed("ProgrammingError", detail))
    assert "--migrate 'python manage.py migrate'" in line


def test_a_task_that_reaches_nobody_is_told_once_which_service() -> None:
    lines = for_trial(failed("ConnectionError", "Error 111 connecting to localhost:6379. Connection refused."))
    assert lines == (f"missing host `localhost:6379`: {flag('host', 'localhost:6379')}.",)
    assert for_trial(failed("ValueError", "too many")) == ()


TASKS = ("celery.ping", "billing.tasks.render_invoice", "mail.tasks.send", "old.send")


@pytest.mark.parametrize(
    ("task", "registered", "told"),
    [
        ("billing.tasks.render_invoices", TASKS, "Named like it: `billing.tasks.render_invoice`."),
        ("mails.send", TASKS, "Named like it: `mail.tasks.send`, `old.send`."),
        ("what.is.it", TASKS, "It has `billing.tasks.render_invoice`, `mail.tasks.send`, `old.send`."),
        ("x.y", tuple("abcdefg"), "It has `a`, `b`, `c`, `d`, `e` and 2 more."),
    ],
)
def test_a_task_that_the_app_does_not_have_may_be_misspelt(task: str, registered: tuple[str, ...], told: str) -> None:
    for said in (task, repr(task), f"Task of kind {task!r} never registered, please make sure it's imported."):
        assert for_trial(unknown(said, registered)) == (f"The app has no task `{task}`. {told}",)


def test_a_task_that_only_the_worker_does_not_have_is_spelt_well() -> None:
    assert for_trial(unknown("'old.send'", TASKS)) == ()
    assert for_trial(unknown("'old.send'", ("celery.ping",))) == ()


def unknown(said: str, registered: tuple[str, ...]) -> Judged:
    judged = failed("NotRegistered", said)
    seen = replace(judged.trial.observation, worker=WorkerFacts(registered=registered))
    return replace(judged, trial=replace(judged.trial, observation=seen))


def test_a_trial_that_went_well_needs_nothing() -> None:
    judged = failed("ProgrammingError", "no such table: x")
    assert for_trial(replace(judged, judgement=replace(judged.judgement, verdict=Verdict.GOOD))) == ()
