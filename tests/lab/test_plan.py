"""What programs of a trial are started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.lab.plan import BROKER_NAMES, DEFAULT_CONCURRENCY, FAST_FLAGS, LEAST_PROBES, NO_APP, Plan, fill
from bisect_celery.model import STARTS, Environment, Place, Probe


@dataclass
class Somewhere:
    """The part of a place that a plan reads."""

    checkout: str = "/tree"
    work_dir: str = "/work-dir"
    guest: str = "/guest"
    broker_url: str = "amqp://me:pw@127.0.0.1:5672/mine"
    bindings: dict[str, str] = field(default_factory=lambda: {"database_url": "sqlite:////work-dir/database.sqlite3"})


PLACE = cast(Place, Somewhere())


def environment(celery: str | None = "5.4.0") -> Environment:
    return Environment("key", "/env/bin/python", "/env/bin", (("celery", celery),) if celery else ())


def plan(*worker: str, **changes: object) -> Plan:
    return Plan("shop", Probe(), worker, **changes)  # type: ignore[arg-type]


def test_slots_without_identity_take_few_probes() -> None:
    made = plan("-P", "gevent", "-c1000")
    assert (made.said_pool, made.concurrency()) == ("gevent", 1000)
    assert made.count(1000, 4000, "celery.concurrency.gevent:TaskPool") == LEAST_PROBES
    assert made.count(1000, 4000, "celery.concurrency.thread:TaskPool") == 5001
    assert plan("--pool=solo", beside=(("-c", "2"),)).said_pool == "prefork solo"


WORDS = {
    (): ("-E", "-l", "INFO"),
    ("-c", "4"): ("-c", "4", "-E", "-l", "INFO"),
    ("-E", "-linfo"): ("-E", "-linfo"),
    ("--task-events", "--loglevel=WARNING"): ("--task-events", "--loglevel=WARNING"),
    ("--events", "-l", "debug", "-Q", "mail"): ("--events", "-l", "debug", "-Q", "mail"),
}


@pytest.mark.parametrize("words", WORDS)
def test_the_worker_gets_what_the_harness_needs_to_see(words: tuple[str, ...]) -> None:
    made = plan(*words)
    assert made.worker_words(environment()) == WORDS[words]
    program = made.worker_program(PLACE, environment())
    assert program.argv == ("/env/bin/celery", "-A", "shop", "worker", *WORDS[words])
    assert made.worker_line() == " ".join(("celery -A shop worker", *words))


def test_each_of_several_workers_has_a_name_of_its_own() -> None:
    made = plan("-c", "4", "-Q", "orders", beside=(("-Q", "mail"), ("-c", "1", "-n", "theirs")))
    programs = made.worker_programs(PLACE, environment())
    assert [program.name for program in programs] == ["worker", "worker-2", "worker-3"]
    assert [program.argv[4:] for program in programs] == [
        ("-c", "4", "-Q", "orders", "-E", "-l", "INFO"),
        ("-Q", "mail", "-n", "worker-2", "-E", "-l", "INFO"),
        ("-c", "1", "-n", "theirs", "-E", "-l", "INFO"),
    ]
    assert made.workers == 3
    assert made.concurrency() == 4 + DEFAULT_CONCURRENCY + 1
    assert made.concurrency(8) == 4 + 8 + 1
    assert made.worker_line().count(" and celery -A shop worker") == 2


STARTED = {
    "celery worker": ("/env/bin/celery", "-A", "shop", "worker"),
    "celeryd": ("/env/bin/celeryd", "--app=shop"),
    "manage.py celeryd": ("/env/bin/python", "manage.py", "celeryd"),
    "manage.py celery worker": ("/env/bin/python", "manage.py", "celery", "worker"),
}


def test_every_start_has_its_program() -> None:
    assert set(STARTED) == set(STARTS)


@pytest.mark.parametrize("start", STARTED)
def test_how_a_worker_of_old_is_started(start: str) -> None:
    made = plan("-c", "2", start=start, django_settings="shop.settings")
    program = made.worker_program(PLACE, environment("2.5.1"))
    assert program.argv == (*STARTED[start], "-c", "2", "-E", "-l", "INFO")
    assert "DJANGO_SETTINGS_MODULE" not in dict(program.env)
    told = dict(made.sender_program(PLACE, environment("2.5.1")).env).get("DJANGO_SETTINGS_MODULE")
    assert told == ("shop.settings" if "manage.py" in start else None)


def test_a_worker_that_names_no_app() -> None:
    bare = Plan(NO_APP, Probe(), ("-c", "2"), start="celeryd")
    assert bare.worker_program(PLACE, environment("2.5.1")).argv[:3] == ("/env/bin/celeryd", "-c", "2")
    assert Plan(NO_APP, Probe()).worker_line() == "celery worker"


def test_the_users_own_django_settings_come_first() -> None:
    made = plan(start="manage.py celeryd", django_settings="a", variables=(("DJANGO_SETTINGS_MODULE", "b"),))
    assert dict(made.sender_program(PLACE, environment()).env)["DJANGO_SETTINGS_MODULE"] == "b"


@pytest.mark.parametrize(
    ("celery", "expected"),
    [("5.7.0", True), ("4.4.7", True), ("3.1.26.post2", True), ("3.0.25", False), ("2.5.5", False), (None, False)],
)
def test_what_saves_time_is_asked_of_workers_who_know_it(celery: str | None, expected: bool) -> None:
    words = plan("-c", "2").faster().worker_words(environment(celery))
    assert (set(FAST_FLAGS) <= set(words)) == expected
    assert not set(FAST_FLAGS) & set(plan("-c", "2").worker_words(environment(celery)))


def test_what_the_start_line_has_is_not_said_twice() -> None:
    words = plan("-E", "--without-mingle").faster().worker_words(environment())
    assert words.count("--without-mingle") == 1
    assert words.count("-E") == 1


CONCURRENCY = {
    ("-c", "4"): 4,
    ("-c4",): 4,
    ("--concurrency", "8"): 8,
    ("--concurrency=16", "-Q", "mail"): 16,
    ("-Q", "c"): None,
    ("-c", "many"): None,
    ("-c",): None,
    (): None,
}


@pytest.mark.parametrize("words", CONCURRENCY)
def test_the_start_line_comes_before_the_settings(words: tuple[str, ...]) -> None:
    said = CONCURRENCY[words]
    assert plan(*words).concurrency() == (said or DEFAULT_CONCURRENCY)
    assert plan(*words).concurrency(7) == (said or 7)


@given(st.integers(1, 64), st.none() | st.integers(0, 256))
def test_probes_outnumber_what_can_be_taken_in_advance(concurrency: int, prefetch: int | None) -> None:
    """DESIGN 10: concurrency × (prefetch + 1) + 1, where the worker's own count is multiplied out already."""
    count = plan().count(concurrency, prefetch)
    assert count >= LEAST_PROBES
    assert count > concurrency + (prefetch if prefetch is not None else 4 * concurrency)


def test_a_count_of_the_users_is_the_users() -> None:
    assert Plan("shop", Probe(count=3)).count(8, 32) == 3


def test_programs_see_nothing_of_ours_but_what_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://production.example//")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a canary")
    made = plan(variables=(("MODE", "x"),), source_roots=("src", ""))
    for program in (made.worker_program(PLACE, environment()), made.sender_program(PLACE, environment())):
        seen = dict(program.env)
        assert "AWS_SECRET_ACCESS_KEY" not in seen
        assert {seen[name] for name in BROKER_NAMES} == {PLACE.broker_url}
        assert seen["HOME"] == seen["TMPDIR"] == "/work-dir"
        assert seen["PATH"].split(":")[0] == "/env/bin"
        assert seen["PYTHONDONTWRITEBYTECODE"] == seen["PYTHONUNBUFFERED"] == "1"
        assert seen["PYTHONPATH"] == "/tree/src:/tree/"
        assert seen["MODE"] == "x"
        assert "CELERY_RESULT_BACKEND" not in seen


def test_a_replaced_result_backend_is_celerys_own_override() -> None:
    seen = dict(plan(result_url="rpc://").worker_program(PLACE, environment()).env)
    assert seen["CELERY_RESULT_BACKEND"] == "rpc://"


def test_placeholders_are_filled_in_and_other_braces_stay() -> None:
    values = (
        ("BROKER", "{broker_url}"),
        ("PARTS", "{broker_user}|{broker_password}|{broker_host}|{broker_port}|{broker_vhost}"),
        ("RESULTS", "{result_url}"),
        ("DATA", "{database_url}?timeout=1"),
        ("JSON", '{"at": "{work_dir}", "n": {}}'),
        ("CELERY_BROKER_URL", "amqp://mine"),
    )
    seen = dict(plan(variables=values).worker_program(PLACE, environment()).env)
    assert seen["BROKER"] == PLACE.broker_url
    assert seen["PARTS"] == "me|pw|127.0.0.1|5672|mine"
    assert seen["RESULTS"] == "rpc://"
    assert seen["DATA"] == "sqlite:////work-dir/database.sqlite3?timeout=1"
    assert seen["JSON"] == '{"at": "/work-dir", "n": {}}'
    assert seen["CELERY_BROKER_URL"] == "amqp://mine"


@given(st.text())
def test_text_without_placeholders_stays_as_it_is(text: str) -> None:
    assert fill(text, {}) == text


def test_the_prepare_command_runs_in_the_shell_where_the_app_lives() -> None:
    made = plan(prepare="python manage.py migrate && true", subfolder="services/mail")
    program = made.prepare_program(PLACE, environment())
    assert program.argv == ("/bin/sh", "-c", "python manage.py migrate && true")
    assert program.folder == "services/mail"


@pytest.mark.parametrize(
    ("line", "queues"),
    [
        (("-c", "2"), ()),
        (("-Q", "mail,slow"), ("mail", "slow")),
        (("--queues=mail", "-c", "2"), ("mail",)),
        (("-Qmail",), ("mail",)),
        (("--queues", "mail"), ("mail",)),
        (("-Q",), ()),
    ],
)
def test_the_queues_that_a_start_line_names(line: tuple[str, ...], queues: tuple[str, ...]) -> None:
    assert Plan("shop", Probe(), worker=line).consumed() == queues


def test_a_worker_beside_that_names_none_consumes_what_the_settings_say() -> None:
    assert Plan("shop", Probe(), worker=("-Q", "mail"), beside=(("-Q", "slow,mail"),)).consumed() == ("mail", "slow")
    assert Plan("shop", Probe(), worker=("-Q", "mail"), beside=(("-c", "1"),)).consumed() == ()
