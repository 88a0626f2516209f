"""A Dockerfile, read: its stages and instructions, each with the exact lines it was written in. Pure.

Format: https://docs.docker.com/reference/dockerfile/ . Read are parser directives (`escape`), comments, continued
lines, heredocs, flags, the JSON form, and `$NAME`, `${NAME:-word}`, `${NAME:+word}`. What is read only decides what a
build is given; the engine reads the text itself.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"^#\s*([A-Za-z]+)\s*=\s*(.*?)\s*$")
_HEREDOC = re.compile(r"<<(?P<dash>-?)(?P<quote>[\"']?)(?P<name>[A-Za-z_]\w*)(?P=quote)")
_FLAG = re.compile(r"^--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
_NAMED = re.compile(r"^[A-Za-z_]\w*")


class Unclear(Exception):
    """What a Dockerfile says cannot be known without running it; the message says what."""


@dataclass(frozen=True)
class Heredoc:
    """A file written into the Dockerfile."""

    name: str
    body: str


@dataclass(frozen=True)
class Instruction:
    """One instruction: `name` in capitals, `flags` as (name, value), `rest` what follows them with lines joined, `text`
    its lines as they stand in the file, the first of them `line` (from 1)."""

    name: str
    flags: tuple[tuple[str, str], ...]
    rest: str
    text: str
    line: int
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str) -> str | None:
        return next((value for flag, value in self.flags if flag == name), None)

    def words(self) -> tuple[str, ...]:
        """Its words: those of the JSON form, or parted by spaces, where quotes hold together and go."""
        listed = self.listed()
        if listed is not None:
            return listed
        try:
            return tuple(shlex.split(self.rest, comments=False))
        except ValueError:
            return tuple(self.rest.split())

    def listed(self) -> tuple[str, ...] | None:
        """The words of the JSON form, None where it is not."""
        if self.rest.startswith("["):
            try:
                found = json.loads(self.rest)
            except ValueError:
                return None
            if isinstance(found, list) and all(isinstance(one, str) for one in found):
                return tuple(found)
        return None

    def shown(self) -> str:
        """For a sentence."""
        said = f"{self.name} {self.rest}".strip()
        return f"line {self.line}, `{said if len(said) <= 60 else said[:57] + '…'}`"


@dataclass(frozen=True)
class Stage:
    """`FROM base AS name` and the instructions after it. `base` still has its variables; `name` is in small letters."""

    number: int
    begins: Instruction
    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def is_called(self, name: str) -> bool:
        return name.lower() == self.name or name == str(self.number)


@dataclass(frozen=True)
class Dockerfile:
    """The whole file: `directives` as they stand at its top, the instructions before the first FROM, the stages."""

    directives: tuple[str, ...]
    before: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    escape: str = "\\"

    @property
    def text(self) -> str:
        lines = [*self.directives, *(one.text for one in self.before)]
        for stage in self.stages:
            lines += [stage.begins.text, *(one.text for one in stage.instructions)]
        return "\n".join([*lines, ""])


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile. Raises Unclear where there is no stage in it, or it ends in the middle of a heredoc."""
    lines = text.removeprefix("\ufeff").splitlines()
    directives = tuple(_directives(lines))
    said = {match[1].lower(): match[2] for line in directives if (match := _DIRECTIVE.match(line))}
    escape = "`" if said.get("escape") == "`" else "\\"
    before: list[Instruction] = []
    stages: list[Stage] = []
    for one in _instructions(lines, len(directives), escape):
        if one.name == "FROM":
            words = one.words()
            named = len(words) >= 3 and words[1].lower() == "as"
            if not words:
                raise Unclear(f"{one.shown()} names no image")
            stages.append(Stage(len(stages), one, words[0], words[2].lower() if named else "", ()))
        elif stages:
            last = stages[-1]
            stages[-1] = Stage(last.number, last.begins, last.base, last.name, (*last.instructions, one))
        else:
            before.append(one)
    if not stages:
        raise Unclear("it has no FROM")
    return Dockerfile(directives, tuple(before), tuple(stages), escape)


def _directives(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not _DIRECTIVE.match(line):
            return
        yield line


def _instructions(lines: list[str], start: int, escape: str) -> Iterator[Instruction]:
    continued = re.compile(re.escape(escape) + r"[ \t]*$")
    index = start
    while index < len(lines):
        if not lines[index].strip() or lines[index].lstrip().startswith("#"):
            index += 1
            continue
        first, joined = index, ""
        while index < len(lines):
            line = lines[index]
            index += 1
            if line.lstrip().startswith("#") or (joined and not line.strip()):
                continue  # comments and empty lines do not end an instruction that goes on
            joined += continued.sub("", line)
            if not continued.search(line):
                break
        name, rest = (*joined.strip().split(None, 1), "")[:2]
        heredocs: list[Heredoc] = []
        if name.upper() in _WITH_HEREDOCS and not rest.startswith("["):
            for match in _HEREDOC.finditer(rest):
                body, index = _body(lines, index, match)
                heredocs.append(Heredoc(match["name"], body))
        flags, rest = _flags(rest.strip())
        yield Instruction(name.upper(), flags, rest, "\n".join(lines[first:index]), first + 1, tuple(heredocs))


def _body(lines: list[str], index: int, match: re.Match[str]) -> tuple[str, int]:
    body: list[str] = []
    while index < len(lines):
        line = lines[index].lstrip("\t") if match["dash"] else lines[index]
        index += 1
        if line == match["name"]:
            return "".join(f"{one}\n" for one in body), index
        body.append(line)
    raise Unclear(f"the text that begins with <<{match['name']} has no end")


def _flags(rest: str) -> tuple[tuple[tuple[str, str], ...], str]:
    found = []
    while match := _FLAG.match(rest):
        found.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return tuple(found), rest.strip()


# --- variables ------------------------------------------------------------------------------------------


def substituted(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """`text` with its variables put in; those that are not set are empty. Raises Unclear for what is not understood."""
    out, index = "", 0
    while index < len(text):
        char = text[index]
        if char == escape and text[index + 1 : index + 2] == "$":
            out, index = out + "$", index + 2
        elif char != "$":
            out, index = out + char, index + 1
        elif text[index + 1 : index + 2] == "{":
            end = _brace(text, index + 2)
            out, index = out + _in_braces(text[index + 2 : end], variables, escape), end + 1
        elif match := _NAMED.match(text[index + 1 :]):
            out, index = out + variables.get(match[0], ""), index + 1 + match.end()
        else:
            out, index = out + char, index + 1
    return out


def _brace(text: str, index: int) -> int:
    depth = 1
    for place in range(index, len(text)):
        depth += text.startswith("${", place) - (text[place] == "}")
        if depth == 0:
            return place
    raise Unclear(f"a brace in `{text}` is not closed")


def _in_braces(inner: str, variables: Mapping[str, str], escape: str) -> str:
    match = re.match(r"^([A-Za-z_]\w*)(?:(:?[-+])(.*))?$", inner, re.S)
    if match is None:
        raise Unclear(f"`${{{inner}}}` is not understood")
    value, how, word = variables.get(match[1]), match[2] or "", match[3] or ""
    is_set = bool(value) if how.startswith(":") else value is not None
    if how.endswith("-"):
        return str(value) if is_set else substituted(word, variables, escape)
    if how.endswith("+"):
        return substituted(word, variables, escape) if is_set else ""
    return value or ""


def assigned(instruction: Instruction) -> Iterator[tuple[str, str | None]]:
    """The names that ENV or ARG sets, with values as they are written; None: an ARG without a default."""
    words = instruction.words()
    if instruction.name == "ENV" and words and "=" not in words[0]:
        yield words[0], instruction.rest.split(None, 1)[1] if len(words) > 1 else ""
        return
    for word in words:
        name, equals, value = word.partition("=")
        yield name, value if equals else None


def joined(folder: str, path: str) -> str:
    """`path`, seen from `folder` of an image, as a clean absolute path."""
    clean = posixpath.normpath(posixpath.join("/", folder, path))
    return "/" + clean.lstrip("/")
