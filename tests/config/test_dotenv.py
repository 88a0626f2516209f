"""Files of variables: what common readers agree on, by example and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.config import dotenv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1\n", {"A": "1"}),
        ("  A = spaced out  # comment\n", {"A": "spaced out"}),
        ("A=http://x/#fragment", {"A": "http://x/#fragment"}),
        ("A='it is # kept'  # not this", {"A": "it is # kept"}),
        ('A="two\\nlines"', {"A": "two\nlines"}),
        ('A="two\nlines"\nB=2', {"A": "two\nlines", "B": "2"}),
        ("A='no \\n escape'", {"A": "no \\n escape"}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("# A=1\n\n\nB=2\r\nC=3\r\n", {"B": "2", "C": "3"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A", {"A": None}),
        ("HOST=db\nURL=postgres://${HOST}/x", {"HOST": "db", "URL": "postgres://db/x"}),
        ("URL=${PORT:-80}${NONE}", {"URL": "80"}),
        ("A=''\nB=${A:-x}${A-y}", {"A": "", "B": "x"}),
        ("X=1\nA='${X}'\nB=\"\\${X} ${X}\"", {"X": "1", "A": "${X}", "B": "${X} 1"}),
        ("A=it's\nB=2", {"A": "it's", "B": "2"}),
        ('A="half', {"A": '"half'}),
        ('JSON={"a": "b"}', {"JSON": '{"a": "b"}'}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=p@ss$word$1", {"A": "p@ss$word$1"}),
        ("A=x#y", {"A": "x#y"}),
        ("", {}),
    ],
)
def test_examples(text: str, expected: dict[str, str | None]) -> None:
    assert dotenv.parse(text) == expected


@pytest.mark.parametrize(("text", "line"), [("A=1\n=2", 2), ("A=1\n\nnot a variable\n", 3), ("1A=2", 1)])
def test_a_line_that_is_none_is_numbered(text: str, line: int) -> None:
    with pytest.raises(dotenv.DotenvError) as caught:
        dotenv.parse(text)
    assert caught.value.line == line


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=30)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.booleans())
def test_what_was_quoted_comes_back(variables: dict[str, str], export: bool) -> None:
    prefix = "export " if export else ""
    text = "\n".join(f"{prefix}{name}={quoted(value)}  # said" for name, value in variables.items())
    assert dotenv.parse(text) == variables


@given(st.text(max_size=200))
def test_no_text_crashes_it_or_takes_for_ever(text: str) -> None:
    try:
        found = dotenv.parse(text)
    except dotenv.DotenvError as caught:
        line = caught.line
    else:
        line = 1
        assert all("=" not in name for name in found)
    assert 1 <= line <= text.count("\n") + 1
