"""Texts that are compared: what varies from run to run goes, what names another failure stays."""

from __future__ import annotations

import ast
import itertools
import json
import re
import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bisect_celery.core.texts import NAMES_CODE, canonical, message_template, retried_for, told_exception

# --- templates ---------------------------------------------------------------------------------------

VARIABLE = {
    "uuids": st.uuids().map(str),
    "uuids without dashes": st.uuids().map(lambda value: value.hex),
    "git and other hashes": st.text("0123456789abcdef", min_size=7, max_size=40).filter(re.compile(r"\d").search),
    "addresses": st.integers(0, 2**64).map(hex),
    "numbers": st.integers(-(10**12), 10**12).map(str),
    "fractions": st.floats(-1e6, 1e6).map(lambda value: f"{value:.3f}"),
    "floats": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "thousands": st.integers(0, 10**12).map(lambda value: f"{value:,}"),
    "quoted values": st.text(max_size=20).filter(lambda text: not set(text) & set("\r\n")).map(repr),
    "absolute paths": st.lists(
        st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=8), min_size=2
    )
    .filter(lambda parts: all(re.search(r"\w", part) for part in parts))
    .map(lambda parts: "/" + "/".join(parts)),
}


def lines(text: str) -> bool:
    return len(text.splitlines()) == 1


@pytest.mark.parametrize("what", VARIABLE)
def test_messages_that_differ_only_in_what_varies_are_one(what: str) -> None:
    @given(VARIABLE[what].filter(lines), VARIABLE[what].filter(lines))
    def holds(one: str, other: str) -> None:
        for frame in ("no order {} in the shop", "{} is gone", "failed: {}", "key={}", "at {}, twice: ({})"):
            assert message_template(frame.format(one, one)) == message_template(frame.format(other, other))

    holds()


WORD = st.text("ghijklmnopqrstuvwxyz", min_size=1, max_size=10)
PLAIN = st.lists(WORD, min_size=1, max_size=8).map(" ".join)


@given(PLAIN, PLAIN)
def test_messages_of_different_words_stay_different(one: str, other: str) -> None:
    assert (message_template(one) == message_template(other)) == (one == other)


@given(PLAIN, st.lists(st.one_of(*VARIABLE.values()).filter(lines), min_size=1, max_size=3))
def test_the_words_around_what_varies_stay(words: str, varying: list[str]) -> None:
    template = message_template(f"{words}: {' '.join(varying)}")
    assert template is not None
    assert template.startswith(words)


@given(st.text())
def test_a_template_is_one_line_and_its_own_template(text: str) -> None:
    once = message_template(text)
    assert once is not None
    assert len(once) <= 200
    assert len(once.splitlines()) <= 1


TEMPLATES = {
    "no such order: 17": "no such order: <n>",
    "Task 3f2504e0-4f89-41d3-9a0c-0305e82c3301 of queue 'mail'": "Task <n> of queue <text>",
    "<shop.Order object at 0x7f3c5c0b1d90>": "<shop.Order object at <n>>",
    "can't open file '/tmp/x': no": "can't open file <text>: no",
    "users' data of 'x'": "users' data of <text>",
    "[Errno 2] No such file or directory: '/srv/app/t 1.csv'": "[Errno <n>] No such file or directory: <text>",
    "cannot read /srv/app/tariff.csv now": "cannot read <path> now",
    'duplicate key value violates "orders_pk"\nDETAIL: Key (id)=(5)': "duplicate key value violates <text>",
    "Worker exited: signal 9 (SIGKILL) Job: 3.": "Worker exited: signal <n> (SIGKILL) Job: <n>.",
    "the facade decade is faced": "the facade decade is faced",
    "took -1.5e-3 s": "took <n> s",
    "": "",
}


@pytest.mark.parametrize("text", TEMPLATES)
def test_the_table_of_templates(text: str) -> None:
    assert message_template(text) == TEMPLATES[text]


KEYS = {
    "'TARIFF'": "'TARIFF'",
    "'delivery_days'": "'delivery_days'",
    "'größe'": "'größe'",
    "'order-17'": "<text>",
    "'order_17'": "<text>",
    "'Ada Archer'": "<text>",
    "''": "<text>",
    "17": "<n>",
    "('TARIFF', 'order-17', 3)": "('TARIFF', <text>, <n>)",
}


@pytest.mark.parametrize("text", KEYS)
def test_a_key_that_is_written_like_a_name_tells_failures_apart(text: str) -> None:
    once = message_template(text, "KeyError")
    assert once == KEYS[text]
    assert message_template(once, "KeyError") == once


@given(st.text(), st.sampled_from((None, "KeyError", "NameError")))
def test_a_template_of_a_template_is_itself(text: str, exception: str | None) -> None:
    once = message_template(text, exception)
    assert message_template(once, exception) == once


def test_no_text_has_no_template() -> None:
    assert message_template(None) is None


@pytest.mark.parametrize("exception", sorted(NAMES_CODE))
def test_names_of_code_tell_failures_apart(exception: str) -> None:
    one, other = "name 'tariff' is not defined at 0x7f01", "name 'orders' is not defined at 0x7f02"
    assert message_template(one, exception) != message_template(other, exception)
    assert message_template(one) == message_template(other)
    assert message_template(one, exception) == message_template(one.replace("01", "99"), exception)


DATA_IN_CODE = {
    "'Order' object has no attribute 'paid_at'": "'Order' object has no attribute 'paid_at'",
    "module 'shop.audit' has no attribute 'trail'": "module 'shop.audit' has no attribute 'trail'",
    "'<=' not supported between 'str' and 'int'": "'<=' not supported between 'str' and 'int'",
    "work() got an unexpected keyword argument 'rate_2'": "work() got an unexpected keyword argument 'rate_<n>'",
    "cannot import name 'x' from 'shop' (/srv/app/shop.py)": "cannot import name 'x' from 'shop' (<path>)",
    "no rate for 'ada@shop.example'": "no rate for <text>",
    "expected a date, got 'the first of May'": "expected a date, got <text>",
    "cannot mail b'\\x00 17'": "cannot mail <text>",
}


@pytest.mark.parametrize("text", DATA_IN_CODE)
@pytest.mark.parametrize("exception", ["TypeError", "AttributeError", "ImportError"])
def test_what_is_not_written_like_a_name_of_code_is_data_whatever_the_exception(text: str, exception: str) -> None:
    assert message_template(text, exception) == DATA_IN_CODE[text]


# --- exceptions --------------------------------------------------------------------------------------

TOLD = {
    "ValueError('no such order')": ("ValueError", "no such order"),
    "ValueError('no such order',)": ("ValueError", "no such order"),  # Python before 3.7
    "ValueError(u'no such order',)": ("ValueError", "no such order"),  # Python 2
    "ValueError()": ("ValueError", ""),
    "ValueError('a', 2)": ("ValueError", "('a', 2)"),
    "ValueError(('a', 2))": ("ValueError", "('a', 2)"),
    "ValueError(\"it's\")": ("ValueError", "it's"),
    "KeyError('order')": ("KeyError", "'order'"),
    "FileNotFoundError(2, 'No such file or directory')": (
        "FileNotFoundError", "[Errno 2] No such file or directory",
    ),
    "OSError(17)": ("OSError", "17"),
    "shop.errors.NoSuchOrder('n 17')": ("NoSuchOrder", "n 17"),
    "IntegrityError('duplicate key\\nDETAIL: x')": ("IntegrityError", "duplicate key\nDETAIL: x"),
    "ConnectionError(MaxRetryError(\"HTTPConnectionPool(host='x')\"))": (
        "ConnectionError", "MaxRetryError(\"HTTPConnectionPool(host='x')\")",
    ),
    "UnicodeDecodeError('ascii', b'\\xff', 0, 1, 'ordinal not in range')": (
        "UnicodeDecodeError", "'ascii' codec can't decode byte 0xff in position 0: ordinal not in range",
    ),
    "UnicodeDecodeError('not its arguments')": ("UnicodeDecodeError", "not its arguments"),
    "NoSuchOrder: 17": ("NoSuchOrder", "NoSuchOrder: 17"),
    "<NoSuchOrder 17>": ("NoSuchOrder", "<NoSuchOrder 17>"),
    "Größe('x')": ("Größe", "x"),
    "": (None, None),
    "???": (None, "???"),
}  # fmt: skip


@pytest.mark.parametrize("text", TOLD)
def test_the_table_of_exceptions(text: str) -> None:
    assert told_exception(text) == TOLD[text]


def test_a_repr_of_the_projects_own_is_named_by_its_traceback() -> None:
    traceback = """Traceback (most recent call last):
  File "trace.py", line 1, in trace_task
    R = retval = fun(*args, **kwargs)
shop.errors.NoSuchOrder: order 17
  is not there
"""
    assert told_exception("the order 17 is gone", traceback) == ("NoSuchOrder", "the order 17 is gone")
    assert told_exception("the order 17 is gone", "nonsense") == ("nonsense", "the order 17 is gone")
    assert told_exception("the order 17 is gone", "") == ("the", "the order 17 is gone")


BUILTIN = [ValueError, KeyError, RuntimeError, OSError, IndexError, TypeError, ZeroDivisionError, LookupError]
ARGUMENT = st.one_of(st.text(max_size=20), st.integers(), st.none(), st.booleans(), st.binary(max_size=8))


@given(st.sampled_from(BUILTIN), st.lists(ARGUMENT, max_size=3))
def test_the_repr_of_an_exception_tells_its_str(kind: type[Exception], arguments: list[object]) -> None:
    """An event carries the one, a person and a result the other."""
    error = kind(*arguments[: 2 if kind is OSError else 3])  # its third is a file name, which `repr` leaves out
    assert told_exception(repr(error)) == (type(error).__name__, str(error))


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=60)))
def test_any_text_tells_something_and_nothing_raises(text: str, traceback: str | None) -> None:
    name, detail = told_exception(text, traceback)
    assert name is None or name
    assert detail is None or isinstance(detail, str)


def test_endless_nesting_is_only_text() -> None:
    assert told_exception(f"ValueError({'(' * 5000}{')' * 5000})")[0] == "ValueError"


# --- JSON --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_two_spellings_of_one_value_agree(value: object) -> None:
    spellings = (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False), json.dumps(value, sort_keys=True))
    assert len({canonical(text) for text in spellings}) == 1
    assert json.loads(canonical(json.dumps(value))) == value


@given(JSON, JSON)
def test_other_values_stay_other_values(one: object, other: object) -> None:
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert canonical(json.dumps(one)) != canonical(json.dumps(other))


@given(st.text())
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        assert canonical(text) == text


def test_json_without_end_is_left_alone() -> None:
    text = "[" * 100_000
    assert canonical(text) == text


def test_what_another_thread_does_to_the_parser_is_no_news_of_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 fails at times, "AST constructor recursion depth mismatch", when several threads parse at once."""
    parse, calls = ast.parse, itertools.count()

    def disturbed(*args: Any, **kwargs: Any) -> ast.AST:
        if next(calls) % 3:
            raise SystemError("AST constructor recursion depth mismatch (before=18, after=14)")
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", disturbed)
    for _ in range(4):
        assert told_exception("ValueError('no', 7)") == ("ValueError", "('no', 7)")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Retry(Retry(...), KeyError('x'), 0.2)", "KeyError('x')"),
        ("Retry(Retry(...), OSError(2, 'no (such) file'), None)", "OSError(2, 'no (such) file')"),
        ("Retry(Retry(...), E('a'), datetime.datetime(2026, 11, 1, 2, 3, tzinfo=datetime.timezone.utc))", "E('a')"),
        ("Retry(Retry(...), None, 180)", "None"),
        ("KeyError('x')", "KeyError('x')"),
        ("Retry('theirs')", "Retry('theirs')"),
    ],
)
def test_why_a_task_asks_to_be_run_again(text: str, reason: str) -> None:
    assert retried_for(text) == reason
