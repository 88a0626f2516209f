"""Celery apps in a project's Python files, found by reading, never by importing. Pure."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bisect_celery.config.listing import Cached


@dataclass(frozen=True)
class App:
    """A Celery app at the top of a module. `module` is dotted, seen from `root`, the folder that must be on the path.

    `name` is the variable; `path` and `line` say where. `made` tells how: "Celery(...)" or by a factory.
    """

    root: str
    module: str
    name: str
    path: str
    line: int
    factory: bool = False

    @property
    def spec(self) -> str:
        """What `celery -A` takes for it, as short as Celery understands: `shop`, `worker:queue`."""
        if self.name not in ("app", "celery"):
            return f"{self.module}:{self.name}"
        package, _, last = self.module.rpartition(".")
        return package if package and last == "celery" else self.module

    @property
    def source(self) -> str:
        return f"{self.path}:{self.line}"


ASIDE = re.compile(
    r"(?:^|/)(?:tests?|testing|t|docs?|examples?|demos?|samples?|benchmarks?|node_modules|site-packages|vendor|venv|\.venv)/"
    r"|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest|tests|setup)\.py$"
)
_MENTIONS = re.compile(r"\bCelery\b|celery", re.I)


def find_apps(files: Cached) -> tuple[App, ...]:
    """All apps that stand at the top of a module; those of tests and examples only when there are no others."""
    modules = [path for path in files.paths if path.endswith(".py")]
    ours = [path for path in modules if not ASIDE.search(path)]
    return _in(files, ours) or _in(files, [path for path in modules if ASIDE.search(path)])


def _in(files: Cached, paths: list[str]) -> tuple[App, ...]:
    files.prefetch(paths)
    found = [app for path in paths for app in _apps_of(files, path)]
    real = [app for app in found if not app.factory]
    return tuple(real or found)


def _apps_of(files: Cached, path: str) -> Iterator[App]:
    text = files.text(path)
    if not _MENTIONS.search(text):
        return
    root, module = module_of(files, path)
    for name, line, factory in assignments(text):
        yield App(root, module, name, path, line, factory)


def module_of(files: Cached, path: str) -> tuple[str, str]:
    """(root, dotted module) of a file: its packages end where a folder has no `__init__.py`."""
    folder, file = posixpath.split(path)
    parts = [] if file == "__init__.py" else [file.removesuffix(".py")]
    while folder and f"{folder}/__init__.py" in files.known:
        folder, package = posixpath.split(folder)
        parts.insert(0, package)
    if not parts:
        folder, package = posixpath.split(folder)
        parts = [package]
    return folder, ".".join(parts)


def assignments(text: str) -> list[tuple[str, int, bool]]:
    """(name, line, whether by a factory) of each Celery app at the top of a module."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return _by_pattern(text)
    classes = _celery_names(tree)
    found = []
    for statement in _top(tree.body):
        targets, value = _assigned(statement)
        if not isinstance(value, ast.Call):
            continue
        name = _called(value.func)
        plain = name in classes or (name or "").rpartition(".")[2] in classes
        factory = bool(re.search(r"celery", (name or "").rpartition(".")[2], re.I)) and not plain and name != "celery"
        if plain or (factory and re.search(r"make|create|init|build|get|setup|config", name or "", re.I)):
            found += [(target.id, statement.lineno, not plain) for target in targets if isinstance(target, ast.Name)]
    return found


def _celery_names(tree: ast.Module) -> set[str]:
    """The names under which this module knows the Celery class, its own subclasses included."""
    names = {"Celery"}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "celery":
            names |= {alias.asname for alias in statement.names if alias.name == "Celery" and alias.asname}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            bases = {(_called(base) or "").rpartition(".")[2] for base in statement.bases}
            if bases & names:
                names.add(statement.name)
    return names


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import: also those in `if` and `try`, but not under `if __name__ == "__main__"`."""
    for statement in body:
        if isinstance(statement, ast.If) and "__name__" not in ast.dump(statement.test):
            yield from _top([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from _top([*statement.body, *statement.orelse, *(s for h in statement.handlers for s in h.body)])
        elif isinstance(statement, ast.With):
            yield from _top(statement.body)
        else:
            yield statement


def _assigned(statement: ast.stmt) -> tuple[list[ast.expr], ast.expr | None]:
    if isinstance(statement, ast.Assign):
        return statement.targets, statement.value
    if isinstance(statement, ast.AnnAssign):
        return [statement.target], statement.value
    return [], None


def _called(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _called(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return None


def _by_pattern(text: str) -> list[tuple[str, int, bool]]:
    """For files that today's parser refuses, Python 2's above all."""
    found = re.finditer(r"^(\w+)\s*=\s*(?:celery\.)?Celery\s*\(", text, re.M)
    return [(match[1], text.count("\n", 0, match.start()) + 1, False) for match in found]


_SETTINGS = re.compile(
    r"""DJANGO_SETTINGS_MODULE["']\s*[,\]]\s*=?\s*["'](?P<module>[\w.]+)["']"""
    r"""|^\s*execute_manager\(\s*(?P<imported>\w+)""",  # before Django 1.4: the module that stands beside it
    re.M,
)


def django_settings(files: Cached, subfolder: str, app_path: str | None) -> tuple[str, str] | None:
    """(module, file that says so) of the project's Django settings: manage.py's, else what the app's module sets."""
    nearest = [posixpath.join(subfolder, "manage.py"), "manage.py"]
    others = sorted(path for path in files.paths if posixpath.basename(path) == "manage.py")
    for path in [*dict.fromkeys([*nearest, *others]), *([app_path] if app_path else [])]:
        if match := _SETTINGS.search(files.text(path)):
            return match["module"] or match["imported"], path
    return None


def loads_djcelery(files: Cached) -> str | None:
    """The file in which django-celery of old is set up, None when it is not."""
    for path in files.paths:
        if path.endswith(".py") and "settings" in path and re.search(r"djcelery\.setup_loader", files.text(path)):
            return path
    return None
