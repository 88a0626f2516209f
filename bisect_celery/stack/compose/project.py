"""A project's own compose file, resolved by the compose program of this machine: it alone knows all of the format.

Asked is only `config`, which reads files and speaks to no engine. `docker compose` (version 2) answers in JSON,
`docker-compose` of version 1 in YAML, which has the same keys. What they print can be read by them again: a `$` is
doubled in it (https://docs.docker.com/reference/cli/docker/compose/config/).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bisect_celery import proc
from bisect_celery.errors import InfraError

DEADLINE = 60.0
HOW_TO_GET_IT = (
    "Install Docker's compose plugin (package `docker-compose-plugin`, or `docker-compose`): `docker compose version`."
)
# What the program itself needs of the caller's: where its plugins and settings lie. It asks no engine for anything.
_ITS_OWN = ("PATH", "HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "TMPDIR", "LANG")
# Lines that are no reason: warnings, and the heading above the reasons.
_ASIDE = re.compile(r"level=warning|variable is not set|is invalid because:$")


class NotResolved(Exception):
    """Why the program refused a file, in its own words."""


@dataclass(frozen=True)
class Program:
    """A compose program: the words that start it, and its version."""

    words: tuple[str, ...]
    version: str

    @property
    def first(self) -> bool:
        """Whether it is version 1, which was written in Python."""
        return self.version.startswith("1.")


@dataclass(frozen=True)
class Resolved:
    """What a file says, everything in it resolved. `unset` are the variables that had no value anywhere."""

    document: Mapping[str, Any]
    unset: tuple[str, ...] = ()


def readable(content: bytes) -> bytes:
    """A compose file as version 1 reads it, too: to YAML a bare `no` is false, which only version 2 takes for a word.

    Who is started again when is nobody's business here.
    """
    return re.sub(rb"^([ \t]+restart:[ \t]*)no[ \t]*(\r?)$", rb'\1"no"\2', content, flags=re.M)


def find() -> Program | None:
    """The compose program of this machine, None where there is none."""
    for words in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(words[0]) is None:
            continue
        try:
            done = proc.run([*words, "version", "--short"], deadline=DEADLINE, env=_environment({}), check=False)
        except InfraError:
            continue
        version = done.text().strip().removeprefix("v")
        if done.code == 0 and re.match(r"\d+\.\d+", version):
            return Program(words, version)
    return None


def resolve(
    program: Program, files: Sequence[Path], folder: Path, name: str, variables: Mapping[str, str]
) -> Resolved:  # fmt: skip
    """What `files` say together, seen from `folder`, as the project `name`.

    Only `variables` and the folder's `.env` fill them in: nothing of the caller's environment does (DESIGN 6).
    Raises NotResolved, InfraError.
    """
    chosen = [word for file in files for word in ("-f", str(file))]
    words = [*program.words, *chosen, "--project-directory", str(folder), "-p", name]
    words += ["config"] if program.first else ["--profile", "*", "config", "--format", "json"]
    done = proc.run(words, deadline=DEADLINE, cwd=folder, env=_environment(variables), check=False)
    told = done.error_text().strip()
    if done.code != 0:
        said = _last(told, folder) or f"it ended with status {done.code}"
        raise NotResolved(f"{said} (said by docker-compose {program.version})" if program.first else said)
    try:
        document = yaml.load(done.text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise NotResolved(f"what it prints cannot be read ({str(error).partition(chr(10))[0]})") from error
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise NotResolved("it has no services")
    return Resolved(_undoubled(document), _unset(told))


def _unset(told: str) -> tuple[str, ...]:
    """The variables that had no value, by what the program warned of."""
    return tuple(dict.fromkeys(re.findall(r'The \\?"?(\w+)\\?"? variable is not set', told)))


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {**variables, **{name: os.environ[name] for name in _ITS_OWN if name in os.environ}}


def _last(told: str, folder: Path) -> str:
    """The sentence that says why: the last line, which names files of a folder that is nobody's business."""
    lines = [line.strip() for line in told.splitlines() if line.strip() and not _ASIDE.search(line)]
    unset = ", ".join(_unset(told))
    said = [*list(dict.fromkeys(lines))[-3:], *([f"without a value: {unset}"] if unset else [])]
    return "; ".join(said).replace(f"{folder}/", "").replace(str(folder), ".")[:500]


def _undoubled(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [_undoubled(one) for one in value]
    if isinstance(value, dict):
        return {key: _undoubled(one) for key, one in value.items()}
    return value
