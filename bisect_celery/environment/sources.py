"""Where a project's own code is found when it is not installed: the folders for `PYTHONPATH`.

The project under test is never installed into an environment, or each tree would need its own; its folders
go on the path instead, exactly as `pip install -e` would put them.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from typing import Any

from bisect_celery.environment.requirements import is_archive, local_path, read_chain
from bisect_celery.environment.tree import Folder, join


def source_roots(folder: Folder, subfolder: str = "", local: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Folders of the tree to put on `PYTHONPATH`, besides the app's own, which Celery puts there itself.

    `local` are folders of the tree that its requirements name as packages.
    """
    found: list[str] = []
    for project in (subfolder, *local):
        roots = list(_roots(folder, project))
        found += roots or ([project] if project != subfolder else [])
    return tuple(dict.fromkeys(root for root in found if folder.is_folder(root)))


def _roots(folder: Folder, project: str) -> Iterator[str]:
    table = folder.toml(join(project, "pyproject.toml"))
    for where in (*_setuptools(table), *_poetry(table), *_setup_files(folder, project), *_other(table)):
        yield join(project, where)
    packaged = any(folder.read(join(project, name)) is not None for name in ("pyproject.toml", "setup.py", "setup.cfg"))
    if packaged and _holds_packages(folder, join(project, "src")):
        yield join(project, "src")


def _setuptools(table: dict[str, Any]) -> Iterator[str]:
    setuptools = table.get("tool", {}).get("setuptools", {})
    if not isinstance(setuptools, dict):
        return
    root = setuptools.get("package-dir", {}).get("")
    if isinstance(root, str):
        yield root
    packages = setuptools.get("packages", {})
    where = packages.get("find", {}).get("where", []) if isinstance(packages, dict) else []
    yield from (path for path in where if isinstance(path, str))


def _poetry(table: dict[str, Any]) -> Iterator[str]:
    for package in table.get("tool", {}).get("poetry", {}).get("packages", []):
        if isinstance(package, dict) and isinstance(package.get("from"), str):
            yield package["from"]


def _other(table: dict[str, Any]) -> Iterator[str]:
    pdm = table.get("tool", {}).get("pdm", {})
    root = pdm.get("package-dir") or pdm.get("build", {}).get("package-dir")
    if isinstance(root, str):
        yield root
    wheel = table.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    for path in wheel.get("packages", []):
        if isinstance(path, str) and "/" in path:
            yield path.rpartition("/")[0]


def _setup_files(folder: Folder, project: str) -> Iterator[str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(folder.text(join(project, "setup.cfg")) or "")
    except configparser.Error:
        return
    if match := re.search(r"^\s*=\s*(\S+)\s*$", parser.get("options", "package_dir", fallback=""), re.M):
        yield match[1]
    setup = folder.text(join(project, "setup.py")) or ""
    if match := re.search(r"""package_dir\s*=\s*\{\s*["']{2}\s*:\s*["']([^"']+)["']""", setup):
        yield match[1]


def _holds_packages(folder: Folder, path: str) -> bool:
    return any(name.endswith(".py") or folder.is_folder(join(path, name)) for name in folder.names(path))


def local_folders(folder: Folder, files: tuple[str, ...], place: str) -> tuple[str, ...]:
    """The folders of the tree that requirements files name as packages (`-e ./libs/common`)."""
    found = []
    for file in files:
        for line in read_chain(folder, file).lines:
            path = local_path(line)
            if path is not None and not is_archive(path):
                found.append(join(place, path))
    return tuple(dict.fromkeys(found))
