"""Environments for the Pythons that uv refuses (2.7, 3.5): what to run there, and what pip's failures mean. Pure.

virtualenv brings the last pip, setuptools and wheel for each of them along, so an environment is as fixed as its list
of packages. That pip (20.3.4) cannot only resolve: a resolution is an installation into a throw-away environment, and
what is in it then. It knows no dates either: everything is resolved as of the day when it is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bisect_celery.environment import uv
from bisect_celery.environment.uv import Trouble
from bisect_celery.model import Failure, Stage

# The last virtualenv that makes environments for 2.7.
PIN = "virtualenv==20.21.1"
OLDEST, UV_BEGINS = (2, 7), (3, 6)

_DISK = re.compile(r"No space left on device|Disk quota exceeded", re.I)
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Max retries exceeded|ConnectionResetError|"
    r"ProxyError|SSLError|Connection broken|Temporary failure in name resolution|"
    r"5\d\d Server Error|429 Client Error|Could not resolve host|Failed to connect to"
)
_CREDENTIALS = re.compile(r"40[137] (?:Client )?Error|(?:^|\n)User for \S+:")
_ABSENT = re.compile(r"No matching distribution found for (?P<what>\S+)")
_BUILD = re.compile(r"Failed building wheel for (?P<wheel>\S+)|Failed to build (?P<what>\S+)")
_UNFIT = re.compile(r"ResolutionImpossible|Cannot install .* because these package versions have conflicting")


def is_needed(version: str) -> bool:
    """Whether uv refuses a Python of this version."""
    return _minor(version) < UV_BEGINS


def can(version: str) -> bool:
    """Whether environments for a Python of this version can be made at all, by uv or by virtualenv."""
    minor = _minor(version)
    return minor >= UV_BEGINS or minor in ((2, 7), (3, 5))


def _minor(version: str) -> tuple[int, ...]:
    parts = tuple(int(part) for part in version.split(".")[:2])
    return parts if len(parts) == 2 else (*parts, 99)


def tool(uv_words: Sequence[str], common: Sequence[str], target: str, marker: str) -> dict[str, object]:
    """The job that installs virtualenv at `target`, by uv and for a newer Python."""
    python = f"{target}/bin/python"
    dated = [word for word in common[2:] if word != "--no-python-downloads"]
    return {
        "step": "install", "target": target, "marker": marker, "lock": f"{PIN}\n", "metadata": {}, "beside_tree": False,
        "commands": [
            [*uv_words, "venv", "--quiet", "--no-project", *common[:3], target],
            [*uv_words, "pip", "install", "--compile-bytecode", "--python", python, *dated, "-r", "{lock}"],
        ],
        "list": [*uv_words, "pip", "list", "--quiet", "--format", "json", "--python", python],
    }  # fmt: skip


def resolution(tool: str, python: str, command: Sequence[str]) -> dict[str, object]:
    """The part of a resolving job that says how: `command` are the words with which uv would have been asked."""
    pip = "{scratch}/environment/bin/pip"
    return {
        "before": [_made(tool, python, "{scratch}/environment"), [pip, "install", "--no-compile", *_wanted(command)]],
        "command": [pip, "freeze"],
    }


def installation(tool: str, python: str, target: str) -> dict[str, object]:
    """The part of an installing job that says how."""
    pip = f"{target}/bin/pip"
    return {
        "commands": [_made(tool, python, target), [pip, "install", "--no-deps", "--compile", "-r", "{lock}"]],
        "list": [pip, "list", "--format", "json"],
    }


def _made(tool: str, python: str, target: str) -> list[str]:
    return [tool, "-I", "-m", "virtualenv", "--quiet", "--no-periodic-update", "--python", python, target]


def _wanted(command: Sequence[str]) -> list[str]:
    """uv's words for a resolution, said in pip's: `pip compile FILE …`."""
    file, *rest = command[2:]
    words = list(rest)
    extras = [words[index + 1] for index, word in enumerate(words) if word == "--extra"]
    wanted = (
        ["-r", file] if not file.endswith((".py", ".cfg", ".toml")) else [f".[{','.join(extras)}]" if extras else "."]
    )
    if "--constraints" in words:
        wanted += ["-c", words[words.index("--constraints") + 1]]
    return [*wanted, *(["--pre"] if "--prerelease=allow" in words else [])]


def whose(code: int, text: str) -> Trouble:
    """Whose failure a command's is, from its exit status and output, as `uv.whose`."""
    if _DISK.search(text):
        return Trouble.DISK
    if code < 0 or code >= 126:
        return Trouble.MACHINE
    if _CREDENTIALS.search(text):
        return Trouble.CREDENTIALS
    return Trouble.UNREACHABLE if _UNREACHABLE.search(text) else Trouble.PROJECT


def failure(text: str, files: tuple[str, ...], as_of: str | None) -> Failure:
    """A project's failure in one sentence, as `uv.failure`; `as_of` plays no part."""
    del as_of
    where = files[0] if files else "its dependencies"
    absent, built = _ABSENT.search(text), _BUILD.search(text)
    lines = uv.last_lines(text)
    if absent is not None:
        name = re.split(r"[=<>!~;\[]", absent["what"])[0]
        reason = f"No release of {absent['what']} that runs here is what {where} asks for."
        return Failure(Stage.ENVIRONMENT, reason, missing=(("package", name),), lines=lines)
    if built is not None:
        package, lacks = built["wheel"] or built["what"], tuple(uv.lacks(text))
        why = f": {', '.join(f'{kind} {name}' for kind, name in lacks)} is missing" if lacks else ""
        reason = f"The package {package} that {where} asks for does not build{why}."
        return Failure(Stage.ENVIRONMENT, reason, missing=(("package", package), *lacks), lines=lines)
    if _UNFIT.search(text):
        return Failure(Stage.ENVIRONMENT, f"The packages that {where} asks for do not fit together.", lines=lines)
    said = next((line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")), "")
    return Failure(Stage.ENVIRONMENT, f"pip cannot use {where}: {said or 'see its output'}.", lines=lines)
