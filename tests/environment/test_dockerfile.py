"""Reading Dockerfiles: lines, heredocs, flags, variables, and what is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.environment.images.dockerfile import Unclear, assigned, parse, substituted
from bisect_celery.environment.images.dockerignore import ignored

WRITTEN = """\
# syntax=docker/dockerfile:1
# escape=\\
# a comment, not a directive
ARG BASE=python:3.11
FROM --platform=$BUILDPLATFORM ${BASE} AS Builder
RUN apt-get update && \\
    # what it needs
    apt-get install -y \\

    gcc
COPY --chown=app:app ["a file", "to/"]
RUN <<EOF
pip install x
COPY is not an instruction here
EOF
copy . .
FROM builder
"""


def test_instructions_are_read_as_they_are_written() -> None:
    found = parse(WRITTEN)
    assert found.directives == ("# syntax=docker/dockerfile:1", "# escape=\\")
    assert [one.name for one in found.before] == ["ARG"]
    first, last = found.stages
    assert (first.base, first.name, last.base, last.name) == ("${BASE}", "builder", "builder", "")
    assert [one.name for one in first.instructions] == ["RUN", "COPY", "RUN", "COPY"]
    run, copy, written, _ = first.instructions
    assert run.rest.split() == ["apt-get", "update", "&&", "apt-get", "install", "-y", "gcc"]
    assert run.line == 6
    assert run.text.count("\n") == 4
    assert copy.words() == ("a file", "to/")
    assert copy.flag("chown") == "app:app"
    assert [(one.name, one.body) for one in written.heredocs] == [
        ("EOF", "pip install x\nCOPY is not an instruction here\n")
    ]


def test_what_is_written_again_says_the_same() -> None:
    once = parse(WRITTEN)
    again = parse(once.text)
    assert [[one.text for one in stage.instructions] for stage in again.stages] == [
        [one.text for one in stage.instructions] for stage in once.stages
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "RUN true\n", "FROM a\nRUN <<END\nnever\n"])
def test_what_is_no_dockerfile_is_refused(text: str) -> None:
    with pytest.raises(Unclear):
        parse(text)


def test_another_escape_leaves_backslashes_alone() -> None:
    found = parse("# escape=`\nFROM a\nRUN dir C:\\ `\n  && echo b\n")
    assert found.stages[0].instructions[0].rest.split() == ["dir", "C:\\", "&&", "echo", "b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A", "one"), ("${A}x", "onex"), ("$Ax", ""), ("\\$A", "$A"), ("${B:-two}", "two"), ("${E:-two}", "two"),
        ("${E-two}", ""), ("${A:+yes}", "yes"), ("${B:+yes}", ""), ("${B:-${A}}", "one"), ("a$", "a$"), ("$1", "$1"),
    ],
)  # fmt: skip
def test_variables(text: str, value: str) -> None:
    assert substituted(text, {"A": "one", "E": ""}) == value


@pytest.mark.parametrize("text", ["${A", "${A#x}", "${}"])
def test_variables_that_are_not_understood(text: str) -> None:
    with pytest.raises(Unclear):
        substituted(text, {"A": "one"})


def test_what_is_assigned() -> None:
    lines = "FROM a\nENV A=1 B='2 3' C=\"$A\"\nENV OLD the rest of it\nARG D\nARG E=5\n"
    found = [pair for one in parse(lines).stages[0].instructions for pair in assigned(one)]
    assert found == [("A", "1"), ("B", "2 3"), ("C", "$A"), ("OLD", "the rest of it"), ("D", None), ("E", "5")]


PLAIN = st.text(st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8)


@given(st.lists(st.tuples(st.sampled_from(["RUN", "COPY", "ENV", "USER"]), st.lists(PLAIN, min_size=2)), max_size=6))
def test_any_instructions_come_back(lines: list[tuple[str, list[str]]]) -> None:
    text = "FROM base\n" + "".join(f"{name} {' '.join(words)}\n" for name, words in lines)
    assert [(one.name, list(one.words())) for one in parse(text).stages[0].instructions] == lines
    gone_on = " \\\n  "
    broken = "FROM base\n" + "".join(f"{name} {gone_on.join(words)}\n" for name, words in lines)
    assert [(one.name, list(one.words())) for one in parse(broken).stages[0].instructions] == lines


@pytest.mark.parametrize(
    ("rules", "out", "stays"),
    [
        (".git\n", [".git/HEAD", ".git"], ["a/.git/HEAD", ".gitignore"]),
        ("**/__pycache__\n*.md\n!README.md\n", ["a/b/__pycache__/x.pyc", "NOTES.md"], ["README.md", "docs/NOTES.md"]),
        ("*\n!src\n!requirements*.txt\nsrc/tests\n", ["a.py", "src/tests/t.py"], ["src/a.py", "requirements-dev.txt"]),
        ("# *\n/build/\n./dist\n", ["build/a", "dist/b"], ["a", "x/build/a"]),
        ("a?c\n[x-z]*\n", ["abc", "yes/b"], ["a/c", "ac", "no"]),
        ("docs/**\n**/*.log\n", ["docs/a/b", "x/y.log", "y.log"], ["docsx", "y.logs"]),
    ],
)
def test_dockerignore(rules: str, out: list[str], stays: list[str]) -> None:
    hidden = ignored(rules)
    assert [path for path in (*out, *stays) if hidden(path)] == out


@given(st.lists(PLAIN, min_size=1, max_size=4), st.lists(PLAIN, max_size=3))
def test_what_is_in_an_ignored_folder_is_ignored(folder: list[str], below: list[str]) -> None:
    path = "/".join([*folder, *below])
    assert ignored("/".join(folder))(path)
    assert not ignored(f"{'/'.join(folder)}\n!{path}")(path)
