"""A tree laid out in a folder as a checkout would, without anybody's index and without `git archive`.

`export-ignore` makes `git archive` drop files; a checkout through an index of ours drops none, and runs the
user's filters (LFS, line ends) as their configuration says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel
from bisect_celery.repo.git import LONG_DEADLINE, Git, failed
from bisect_celery.repo.trees import GITLINK, Trees
from bisect_celery.repo.user import UserRepository, open_git_dir


class LayoutFailed(Exception):
    """A tree that cannot be laid out for a reason of its own, such as a filter that fails on it: no InfraError.

    `reason` is one sentence, `lines` the last lines that the filter wrote: raw and private.
    """

    def __init__(self, reason: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lines = lines


# A private repository's trees for a submodule's repository.
OpenModule = Callable[[UserRepository], Trees]


def lay_out(
    trees: Trees, tree: str, folder: Path, user: UserRepository, open_module: OpenModule, cancel: Cancel | None
) -> tuple[str, ...]:
    """Lay `tree` out in `folder` (made; must be empty), submodules included where the user has them.

    Returns notes about what is not there. Raises LayoutFailed for a required filter that fails, InfraError
    for anything else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InfraError(f"`{folder}` is not empty, so no tree can be laid out in it.")
    _check_out(trees, tree, folder.resolve(), cancel)
    notes = _pointers_note(trees, tree)
    modules = {path: entry.sha for path, entry in trees.entries(tree).items() if entry.mode == GITLINK}
    names = _module_names(trees, tree) if modules else {}
    for path, commit in sorted(modules.items()):
        module = _find_module(user, path, names.get(path), commit)
        if module is None:
            notes.append(f"submodule {path}: commit {commit[:10]} is not in this clone (git submodule update --init)")
            continue
        inside = lay_out(open_module(module), f"{commit}^{{tree}}", folder / path, module, open_module, cancel)
        notes.extend(f"{path}/: {note}" for note in inside)
    return tuple(notes)


def _pointers_note(trees: Trees, tree: str) -> list[str]:
    """Without git-lfs a checkout holds pointers instead of the files, here as everywhere on this machine."""
    attributes = trees.read(tree, ".gitattributes") or b""
    if b"filter=lfs" in attributes and "lfs" not in _filters(trees.git):
        return ["files kept by Git LFS are pointers only: git-lfs is not set up here (git lfs install)"]
    return []


def _check_out(trees: Trees, tree: str, folder: Path, cancel: Cancel | None) -> None:
    with trees.index() as git:
        assert git.index is not None
        git.run("read-tree", tree)
        placed = git.having(work_tree=folder, index=git.index)
        done = placed.run("checkout-index", "-a", "-f", "-q", check=False, deadline=LONG_DEADLINE, cancel=cancel)
        if done.code == 0:
            return
        # Whose fault? Git tells only in English; without filters the same files can be written or not.
        filters = _filters(trees.git)
        _empty(folder)
        off = tuple(f"filter.{name}.{key}" for name in filters for key in ("smudge=", "process=", "required=false"))
        plain = placed.having(work_tree=folder, index=git.index, settings=off)
        again = plain.run("checkout-index", "-a", "-f", "-q", check=False, deadline=LONG_DEADLINE, cancel=cancel)
        if not filters or again.code != 0:
            raise failed(done, f"lay out the tree {tree[:10]}")
    raise LayoutFailed(
        f"The git filter {' or '.join(filters)} failed on a file of this revision.",
        tuple(done.error_text().splitlines()[-5:]),
    )


def _filters(git: Git) -> tuple[str, ...]:
    listed = git.run(
        "config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(required|smudge|process)$", check=False
    )
    names = {key.split(".", 1)[1].rpartition(".")[0] for key in listed.text().split("\0") if key}
    return tuple(sorted(names))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


# --- submodules --------------------------------------------------------------------------------------


def _module_names(trees: Trees, tree: str) -> dict[str, str]:
    """Submodule names by path, from the tree's own .gitmodules."""
    listed = trees.git.run(
        "config", "--blob", f"{tree}:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$", check=False
    )
    names = {}
    for token in listed.text().split("\0"):
        key, _, path = token.partition("\n")
        if path:
            names[path] = key.removeprefix("submodule.").removesuffix(".path")
    return names


def _find_module(user: UserRepository, path: str, name: str | None, commit: str) -> UserRepository | None:
    """The user's clone of a submodule if it has the commit; nothing is fetched."""
    places = [user.root / path / ".git"]
    if name and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts:
        places += [user.git_dir / "modules" / name, user.common_dir / "modules" / name]
    for place in places:
        module = open_git_dir(_followed(place))
        if module and module.git.line("cat-file", "-t", commit) == "commit":
            return module
    return None


def _followed(place: Path) -> Path:
    """A git folder, or the one that a `.git` file speaks of."""
    if not place.is_file():
        return place
    target = place.read_text(errors="replace").removeprefix("gitdir:").strip()
    return (place.parent / target).resolve()
