"""The user's working tree, uncommitted and untracked files included, as a tree in our object store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bisect_celery.errors import UserError
from bisect_celery.repo.git import LONG_DEADLINE, Git, raw, text
from bisect_celery.repo.trees import Trees
from bisect_celery.repo.user import UserRepository


def snapshot(trees: Trees, user: UserRepository) -> str:
    """The id of the tree that the user's working tree is now: tracked files as they are on disk, deletions,
    and untracked files that are not ignored.

    The user's index is read, not written; ours begins as a copy of its entries. Files that a sparse checkout
    leaves out are taken from the index. Uncommitted changes inside submodules are not included. Raises
    UserError for a bare repository or an unreadable file.
    """
    if user.bare:
        raise UserError("A bare repository has no working tree.", "Name a revision.")
    with trees.index() as git:
        assert git.index is not None
        placed = git.having(work_tree=user.root, index=git.index)
        listed = user.git.run("ls-files", "-z", "--stage", "-v").out
        tracked = _tracked(text(listed))
        placed.run("update-index", "-z", "--index-info", input=raw("".join(line + "\0" for line, _, _ in tracked)))
        sparse = {path for _, path, absent in tracked if absent and not os.path.lexists(raw_path(user.root, path))}
        paths = dict.fromkeys(path for _, path, _ in tracked if path not in sparse)
        paths.update(dict.fromkeys(_untracked(placed)))
        _update(placed, list(paths))
        return text(placed.run("write-tree", "--missing-ok").out).strip()


def raw_path(root: Path, path: str) -> bytes:
    return os.path.join(os.fsencode(root), raw(path))


def _tracked(listed: str) -> list[tuple[str, str, bool]]:
    """(line for --index-info, path, left out by a sparse checkout) of each entry of `ls-files --stage -v`."""
    found = []
    for token in listed.split("\0"):
        if token:
            flag, _, line = token.partition(" ")
            found.append((line, line.partition("\t")[2], flag in "Ss"))
    return found


def _untracked(git: Git) -> Sequence[str]:
    listed = git.tokens("ls-files", "-z", "--others", "--exclude-standard")
    return [path for path in listed if not path.endswith("/")]  # those are other repositories inside this one


def _update(git: Git, paths: Sequence[str]) -> None:
    done = git.run(
        "update-index", "--add", "--remove", "--replace", "-z", "--stdin",
        input=raw("".join(path + "\0" for path in paths)), check=False, deadline=LONG_DEADLINE,
    )  # fmt: skip
    if done.code != 0:
        said = " ".join(done.error_text().split())[:300]
        raise UserError(f"git could not read the working tree: {said}", "Commit it, and name the commit.")
