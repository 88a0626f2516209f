"""Locks that are lists of exact versions already, as requirement lines. Pure: text in, lines out.

A lock is used as written. Where it tells for each package when it applies (markers, groups), its lines are
installed as they are. Older formats of Poetry and PDM tell that only through a graph: then the lock's versions
become constraints, and uv walks the graph from the project's own wishes (`Constraints`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bisect_celery.environment import poetry
from bisect_celery.environment.requirements import normalise

Table = Mapping[str, object]


@dataclass(frozen=True)
class Pinned:
    """Exact versions with their markers, ready to install without resolving. `options` name further indexes."""

    lines: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constraints:
    """Exact versions without the knowledge which of them apply: `wishes` are resolved under `pins`.

    `ambiguous` are names that the lock holds in more than one version: nothing pins those but `allowed`.
    """

    wishes: tuple[str, ...]
    pins: tuple[str, ...]
    options: tuple[str, ...] = ()
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...] = ()


class UnreadableLock(ValueError):
    """A lock that is not of its format; the message says why in one clause."""


def read_toml(text: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableLock(f"it is not TOML ({error})") from None


def poetry_lock(lock: str, project: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> Pinned | Constraints:
    """What a poetry.lock installs for the main group (and the named extras and groups). Raises UnreadableLock."""
    content = read_toml(lock)
    packages = _packages(content)
    settings = read_toml(project)
    if all("groups" in package for package in packages) and packages:
        chosen = {"main", *groups}
        lines = [line for package in packages for line in _grouped(package, chosen, extras)]
        return Pinned(tuple(lines), _sources(packages))
    wishes = tuple(_poetry_wishes(settings, extras, groups, packages))
    return _constraints(wishes, packages)


def _grouped(package: Table, chosen: set[str], extras: tuple[str, ...]) -> Iterator[str]:
    """A package of a lock 2.1: markers are one for all groups, or one for each."""
    belongs = [name for name in map(str, _list(package.get("groups"))) if name in chosen]
    if not belongs:
        return
    markers = package.get("markers")
    if isinstance(markers, dict):
        found = [markers.get(name) for name in belongs]
        marker = None if None in found else " or ".join(f"({text})" for text in found)
    else:
        marker = markers if isinstance(markers, str) else None
    yield _locked(package, _choose_extras(marker, extras))


def _choose_extras(marker: str | None, extras: tuple[str, ...]) -> str | None:
    """Outside a project `extra == "x"` is false to every installer; for the extras we take in it must be true."""
    for extra in extras if marker else ():
        marker = re.sub(rf"""extra == ["']{re.escape(extra)}["']""", "python_version >= '0'", marker or "")
    return marker


def _locked(package: Table, marker: str | None) -> str:
    source = package.get("source")
    details: dict[str, object] = {"version": f"=={package.get('version')}"}
    if isinstance(source, dict) and source.get("type") in ("git", "url", "file", "directory"):
        kind = {"git": "git", "url": "url"}.get(str(source["type"]), "path")
        details = {kind: source.get("url"), **source, "url": source.get("url") if kind == "url" else None}
        details = {key: value for key, value in details.items() if value is not None and key != "type"}
    if marker:
        details["markers"] = marker
    return poetry.line(str(package.get("name")), details)


def _poetry_wishes(
    settings: Table, extras: tuple[str, ...], groups: tuple[str, ...], packages: list[Table]
) -> Iterator[str]:
    project = _table(settings, "project")
    table = _table(settings, "tool", "poetry")
    placed = {normalise(str(package.get("name"))) for package in packages if _is_placed(package)}
    wanted = [str(name) for extra in extras for name in _list(_table(table, "extras").get(extra))]
    tables = [_table(table, "dependencies"), *(_table(table, "group", name, "dependencies") for name in groups)]
    for wishes in tables:
        plain = {name: value for name, value in wishes.items() if normalise(name) not in placed}
        split = {name: plain.pop(name) for name in list(plain) if normalise(name) in _ambiguous(packages)}
        yield from poetry.table_lines(plain, wanted=wanted, bare=True)
        try:
            yield from poetry.table_lines(split, wanted=wanted)
        except ValueError as error:
            raise UnreadableLock(str(error)) from None
    yield from (str(text) for text in _list(project.get("dependencies")))
    for extra in extras:
        yield from (str(text) for text in _list(_table(project, "optional-dependencies").get(extra)))
    yield from (_locked(package, None) for package in packages if _is_placed(package) and _main(package))


def _main(package: Table) -> bool:
    return package.get("category", "main") == "main" and not package.get("optional")


def _is_placed(package: Table) -> bool:
    """Whether a package comes from an address of its own, which a bare name would not find."""
    source = package.get("source")
    return isinstance(source, dict) and source.get("type") in ("git", "url", "file", "directory")


def _sources(packages: list[Table]) -> tuple[str, ...]:
    """Options for the indexes of its own that a lock names."""
    found = []
    for package in packages:
        source = package.get("source")
        if isinstance(source, dict) and source.get("type") == "legacy" and source.get("url"):
            found.append(str(source["url"]))
    return _further_indexes(found)


def _further_indexes(urls: Iterable[str]) -> tuple[str, ...]:
    """The indexes beside the public one, which is there anyway (or is replaced by the company's own)."""
    own = [url for url in urls if not re.match(r"https?://pypi\.(?:org|python\.org)(?:/|$)", url)]
    return tuple(f"--extra-index-url {url}" for url in dict.fromkeys(own))


def _constraints(wishes: tuple[str, ...], packages: list[Table]) -> Constraints:
    ambiguous = _ambiguous(packages)
    pins = [
        f"{normalise(str(package.get('name')))}=={package.get('version')}"
        for package in packages
        if not _is_placed(package) and normalise(str(package.get("name"))) not in ambiguous
    ]
    return Constraints(wishes, tuple(dict.fromkeys(pins)), _sources(packages), tuple(ambiguous.items()))


def _ambiguous(packages: list[Table]) -> dict[str, tuple[str, ...]]:
    """The packages that a lock holds in several versions, the newest first: Pythons and platforms split them."""
    versions: dict[str, set[str]] = {}
    for package in packages:
        if not _is_placed(package):
            versions.setdefault(normalise(str(package.get("name"))), set()).add(str(package.get("version")))
    return {
        name: tuple(sorted(found, key=_newness, reverse=True)) for name, found in versions.items() if len(found) > 1
    }


def _newness(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def pdm_lock(lock: str, project: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> Pinned | Constraints:
    """What a pdm.lock installs for the default group. Raises UnreadableLock."""
    packages = [package for package in _packages(read_toml(lock)) if "extras" not in package]
    settings = read_toml(project)
    table = _table(settings, "project")
    if packages and all("groups" in package for package in packages):
        chosen = {"default", *extras, *groups}
        lines = [_pdm_line(package) for package in packages if chosen & set(map(str, _list(package.get("groups"))))]
        return Pinned(tuple(lines))
    wishes = [str(text) for text in _list(table.get("dependencies"))]
    for extra in extras:
        wishes += [str(text) for text in _list(_table(table, "optional-dependencies").get(extra))]
    placed = {normalise(str(package.get("name"))) for package in packages if _pdm_placed(package)}
    return _constraints(tuple(wishes), [p for p in packages if normalise(str(p.get("name"))) not in placed])


def _pdm_placed(package: Table) -> bool:
    return any(key in package for key in ("git", "url", "path"))


def _pdm_line(package: Table) -> str:
    details = dict(package)
    if package.get("revision"):
        details["resolved_reference"] = package["revision"]
    if not _pdm_placed(package):
        details["version"] = f"=={package.get('version')}"
    return poetry.line(str(package.get("name")), {key: details[key] for key in details if key != "extras"})


def pipfile_lock(lock: str) -> Pinned:
    """The default section of a Pipfile.lock, with the indexes it names. Raises UnreadableLock."""
    try:
        content = json.loads(lock)
        default, meta = content["default"], content.get("_meta", {})
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableLock(f"it is not a Pipfile.lock ({error})") from None
    lines = [poetry.line(name, details) for name, details in default.items()]
    urls = [source.get("url") for source in meta.get("sources", []) if isinstance(source, dict)]
    return Pinned(tuple(lines), _further_indexes(str(url) for url in urls if url))


def pylock(lock: str) -> Pinned:
    """The packages of a pylock.toml (PEP 751). Raises UnreadableLock."""
    lines = []
    for package in _packages(read_toml(lock), "packages"):
        lines.append(_pylock_line(package))
    return Pinned(tuple(lines))


def _pylock_line(package: Table) -> str:
    name, marker = str(package.get("name")), package.get("marker")
    details: dict[str, object] = {"markers": marker} if marker else {}
    vcs, archive, folder = (_table(package, key) for key in ("vcs", "archive", "directory"))
    if vcs:
        details[str(vcs.get("type", "git"))] = vcs.get("url")
        details["rev"] = vcs.get("commit-id")
    elif archive:
        details["url" if archive.get("url") else "path"] = archive.get("url") or archive.get("path")
    elif folder:
        details["path"] = folder.get("path")
    else:
        details["version"] = f"=={package.get('version')}"
    return poetry.line(name, details)


def _packages(content: Table, key: str = "package") -> list[Table]:
    packages = content.get(key)
    if packages is None:
        return []
    if not isinstance(packages, list) or not all(isinstance(one, dict) and "name" in one for one in packages):
        raise UnreadableLock(f"its `{key}` is not a list of named packages")
    return packages


def _table(content: Table, *path: str) -> Table:
    for key in path:
        inner = content.get(key)
        content = inner if isinstance(inner, dict) else {}
    return content


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
