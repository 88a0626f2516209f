"""What a project is called when it is installed, for code that asks `importlib.metadata` for its own version.

The project under test is not installed, its folders are put on the path (`sources`). Where its own way to be
deployed would have installed it, the environment gets its name, version and entry points as metadata without code.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bisect_celery.environment.dependencies import Dependencies, Kind, member_folder
from bisect_celery.environment.requirements import normalise
from bisect_celery.environment.tree import Folder, join

UNKNOWN_VERSION = "0"


@dataclass(frozen=True)
class Identity:
    """A distribution's name and version, and its entry points as lines of `entry_points.txt`."""

    name: str
    version: str
    entry_points: str = ""

    def files(self) -> dict[str, str]:
        """The files of its `.dist-info` folder, by their paths in `site-packages`."""
        folder = f"{normalise(self.name).replace('-', '_')}-{self.version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        files = {"METADATA": metadata, "INSTALLER": "bisect-celery\n", "entry_points.txt": self.entry_points}
        record = "".join(f"{folder}/{name},,\n" for name in (*files, "RECORD"))
        return {f"{folder}/{name}": text for name, text in {**files, "RECORD": record}.items()}


_INSTALLING = (Kind.PROJECT, Kind.SETUP, Kind.POETRY, Kind.POETRY_LOCK, Kind.PDM_LOCK)


def identities(folder: Folder, found: Dependencies, local: tuple[str, ...]) -> tuple[Identity, ...]:
    """The distributions of the tree that a deployment would have installed. `local`: folders required as packages."""
    own = member_folder(folder, found) if found.kind is Kind.UV_LOCK else found.folder
    installs = _is_package(folder, own) if found.kind is Kind.UV_LOCK else found.kind in _INSTALLING
    places = [*local, own] if installs else [*local]
    named = (identity(folder, place) for place in dict.fromkeys(places))
    return tuple({one.name: one for one in named if one is not None}.values())


def _is_package(folder: Folder, place: str) -> bool:
    """uv installs a project only when it can be built."""
    table = folder.toml(join(place, "pyproject.toml"))
    said = _table(table, "tool", "uv").get("package")
    return said if isinstance(said, bool) else "build-system" in table


def identity(folder: Folder, place: str) -> Identity | None:
    """What the project in a folder of the tree is called; None when it does not say."""
    table = folder.toml(join(place, "pyproject.toml"))
    for found in (_table(table, "project"), _poetry(table), _setup_cfg(folder, place), _setup_py(folder, place)):
        name, version = found.get("name"), found.get("version")
        if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            usable = isinstance(version, str) and re.fullmatch(r"[\w.!+-]+", version)
            points = "".join(_entry_points(found))
            return Identity(name, str(version) if usable else UNKNOWN_VERSION, points)
    return None


def _poetry(table: Mapping[str, object]) -> Mapping[str, object]:
    poetry = _table(table, "tool", "poetry")
    return {} if poetry.get("package-mode") is False else {**poetry, "entry-points": poetry.get("plugins")}


def _entry_points(found: Mapping[str, object]) -> Iterator[str]:
    groups = {"console_scripts": found.get("scripts"), "gui_scripts": found.get("gui-scripts")}
    groups.update(_table(found, "entry-points"))
    for group, points in groups.items():
        plain = (
            {key: value for key, value in points.items() if isinstance(value, str)} if isinstance(points, dict) else {}
        )
        if plain:
            yield f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in sorted(plain.items())) + "\n"


def _setup_cfg(folder: Folder, place: str) -> dict[str, object]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(folder.text(join(place, "setup.cfg")) or "")
    except configparser.Error:
        return {}
    return dict(parser["metadata"]) if parser.has_section("metadata") else {}


def _setup_py(folder: Folder, place: str) -> dict[str, object]:
    """The plain arguments of `setup`, and those that are a constant of the file's (`name=NAME`)."""
    tree = _parsed(folder.text(join(place, "setup.py")) or "")
    arguments = (_setup_call(tree) if tree else None) or {}
    constants = _constants(tree) if tree else {}
    found = {
        key: constants.get(value.id) if isinstance(value, ast.Name) else getattr(value, "value", None)
        for key, value in arguments.items()
        if isinstance(value, (ast.Name, ast.Constant))
    }
    return {**found, "entry-points": _setup_points(arguments.get("entry_points"))}


def _constants(tree: ast.Module) -> dict[str, object]:
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {
        target.id: node.value.value
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant)
    }


def _setup_points(node: ast.expr | None) -> dict[str, dict[str, str]]:
    """`entry_points` of a setup.py where it is a plain table of lists, as those of a pyproject.toml are."""
    try:
        groups = ast.literal_eval(node) if node is not None else {}
    except ValueError:
        return {}
    if not isinstance(groups, dict):
        return {}
    found: dict[str, dict[str, str]] = {}
    for group, lines in groups.items():
        plain = [line for line in lines if isinstance(line, str) and "=" in line] if isinstance(lines, list) else []
        pairs = (line.split("=", 1) for line in plain)
        found[str(group)] = {key.strip(): value.strip() for key, value in pairs}
    return found


def setup_arguments(text: str) -> dict[str, ast.expr] | None:
    """The keyword arguments of the one call of `setup`; None when it cannot be told (two calls, `**more`, Python 2)."""
    tree = _parsed(text)
    return _setup_call(tree) if tree else None


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _setup_call(tree: ast.Module) -> dict[str, ast.expr] | None:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_setup(node.func)]
    if len(calls) != 1 or calls[0].args or any(keyword.arg is None for keyword in calls[0].keywords):
        return None
    return {keyword.arg: keyword.value for keyword in calls[0].keywords if keyword.arg is not None}


def _is_setup(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id == "setup") or (
        isinstance(function, ast.Attribute) and function.attr == "setup"
    )


def _table(content: Mapping[str, object], *path: str) -> Mapping[str, object]:
    for key in path:
        inner = content.get(key)
        content = inner if isinstance(inner, dict) else {}
    return content
