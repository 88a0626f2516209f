"""What a migrated database follows from: the key under which one trial's may be copied for another.

Two trees whose key is the same have the same migrations, and the same of all that these, the settings and the command
itself import from the tree, however deep. What cannot be followed (imports by name, settings read from elsewhere) is
why the command is run on the copy once more: what is still missing then is added. Reads files, runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from bisect_celery.lab.plan import Plan
from bisect_celery.model import Environment

# Folders whose every file belongs to the migrations: Django's and Flask-Migrate's, Alembic's, and data they load.
FOLDERS = frozenset({"migrations", "south_migrations", "alembic", "fixtures"})
_PASSED = frozenset({".git", "node_modules", "__pycache__", ".tox", ".venv", "venv"})
# Every line that looks like an import; one inside a text only makes the key stricter. Commas may go over lines.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<base>\.*[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n#;]+)"
    rb"|import[ \t]+(?P<modules>[^\n#;]+))",
    re.MULTILINE,
)
_NAME = re.compile(rb"[\w.]+")


def key(layout: Path, plan: Plan, environment: Environment) -> str | None:
    """The key of the tree laid out at `layout`; None where it has no migrations that we know of: nothing is copied."""
    if plan.migrate is None:
        return None
    own = sorted(_migrations(layout))
    if not own:
        return None
    paths = sorted({*own, *_imported(layout, plan, [*own, *_named(layout, plan)])})
    variables = [list(one) for one in plan.variables]
    terms = [plan.migrate, plan.subfolder, environment.key, variables, list(plan.services)]
    digest = hashlib.sha256(json.dumps(terms).encode())
    for path in paths:
        digest.update(f"\0{path.relative_to(layout)}\0".encode("utf-8", "surrogateescape"))
        digest.update(hashlib.sha256(_content(path)).digest())
    return digest.hexdigest()


def _migrations(layout: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(layout):
        folders[:] = [name for name in folders if name not in _PASSED]
        if FOLDERS & set(Path(folder).relative_to(layout).parts):
            yield from (Path(folder, name) for name in files if not name.endswith(".pyc"))


def _named(layout: Path, plan: Plan) -> Iterator[Path]:
    """Files that the command names, and the settings."""
    try:
        words = shlex.split(plan.migrate or "")
    except ValueError:
        words = (plan.migrate or "").split()
    for word in words:
        path = layout / plan.subfolder / word
        if path.is_file() and path.resolve().is_relative_to(layout.resolve()):
            yield path
    if plan.django_settings is not None:
        yield from _modules([plan.django_settings], _roots(layout, plan))


def _imported(layout: Path, plan: Plan, first: Iterable[Path]) -> set[Path]:
    roots, seen, ahead = _roots(layout, plan), set[Path](), list(first)
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.suffix == ".py":
            ahead += _modules(_imports(path, layout), roots)
    return seen


def _roots(layout: Path, plan: Plan) -> list[Path]:
    """Where a module's first name may stand."""
    folders = [plan.subfolder, *plan.source_roots, ""]
    return list(dict.fromkeys(layout / folder for folder in folders))


def _imports(path: Path, layout: Path) -> Iterator[str]:
    """Dotted names, seen from a root; those of relative imports seen from the tree's."""
    for found in _IMPORT.finditer(_content(path)):
        if found["modules"] is not None:
            yield from (_text(name) for name in re.findall(rb"(?:^|,)\s*([\w.]+)", found["modules"]))
            continue
        base = _text(found["base"])
        level = len(base) - len(base.lstrip("."))
        if level:
            folder = path.parent
            for _ in range(level - 1):
                folder = folder.parent
            if not folder.is_relative_to(layout):
                continue
            base = ".".join(filter(None, (*folder.relative_to(layout).parts, base.lstrip("."))))
        yield base
        yield from (f"{base}.{_text(name)}" for name in _NAME.findall(found["names"]))


def _modules(names: Iterable[str], roots: Iterable[Path]) -> Iterator[Path]:
    """The files of modules that stand in the tree, and of the packages they are in: these are run first."""
    for name in names:
        parts = [part for part in name.split(".") if part]
        for root in roots:
            for depth in range(1, len(parts) + 1):
                path = root.joinpath(*parts[:depth])
                found = [one for one in (path.with_name(f"{path.name}.py"), path / "__init__.py") if one.is_file()]
                yield from found


def _content(path: Path) -> bytes:
    """A link out of the tree, or into nothing, is what it says."""
    try:
        return path.read_bytes()
    except OSError:
        return os.fsencode(os.readlink(path)) if path.is_symlink() else b""


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
