"""A library under test: the app that runs is another folder, the same at every revision of the library.

The revision searched stands inside a copy of that folder and joins the app's packages there (`environment.library`),
so that everything else goes its usual way: its name, version and entry points are known to the environment; its code
comes first on the path and is never installed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bisect_celery.environment.facade import detect_dependencies
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
        if detect_dependencies(kept) is None:
            (kept / "requirements.txt").write_text("celery\n", "utf-8")

    def lay_out(self, layout: Path, library: Callable[[Path], object]) -> None:
        """The whole tree of a trial in `layout` (made): the app, with the revision inside, laid out by `library`."""
        shutil.copytree(self._kept, layout, symlinks=True)
        library(layout / LIBRARY)


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
