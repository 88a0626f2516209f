"""A library under test: the app that runs is another folder, the same at every revision of the library.

The revision searched stands inside that folder and is required there as a package (`-e`), so that everything else goes
its usual way: its own requirements are resolved with the app's, as of the session's one date; its name, version and
entry points are known to the environment; its code comes first on the path and is never installed.
"""

from __future__ import annotations

import hashlib
import posixpath
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bisect_celery.environment.dependencies import Kind
from bisect_celery.environment.facade import detect_dependencies, project_name
from bisect_celery.environment.requirements import name_of
from bisect_celery.errors import UserError

# Where the revision stands in the laid-out workload.
LIBRARY = "library-under-test"
# Nothing of an app's own: other people's environments, caches, and the history.
_LEFT_OUT = frozenset({".git", ".hg", "__pycache__", "node_modules", ".tox", ".nox", ".venv", "venv", LIBRARY})


class Workload:
    """The app's folder as it was when the session began. `digest` names its content."""

    def __init__(self, source: Path, kept: Path) -> None:
        """Copies `source` to `kept` (made new), so that nobody's edit comes between two trials. Raises UserError."""
        need_folder(source)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(source, kept, symlinks=True, ignore=_ignored)
        self._kept = kept
        self.digest = content(kept)
        found = detect_dependencies(kept)
        if found is not None and found.kind is not Kind.REQUIREMENTS:
            raise UserError(
                f"The workload's dependencies stand in {found.files[0]}, to which no revision can be added.",
                f"Write them into a requirements.txt in {source}: what it needs beside the library, and celery.",
            )

    def lay_out(self, layout: Path, library: Callable[[Path], object]) -> None:
        """The whole tree of a trial in `layout` (made): the app, with the revision inside, laid out by `library`."""
        shutil.copytree(self._kept, layout, symlinks=True)
        library(layout / LIBRARY)
        self._require(layout)

    def _require(self, layout: Path) -> None:
        """Name the revision in the app's requirements, in the place of any release of it."""
        found = detect_dependencies(layout)
        path = layout / (found.files[0] if found is not None else "requirements.txt")
        lines = path.read_text("utf-8", "replace").splitlines() if found is not None else ["celery"]
        library = project_name(layout, LIBRARY)
        kept = [line for line in lines if library is None or name_of(line) != library]
        here = posixpath.relpath(LIBRARY, found.folder or ".") if found is not None else LIBRARY
        path.write_text("\n".join([*kept, f"-e ./{here}", ""]), "utf-8")


def need_folder(workload: Path) -> Path:
    """The app's folder, which must be there. Raises UserError."""
    if not workload.is_dir():
        raise UserError(f"`--workload {workload}` is no folder.", "Name the folder of the app that uses the library.")
    return workload


def content(folder: Path) -> str:
    """The name of a folder's content: a hash over all its files."""
    summed = hashlib.sha256()
    for path in _files(folder):
        summed.update(f"{path.relative_to(folder).as_posix()}\0{path.is_symlink()}\0".encode())
        summed.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return summed.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file()))


def _ignored(folder: str, names: list[str]) -> set[str]:
    environments = {name for name in names if (Path(folder) / name / "pyvenv.cfg").is_file()}
    return environments | (set(names) & _LEFT_OUT) | {name for name in names if name.endswith((".pyc", ".sock"))}
