"""What to ask uv for, from what a tree says it depends on.

A plan is everything a resolution depends on and nothing else, so that revisions with the same requirements share
one: the files it reads (`inputs`), whether a backend of the project's has to run and so the whole tree
counts (`whole`), and uv's words.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from bisect_celery.environment import locks, poetry
from bisect_celery.environment.dependencies import Dependencies, Kind
from bisect_celery.environment.identity import setup_arguments
from bisect_celery.environment.requirements import find_links, is_local, modern, read_chain
from bisect_celery.environment.tree import Folder, decode, join

WISHES = ".bisect-celery-wishes.txt"
PINS = ".bisect-celery-pins.txt"


@dataclass(frozen=True)
class Plan:
    """How a tree's dependencies become a list of exact versions.

    `lines`: they are exact already (a lock as written), nothing to resolve. Otherwise `command` are uv's words after
    `uv`, run in `folder` of a tree that holds `inputs` (or the whole tree, when `whole`). `options` name
    indexes for the installation as well, and `indexes` are uv's own words for those that a project configures for
    uv. `ambiguous` are names that the lock holds in several versions.
    `dated`: resolved as of a date; a lock as written is not. `only` is the one folder of the tree that counts
    (None: all of it), `but` one that does not.
    """

    files: tuple[str, ...]
    folder: str
    lines: tuple[str, ...] | None = None
    command: tuple[str, ...] = ()
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    whole: bool = False
    options: tuple[str, ...] = ()
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dated: bool = True
    indexes: tuple[str, ...] = ()
    only: str | None = None
    but: str | None = None

    def digest(self, folder: Folder, *also: str) -> str:
        """The name of this plan's resolution: a hash over all it reads, and `also` (date, interpreter, platform)."""
        content = hashlib.sha256(json.dumps([self.folder, self.command, self.options, self.indexes, also]).encode())
        inputs = {path: data for path, data in whole_tree(folder).items() if self.counts(path)} if self.whole else {}
        for path, data in sorted({**inputs, **self.inputs}.items()):
            content.update(json.dumps([path, hashlib.sha256(data).hexdigest()]).encode())
        return content.hexdigest()[:32]

    def counts(self, path: str) -> bool:
        """Whether a file or folder of the tree is one of those that a whole tree means here."""
        if self.but is not None and f"{path}/".startswith(f"{self.but}/"):
            return False
        return self.only is None or f"{path}/".startswith(f"{self.only}/") or self.only.startswith(f"{path}/")


def whole_tree(folder: Folder) -> dict[str, bytes]:
    """Every file of a tree: what a `setup.py` may read to say what it depends on."""
    found = {}
    for path in sorted(folder.layout.rglob("*")):
        relative = path.relative_to(folder.layout).as_posix()
        if path.is_file() and "__pycache__" not in path.parts:
            found[relative] = folder.read(relative) or b""
    return found


def plan(folder: Folder, found: Dependencies) -> Plan:
    """The plan for what was found. Raises locks.UnreadableLock for a lock that cannot be understood."""
    if found.kind is Kind.UV_LOCK:
        return _export(folder, found)
    if found.kind is Kind.REQUIREMENTS:
        return _requirements(folder, found)
    if found.kind is Kind.PROJECT:
        return _project(folder, found)
    if found.kind is Kind.SETUP:
        lines = _static_setup(folder, found)
        if lines is not None:
            return _wishes(found, lines)
        words = ("pip", "compile", posixpath.basename(found.files[0]))
        return Plan(found.files, found.folder, command=words, whole=True)
    if found.kind in (Kind.POETRY, Kind.PIPFILE):
        return _wishes(found, _table_lines(folder, found))
    return _lock(folder, found)


def _export(folder: Folder, found: Dependencies) -> Plan:
    words = ["export", "--frozen", "--no-hashes", "--no-header", "--no-annotate", "--no-emit-project", "--no-dev"]
    words += [word for extra in found.extras for word in ("--extra", extra)]
    words += [word for group in found.groups for word in ("--group", group)]
    words += ["--package", found.member] if found.member else []
    return Plan(
        found.files, found.folder, command=tuple(words), inputs=_read(folder, found.files), dated=False,
        indexes=_indexes(folder, found.folder),
    )  # fmt: skip


def _requirements(folder: Folder, found: Dependencies) -> Plan:
    chain = read_chain(folder, found.files[0])
    name = posixpath.relpath(found.files[0], found.folder or ".")
    inputs = {path: modern(decode(content)).encode() for path, content in _read(folder, chain.files).items()}
    words = ["pip", "compile", name, *best_match(chain.options)]
    if "--pre" in chain.lines:
        words.append("--prerelease=allow")
    return Plan(
        chain.files, found.folder, command=tuple(words), inputs=inputs,
        whole=chain.local or any(find_links(line) for line in chain.options), options=chain.options,
    )  # fmt: skip


def best_match(options: tuple[str, ...]) -> list[str]:
    """pip takes the best release over all indexes; uv stops at the first index unless told."""
    return ["--index-strategy=unsafe-best-match"] if any("extra-index" in line for line in options) else []


def _project(folder: Folder, found: Dependencies) -> Plan:
    table = folder.toml(found.files[0])
    words = ["pip", "compile", "pyproject.toml"]
    words += [word for extra in found.extras for word in ("--extra", extra)]
    words += [word for group in found.groups for word in ("--group", group)]
    dynamic = "dependencies" in table["project"].get("dynamic", [])
    sources = str(table.get("tool", {}).get("uv", {}).get("sources", ""))
    whole = dynamic or "workspace" in sources or "path" in sources
    whole = whole or any(is_local(str(line)) for line in table["project"].get("dependencies", []))
    return Plan(
        found.files, found.folder, command=tuple(words), inputs=_read(folder, found.files), whole=whole,
        indexes=_indexes(folder, found.folder),
    )  # fmt: skip


def _indexes(folder: Folder, place: str) -> tuple[str, ...]:
    """uv's words for the indexes in `[[tool.uv.index]]` or uv.toml, by name, so that credentials by name still fit.

    They are said on the command line because an installation does not stand in the project's folder.
    """
    tables = [
        folder.toml(join(place, "pyproject.toml")).get("tool", {}).get("uv", {}),
        folder.toml(join(place, "uv.toml")),
    ]
    words: list[str] = []
    for table in tables:
        listed = table.get("index", []) if isinstance(table, dict) else []
        for index in listed if isinstance(listed, list) else []:
            if isinstance(index, dict) and "://" in str(index.get("url")):
                name = f"{index['name']}=" if index.get("name") else ""
                words += ["--default-index" if index.get("default") else "--index", f"{name}{index['url']}"]
    return (*words, "--index-strategy=unsafe-best-match") if words else ()


def _static_setup(folder: Folder, found: Dependencies) -> tuple[str, ...] | None:
    """Requirements that stand in setup.py or setup.cfg as plain lists: nothing has to run to know them. Else None."""
    arguments: dict[str, ast.expr] | None = {}
    if found.files[0].endswith("setup.py"):
        arguments = setup_arguments(folder.text(found.files[0]) or "")
    if arguments is None or "setup_requires" in arguments or "pbr" in arguments:
        return None
    if "install_requires" in arguments:
        try:
            listed = ast.literal_eval(arguments["install_requires"])
        except ValueError:
            return None
        texts = listed.splitlines() if isinstance(listed, str) else listed
        plain = isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts)
        return tuple(text.strip() for text in texts if text.strip()) if plain else None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(folder.text(join(found.folder, "setup.cfg")) or "")
    except configparser.Error:
        return None
    said = parser.get("options", "install_requires", fallback="")
    if not said.strip() or said.strip().startswith("file:"):
        return None
    listed = said.splitlines() if "\n" in said.strip() or said.startswith("\n") else said.split(";")
    return tuple(line.strip() for line in listed if line.strip() and not line.lstrip().startswith("#"))


def _table_lines(folder: Folder, found: Dependencies) -> tuple[str, ...]:
    content = folder.toml(found.files[0])
    try:
        if found.kind is Kind.PIPFILE:
            return tuple(poetry.table_lines(content.get("packages", {})))
        table = content["tool"]["poetry"]
        wanted = [name for extra in found.extras for name in table.get("extras", {}).get(extra, [])]
        lines = poetry.table_lines(table["dependencies"], wanted=wanted)
        for group in found.groups:
            lines += poetry.table_lines(table.get("group", {}).get(group, {}).get("dependencies", {}))
        return tuple(lines)
    except ValueError as error:
        raise locks.UnreadableLock(str(error)) from None


def _wishes(found: Dependencies, lines: tuple[str, ...], pins: tuple[str, ...] = (), options: tuple[str, ...] = (),
            ambiguous: tuple[tuple[str, tuple[str, ...]], ...] = ()) -> Plan:  # fmt: skip
    inputs = {join(found.folder, WISHES): "\n".join([*options, *lines, ""]).encode()}
    words = ["pip", "compile", WISHES, *best_match(options)]
    if pins or ambiguous:
        inputs[join(found.folder, PINS)] = "\n".join([*pins, ""]).encode()
        words += ["--constraints", PINS, "--prerelease=allow"]
    return Plan(
        found.files, found.folder, command=tuple(words), inputs=inputs, options=options,
        whole=any(is_local(line) for line in lines), ambiguous=ambiguous,
    )  # fmt: skip


def _lock(folder: Folder, found: Dependencies) -> Plan:
    lock = folder.text(found.files[0]) or ""
    project = (folder.text(join(found.folder, "pyproject.toml")) or "") if found.kind is not Kind.PIPFILE_LOCK else ""
    content: locks.Pinned | locks.Constraints
    if found.kind is Kind.POETRY_LOCK:
        content = locks.poetry_lock(lock, project, found.extras, found.groups)
    elif found.kind is Kind.PDM_LOCK:
        content = locks.pdm_lock(lock, project, found.extras, found.groups)
    elif found.kind is Kind.PIPFILE_LOCK:
        content = locks.pipfile_lock(lock)
    else:
        content = locks.pylock(lock)
    if isinstance(content, locks.Pinned):
        return Plan(found.files, found.folder, lines=content.lines, options=content.options, dated=False)
    return _wishes(found, content.wishes, content.pins, content.options, content.ambiguous)


def _read(folder: Folder, files: tuple[str, ...]) -> dict[str, bytes]:
    return {path: content for path in files if (content := folder.read(path)) is not None}
