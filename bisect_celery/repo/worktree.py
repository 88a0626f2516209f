"""The user's working tree, uncommitted and untracked files included, as a tree in our object store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bisect_celery.errors import UserError
from bisect_celery.repo.git import LONG_DEADLINE, Git, raw, text
from bisect_celery.repo.trees import GITLINK, Trees
from bisect_celery.repo.user import UserRepository

FOLDER = "040000"


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
        tracked = _tracked(trees, user, git.index.with_name("theirs"))
        placed.run("update-index", "-z", "--index-info", input=raw("".join(one.line + "\0" for one in tracked)))
        changed = _changed(placed)
        paths = [one.path for one in tracked if one.path in changed and not one.left_out(user.root)]
        trees.carry(one.sha for one in tracked if one.path in changed and one.mode != GITLINK)
        _update(trees.writer.having(work_tree=user.root, index=git.index), [*paths, *_untracked(placed)])
        return trees.write_tree(git)


@dataclass(frozen=True)
class _Tracked:
    """An entry of the user's index. `line` is it for `update-index --index-info`; `sparse`: it need not be on disk."""

    line: str
    mode: str
    sha: str
    path: str
    sparse: bool

    def left_out(self, root: Path) -> bool:
        """Whether a sparse checkout left the file out."""
        return self.sparse and not os.path.lexists(os.path.join(os.fsencode(root), raw(self.path)))


def _tracked(trees: Trees, user: UserRepository, copy: Path) -> list[_Tracked]:
    """The entries of the user's index, read from a copy: git touches a shared index and writes trees while it reads."""
    assert trees.git.git_dir is not None
    theirs = user.git_dir / "index"
    if not theirs.exists():
        return []
    needed = [*user.git_dir.glob("sharedindex.*"), user.git_dir / "info" / "sparse-checkout"]
    beside = [(path, trees.git.git_dir / path.relative_to(user.git_dir)) for path in needed if path.exists()]
    for source, target in [(theirs, copy), *beside]:
        shutil.copyfile(source, target)
    try:
        # Git writes trees when an index is not as sparse as the settings say; see "sdir" in gitformat-index(5).
        sparse = ("index.sparse=true", "core.sparseCheckout=true", "core.sparseCheckoutCone=true")
        settings = sparse if b"sdir\0\0\0\0" in copy.read_bytes() else ()
        listing = trees.git.having(work_tree=user.root, index=copy, settings=settings)
        listed = listing.run("ls-files", "--sparse", "-z", "--stage", "-v", check=False)
        if listed.code != 0:  # a git before 2.36 knows no --sparse
            listed = listing.run("ls-files", "-z", "--stage", "-v")
    finally:
        for _, target in beside:
            target.unlink(missing_ok=True)
    found: list[_Tracked] = []
    for token in text(listed.out).split("\0")[:-1]:
        found.extend(_entries(trees, token))
    return found


def _entries(trees: Trees, token: str) -> Iterator[_Tracked]:
    """One entry of `ls-files -z --stage -v`, or what is in a folder that a sparse index keeps as one."""
    flag, _, line = token.partition(" ")
    meta, _, path = line.partition("\t")
    mode, sha, _ = meta.split(" ")
    if mode != FOLDER:
        yield _Tracked(line, mode, sha, path, flag in "Ss")
        return
    for below, entry in trees.entries(sha).items():
        yield _Tracked(f"{entry.mode} {entry.sha} 0\t{path}{below}", entry.mode, entry.sha, path + below, True)


def _changed(git: Git) -> set[str]:
    """Tracked paths whose files are not what our index says; refreshing first spares hashing them into the store."""
    git.run("update-index", "-q", "--really-refresh", check=False, deadline=LONG_DEADLINE)
    return set(git.tokens("diff-files", "-z", "--name-only", "--ignore-submodules=dirty"))


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
