"""The user's repository: found, described, and only ever read."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bisect_celery.errors import UserError
from bisect_celery.repo.git import Git, need_git

_GLOB = re.compile(r"[*?\[\\]")


@dataclass(frozen=True)
class UserRepository:
    """Where the user's repository is. Nothing is ever written below any of these paths.

    `root` is the working tree's top (of a bare repository: its git folder), `git_dir` this working tree's
    own git folder, `common_dir` the one that linked working trees share, `objects` the object store.
    `subfolder` is where it was opened, relative to `root`, POSIX style, "" at the top. `object_format` is
    "sha1" or "sha256".
    """

    root: Path
    git_dir: Path
    common_dir: Path
    objects: Path
    subfolder: str = ""
    shallow: bool = False
    bare: bool = False
    object_format: str = "sha1"

    @property
    def git(self) -> Git:
        """Git for reading this repository."""
        return Git(self.git_dir, self.root, work_tree=None if self.bare else self.root)

    def pathspecs(self, words: Sequence[str]) -> tuple[str, ...]:
        """Pathspecs as typed in `subfolder`, made to mean the same at `root`. Raises UserError for one outside."""
        return tuple(_from_top(word, self) for word in words)


def open_repository(start: Path) -> UserRepository:
    """The repository that `start` lies in: a main or linked working tree, a subfolder of one, or a bare repository.

    `GIT_DIR` and its like in the environment are not looked at, as an outer `git bisect run` sets them. Raises
    UserError when there is none, or when git refuses it.
    """
    need_git()
    start = Path(os.path.abspath(start))
    if not start.is_dir():
        raise UserError(f"`{start}` is not a folder.", "Name a folder inside your repository.")
    git = Git(None, start)
    git_dir = git.line("rev-parse", "--absolute-git-dir")
    if git_dir is None:
        raise _no_repository(git, start)
    bare = git.line("rev-parse", "--is-bare-repository") == "true"
    top = git_dir if bare else git.line("rev-parse", "--show-toplevel")
    if not top:
        raise UserError(
            f"`{start}` is inside a git folder, not in a working tree.", "Start in the project's own folder."
        )
    return _described(Path(git_dir), Path(top), bare, "" if bare else git.line("rev-parse", "--show-prefix") or "")


def open_git_dir(git_dir: Path) -> UserRepository | None:
    """A repository of which only the git folder counts, such as a submodule's; None when it is none."""
    if not git_dir.is_dir() or Git(git_dir, git_dir, work_tree=git_dir).line("rev-parse", "--git-dir") is None:
        return None
    return _described(git_dir, git_dir, False, "")


def _described(git_dir: Path, root: Path, bare: bool, prefix: str) -> UserRepository:
    git = Git(git_dir, git_dir, work_tree=None if bare else root)
    common = git.line("rev-parse", "--path-format=absolute", "--git-common-dir")
    objects = git.line("rev-parse", "--path-format=absolute", "--git-path", "objects")
    if not common or not objects:
        raise UserError("This git is too old.", "Install git 2.31 or newer.")
    return UserRepository(
        root, git_dir, Path(common), Path(objects), prefix.removesuffix("/"),
        shallow=git.line("rev-parse", "--is-shallow-repository") == "true",
        bare=bare,
        object_format=git.line("rev-parse", "--show-object-format") or "sha1",
    )  # fmt: skip


def _no_repository(git: Git, start: Path) -> UserError:
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            said = " ".join(git.run("rev-parse", "--git-dir", check=False).error_text().split())
            return UserError(
                f"git does not accept `{folder}` as a repository: {said[:300]}",
                f"If it belongs to another user: git config --global --add safe.directory '{folder}'",
            )
    return UserError(f"`{start}` is not in a git repository.", "Go to your project's folder.")


def _from_top(word: str, repository: UserRepository) -> str:
    """One pathspec: its magic kept, its path made relative to the top. See "pathspec" in gitglossary(7)."""
    if match := re.match(r":\(([^)]*)\)", word):
        magic = [name for name in match[1].split(",") if name]
        return _with_magic([*magic], word[match.end() :], repository)
    if match := re.match(r":([/!^]+):?", word):
        magic = (["top"] if "/" in match[1] else []) + (["exclude"] if set(match[1]) & set("!^") else [])
        return _with_magic(magic, word[match.end() :], repository)
    return _with_magic([], word.removeprefix(":"), repository)


def _with_magic(magic: list[str], path: str, repository: UserRepository) -> str:
    inside = path if "top" in magic else _inside(path, repository)
    if not inside and not magic:
        magic = ["top"]
    if _GLOB.search(repository.subfolder) and inside.startswith(repository.subfolder) and "top" not in magic:
        # What git itself writes when it hands on a pathspec from a subfolder: these characters are no pattern.
        magic = [*magic, f"prefix:{len(os.fsencode(repository.subfolder))}"]
    return (f":({','.join(magic)})" if magic else "") + inside


def _inside(path: str, repository: UserRepository) -> str:
    if path.startswith("/"):
        path = posixpath.relpath(path, repository.root / repository.subfolder)
    joined = posixpath.normpath(posixpath.join(repository.subfolder, path))
    if joined.startswith("../") or joined == "..":
        raise UserError(f"`{path}` lies outside the repository.", "Name paths inside the repository.")
    if joined == ".":
        return ""
    return joined + "/" if path.endswith("/") else joined
