"""Which Python a project wants, read from what its own files say.

The places in the order of trust: what a deployment names exactly (`.python-version`, `runtime.txt`, a Pipfile, a
Dockerfile), then ranges (`requires-python`, Poetry's `python`), of which the newest minor that can be had is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bisect_celery.environment.poetry import specifier_of
from bisect_celery.environment.tree import Folder, join, parents
from bisect_celery.errors import UserError
from bisect_celery.model import Runner

NEWEST, OLDEST = 14, 6


@dataclass(frozen=True)
class Wanted:
    """A Python version ("3.11", "3.11.4") or a range (">=3.8,<3.12"), and the file that says so."""

    version: str
    source: str

    @property
    def is_range(self) -> bool:
        return re.fullmatch(r"\d+(?:\.\d+)*", self.version) is None


def wanted_python(folder: Folder, subfolder: str = "") -> Wanted | None:
    """What the project says about its Python, nearest folder first; None when it says nothing."""
    ranges: list[Wanted] = []
    for place in parents(subfolder):
        for wanted in _said(folder, place):
            if not wanted.is_range:
                return wanted
            ranges.append(wanted)
    return ranges[0] if ranges else None


def disagreeing(folder: Folder, subfolder: str, version: str) -> tuple[Wanted, ...]:
    """What the project's files say that a Python of this full version is not: another minor, or none of a range."""
    said = (wanted for place in parents(subfolder) for wanted in _said(folder, place))
    return tuple(dict.fromkeys(wanted for wanted in said if not _is(wanted, version)))


def _is(wanted: Wanted, version: str) -> bool:
    return (
        allows(wanted.version, version) if wanted.is_range else wanted.version.split(".")[:2] == version.split(".")[:2]
    )


def _said(folder: Folder, place: str) -> Iterator[Wanted]:
    for reader in (_version_file, _runtime, _pipfile, _dockerfiles, _pyproject, _setup):
        yield from reader(folder, place)


def _version_file(folder: Folder, place: str) -> Iterator[Wanted]:
    path = join(place, ".python-version")
    for line in (folder.text(path) or "").split():
        if match := re.fullmatch(r"(?:python-?)?(\d+\.\d+(?:\.\d+)?)", line):
            yield Wanted(match[1], path)


def _runtime(folder: Folder, place: str) -> Iterator[Wanted]:
    path = join(place, "runtime.txt")
    if match := re.match(r"\s*python-(\d+\.\d+(?:\.\d+)?)", folder.text(path) or ""):
        yield Wanted(match[1], path)


def _pipfile(folder: Folder, place: str) -> Iterator[Wanted]:
    path = join(place, "Pipfile")
    requires = folder.toml(path).get("requires", {})
    said = requires.get("python_full_version") or requires.get("python_version") if isinstance(requires, dict) else None
    if isinstance(said, str) and re.fullmatch(r"\d+\.\d+(?:\.\d+)?", said):
        yield Wanted(said, path)


_ARGUMENT = re.compile(r"^\s*ARG\s+(\w+)=[\"']?([\w.-]+)[\"']?\s*$", re.M | re.I)
_FILLED = re.compile(r"\$\{(\w+)(?::-([\w.-]*))?\}|\$(\w+)")
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(?:\S*/)?python:(\d+\.\d+(?:\.\d+)?)", re.M | re.I)


def _dockerfiles(folder: Folder, place: str) -> Iterator[Wanted]:
    names = [join(place, name) for name in folder.names(place) if re.match(r"Dockerfile|.*\.Dockerfile$", name)]
    deeper = ("docker/Dockerfile", "deploy/Dockerfile", "compose/production/django/Dockerfile")
    for path in [*names, *(join(place, name) for name in deeper)]:
        found = dict.fromkeys(_FROM.findall(_with_arguments(folder.text(path) or "")))
        for version in list(found)[-1:]:
            yield Wanted(version, path)


def _with_arguments(text: str) -> str:
    """A Dockerfile with its `ARG`s filled in as far as it gives them values; a version is often one of them."""
    values = dict(_ARGUMENT.findall(text))

    def fill(found: re.Match[str]) -> str:
        return values.get(found[1] or found[3]) or found[2] or found[0]

    return _FILLED.sub(fill, text)


def _pyproject(folder: Folder, place: str) -> Iterator[Wanted]:
    path = join(place, "pyproject.toml")
    table = folder.toml(path)
    said = table.get("project", {}).get("requires-python")
    if isinstance(said, str) and said.strip():
        yield Wanted(re.sub(r"\s+", "", said), path)
    poetry = table.get("tool", {}).get("poetry", {}).get("dependencies", {})
    if isinstance(poetry, dict) and isinstance(poetry.get("python"), str):
        try:
            specifier = specifier_of(poetry["python"])
        except ValueError:
            return
        if specifier:
            yield Wanted(specifier, path)


def _setup(folder: Folder, place: str) -> Iterator[Wanted]:
    for name in ("setup.cfg", "setup.py"):
        path = join(place, name)
        match = re.search(r"""python_requires\s*=\s*["']?([\d<>=!~., *]+)""", folder.text(path) or "")
        if match and match[1].strip(" ,"):
            yield Wanted(re.sub(r"\s+", "", match[1]).strip(","), path)


def allows(specifier: str, version: str) -> bool:
    """Whether a range allows a Python version. Its release parts decide; suffixes (`rc1`) are left aside."""
    return all(_allows_one(part, version) for part in specifier.split(",") if part)


def _allows_one(part: str, version: str) -> bool:
    match = re.match(r"(===|==|!=|~=|<=|>=|<|>)?\s*([\d.]+?)(\.\*)?$", part.strip())
    if match is None:
        return True
    operator, bound, star = match[1] or "==", _release(match[2]), match[3]
    value = _release(version)
    if star:
        same = value[: len(bound)] == bound
        return same if operator in ("==", "===") else not same
    if operator == "~=":
        return value >= bound and value[: len(bound) - 1] == bound[:-1]
    width = max(len(bound), len(value))
    left, right = value + (0,) * (width - len(value)), bound + (0,) * (width - len(bound))
    return {
        "==": left == right, "===": left == right, "!=": left != right,
        "<=": left <= right, ">=": left >= right, "<": left < right, ">": left > right,
    }[operator]  # fmt: skip


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.strip(".")))


def choose_python(folder: Folder, subfolder: str, runner: Runner) -> tuple[str, str, str]:
    """The interpreter for a project that was given none: (path, full version, who said so).

    An exact patch that cannot be had gives way to its minor. Raises UserError when nothing fits.
    """
    wanted = wanted_python(folder, subfolder)
    if wanted is None:
        path, version = runner.interpreter(None)
        return path, version, "the default here"
    if wanted.is_range:
        path, version = runner.interpreter(None)
        if allows(wanted.version, version):
            return path, version, f"the default here, which {wanted.source} allows"
    for candidate in _candidates(wanted):
        try:
            path, version = runner.interpreter(candidate)
        except UserError:
            continue
        if not wanted.is_range or allows(wanted.version, version):
            return path, version, wanted.source
    raise UserError(
        f"{wanted.source} asks for Python {wanted.version}, and none is to be had here.",
        "Install one (for example `uv python install`), or choose another with `--python 3.11`.",
    )


def _candidates(wanted: Wanted) -> list[str]:
    if wanted.is_range:
        minors = [f"3.{minor}" for minor in range(NEWEST, OLDEST - 1, -1)]
        return [minor for minor in minors if allows(wanted.version, f"{minor}.99") or allows(wanted.version, minor)]
    minor = ".".join(wanted.version.split(".")[:2])
    return list(dict.fromkeys([wanted.version, minor]))
