"""What is nobody's business stays out of a report, and hidden characters come to light."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from incident import session

from bisect_celery.model import Probe
from bisect_celery.report.private import Clean, command, visible

REQUEST = session().request


@pytest.mark.parametrize(
    ("given", "kept", "left_out"),
    [
        ("bisect-celery run v1 HEAD", "bisect-celery run v1 HEAD", False),
        ("x --args '[1]' --kwargs={} --expect '\"a b\"'", "x --args … '--kwargs={}' --expect …", True),
        ("x --check 'value == \"Ada\"'", "x --check …", True),
        ("x --args '[]' --kwargs '{}'", "x --args '[]' --kwargs '{}'", False),
        ("x --args='[\"a\"]' -- app/mail", "x --args=… -- app/mail", True),
        ("x --env A=1 --env=B='two words' --env C=", "x --env A=… --env=B=… --env C=", True),
        ("x --env BROKER={broker_url} --env D={work_dir}/db.sqlite3", None, False),
        ("x --env BROKER={broker_url}secret-after-it-that-is-longer", "x --env BROKER=…", True),
        ("x --worker '-c 2 -Q mail'", "x --worker '-c 2 -Q mail'", False),
        ("x --args 'unbalanced", "x --args 'unbalanced", True),
    ],
)
def test_commands(given: str, kept: str | None, left_out: bool) -> None:
    shown, private = command(given, REQUEST)
    assert private is left_out
    if kept is None:
        assert shlex.split(shown) == shlex.split(given)
    else:
        assert shown == kept


def test_arguments_and_values_are_left_out_of_any_text() -> None:
    clean = Clean.of(REQUEST, lambda text: text)
    assert clean.line("run it with --args '[\"order-77412\"]' REGION=eu-west-hidden") == "run it with --args … REGION=…"
    assert clean.message("no order-77412 in eu-west-hidden, order-774120 is") == "no … in …, order-774120 is"


def test_what_a_predicate_compares_with_is_left_out() -> None:
    check = "value['customer'] == 'Ada Archer' and value['total'] > 3"
    clean = Clean.of(dataclasses.replace(REQUEST, probe=Probe(check=check)), lambda text: text)
    assert clean.message(check) == "value['customer'] == '…' and value['total'] > 3"


def test_values_that_are_words_are_not_taken_out_of_titles() -> None:
    request = dataclasses.replace(REQUEST, probe=Probe(args='["import"]'), environment=(("A", "shop"),))
    clean = Clean.of(request, lambda text: text)
    assert clean.code("-from shop import regions") == "-from shop import regions"


def test_redaction_comes_before_anything_is_cut_or_joined() -> None:
    clean = Clean.of(REQUEST, lambda text: text.replace("a\nb", "***"))
    assert clean.line("x a\nb y") == "x *** y"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[31mred", "<U+001B>[31mred"),
        ("if user != '\u202e': pass", "if user != '<U+202E>': pass"),
        ("caf\udce9", "caf<U+DCE9>"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_hidden_characters_come_to_light(text: str, seen: str) -> None:
    assert visible(text) == seen
