"""The room's questions, asked of a laid-out tree by path."""

from __future__ import annotations

from pathlib import Path

from bisect_celery.environment import dependencies, interpreter, sources, wheel
from bisect_celery.environment.requirements import read_chain
from bisect_celery.environment.tree import Folder
from bisect_celery.model import Runner


def detect_dependencies(layout: Path, *, subfolder: str = "") -> dependencies.Dependencies | None:
    """Which files of the tree say what it depends on; None when there are none of a kind we know."""
    return dependencies.detect_dependencies(Folder(layout), subfolder)


def wanted_python(layout: Path, subfolder: str = "") -> tuple[str | None, str]:
    """(version or range, the file that says so) of the Python the project wants; (None, "") when nothing does."""
    wanted = interpreter.wanted_python(Folder(layout), subfolder)
    return (wanted.version, wanted.source) if wanted is not None else (None, "")


def disagreeing(layout: Path, subfolder: str, version: str) -> tuple[tuple[str, str], ...]:
    """(version or range, file) of all that the files of a tree say and a Python of this full version is not."""
    found = interpreter.disagreeing(Folder(layout), subfolder, version)
    return tuple((wanted.version, wanted.source) for wanted in found)


def choose_python(layout: Path, subfolder: str, runner: Runner) -> tuple[str, str, str]:
    """(path, full version, who said so) of the interpreter for a project whose user chose none.

    A session asks once, at its bad end, and keeps the answer (DESIGN 15). Raises UserError when nothing fits.
    """
    return interpreter.choose_python(Folder(layout), subfolder, runner)


def source_roots(layout: Path, subfolder: str = "", library: str = "") -> tuple[str, ...]:
    """Folders of the tree, relative to its root, to put on `PYTHONPATH` besides the app's own folder.

    `library` is the folder of a library's revision that the app uses: its code, as it lies there or as it was built,
    comes before all others.
    """
    folder = Folder(layout)
    first: tuple[str, ...] = ()
    if library and folder.is_folder(wheel.beside(library)):
        first = (wheel.beside(library),)
    elif library:
        first = tuple(
            root for root in sources.source_roots(folder, "", (library,)) if f"{root}/".startswith(f"{library}/")
        )
    found = dependencies.detect_dependencies(folder, subfolder)
    local: tuple[str, ...] = ()
    if found is not None and found.kind is dependencies.Kind.REQUIREMENTS:
        local = sources.local_folders(folder, read_chain(folder, found.files[0]).files[:1], found.folder)
    if found is not None and found.kind is dependencies.Kind.UV_LOCK:
        local = dependencies.workspace_folders(folder, found.folder)
    found_roots = sources.source_roots(folder, subfolder, tuple(path for path in local if path != subfolder))
    return tuple(dict.fromkeys((*first, *found_roots)))
