"""The user's working tree as a tree: what `git add -A` and `git write-tree` would make, without touching anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_repository import Made, fingerprint

from bisect_celery.errors import UserError
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository

Private = Callable[..., PrivateRepository]


def assert_as_git_adds(made: Made, ours: PrivateRepository) -> str:
    """Compare with git's own doing, afterwards and on the user's repository itself."""
    before = fingerprint(made.path)
    tree = ours.working_tree()
    assert fingerprint(made.path) == before
    assert tree.label == "working tree"
    made.git("add", "-A")
    assert tree.sha == made.git("write-tree")
    return tree.sha


def test_changed_staged_deleted_untracked_and_ignored(made: Made, private: Private) -> None:
    made.commit({
        ".gitignore": "*.log\n/build/\n", "kept": "1", "changed": "1", "deleted": "1", "staged": "1", "both": "1",
        "unstaged-deletion": "1", "run.sh": "x", "file-to-folder": "1", "folder-to-file/x": "1", "to-link": "1",
    })  # fmt: skip
    (made.path / ".git/info").mkdir(exist_ok=True)
    (made.path / ".git/info/exclude").write_text("private-notes\n")
    made.write({"staged": "2", "both": "2", "new-staged": "n", "removed-again": "r"})
    made.git("add", "staged", "both", "new-staged", "removed-again")
    made.git("rm", "-q", "--cached", "unstaged-deletion")
    made.git("add", "-N", "kept")
    made.write({
        "changed": "2", "deleted": None, "both": "3", "untracked/deep": "u", "x.log": "no", "build/out": "no",
        "private-notes": "no", "removed-again": None, "file-to-folder": None, "folder-to-file/x": None,
        "with\nnewline": "x", b"\xff\xfe".decode("utf-8", "surrogateescape"): "bytes", 'q"u\\o': "q", "to-link": None,
        "intended": "i",
    })  # fmt: skip
    made.git("add", "-N", "intended")
    (made.path / "folder-to-file").rmdir()
    made.write({"file-to-folder/x": "2", "folder-to-file": "2"})
    (made.path / "to-link").symlink_to("kept")
    (made.path / "run.sh").chmod(0o755)
    ours = private(made)
    sha = assert_as_git_adds(made, ours)
    files = ours.files(sha)
    assert {"untracked/deep", "file-to-folder/x", "folder-to-file", "unstaged-deletion", "intended"} <= set(files)
    assert not {"x.log", "build/out", "private-notes", "deleted", "removed-again"} & set(files)
    assert ours.read(sha, "both") == b"3"
    assert ours.read(sha, "to-link") == b"kept"


def test_a_clean_tree_is_heads(made: Made, private: Private) -> None:
    made.commit({"a": "1", "b/c": "2"})
    assert private(made).working_tree().sha == made.tree()


def test_from_nothing(made: Made, private: Private) -> None:
    ours = private(made)
    assert ours.files(ours.working_tree().sha) == ()
    made.write({"a": "1"})
    assert ours.files(ours.working_tree().sha) == ("a",)


def test_content_that_the_users_store_already_has_is_not_touched_there(made: Made, private: Private) -> None:
    """Going back to an older content, git would freshen the old object's file."""
    made.commit({"a": "old\n", "sub/x": "1"})
    made.commit({"a": "new\n"})
    made.write({"a": "old\n", "copy": "old\n"})
    assert_as_git_adds(made, private(made))


def test_in_the_middle_of_a_conflict(made: Made, private: Private) -> None:
    made.commit({"a": "1\n"})
    made.git("checkout", "-q", "-b", "other")
    made.commit({"a": "2\n"})
    made.git("checkout", "-q", "main")
    made.commit({"a": "3\n"})
    with pytest.raises(AssertionError):
        made.git("merge", "other")
    ours = private(made)
    sha = assert_as_git_adds(made, ours)
    content = ours.read(sha, "a")
    assert content is not None
    assert content.startswith(b"<<<<<<<")


def test_line_ends_are_what_git_would_add(made: Made, private: Private) -> None:
    made.commit({"crlf": b"1\r\n2\r\n", "lf": b"1\n"})
    made.commit({".gitattributes": "* text=auto\n"})
    made.write({"crlf": b"1\r\n3\r\n", "lf": b"1\r\n", "new": b"x\r\ny\r\n", "bin": b"\0\r\n"})
    made.git("config", "core.autocrlf", "true")
    assert_as_git_adds(made, private(made))


def test_modes_that_the_user_does_not_trust(made: Made, private: Private) -> None:
    made.commit({"a": "1"})
    made.git("config", "core.fileMode", "false")
    (made.path / "a").chmod(0o755)
    assert_as_git_adds(made, private(made))


def test_an_assumed_unchanged_file_is_taken_as_it_is(made: Made, private: Private) -> None:
    made.commit({"a": "1"})
    made.git("update-index", "--assume-unchanged", "a")
    made.write({"a": "2"})
    ours = private(made)
    assert ours.read(ours.working_tree().sha, "a") == b"2"


@pytest.mark.parametrize("words", [["--cone", "--sparse-index"], ["--cone", "--no-sparse-index"], ["--no-cone"]])
def test_a_sparse_checkout_is_whole(made: Made, private: Private, words: list[str]) -> None:
    made.commit({"in/a": "1", "out/b": "1", "out/deep/c": "1", "top": "1"})
    made.git("sparse-checkout", "set", *words, "in")
    assert not (made.path / "out/b").exists()
    made.write({"in/a": "2"})
    before = fingerprint(made.path)
    ours = private(made)
    tree = ours.working_tree().sha
    assert fingerprint(made.path) == before
    assert set(ours.files(tree)) == {"in/a", "out/b", "out/deep/c", "top"}
    assert ours.read(tree, "in/a") == b"2"


def test_a_split_index_and_an_untracked_cache(made: Made, private: Private) -> None:
    made.commit({"a": "1", "b": "1"})
    made.git("update-index", "--split-index")
    made.git("update-index", "--untracked-cache")
    made.write({"a": "2", "c": "3"})
    made.git("add", "a")
    assert_as_git_adds(made, private(made))


def test_another_repository_inside_is_left_out(made: Made, make: Callable[..., Made], private: Private) -> None:
    made.commit({"a": "1"})
    inner = Made(made.path / "vendored")
    inner.commit({"x": "1"})
    ours = private(made)
    assert ours.files(ours.working_tree().sha) == ("a",)


def test_a_submodule_that_moved(made: Made, make: Callable[..., Made], private: Private) -> None:
    library = make("library")
    library.commit({"l": "1"})
    made.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib")
    made.commit({"a": "1"})
    moved = Made.__new__(Made)
    moved.path, moved._clock = made.path / "lib", 1_710_000_000
    moved.git("config", "user.email", "a@example.org")
    moved.git("config", "user.name", "a")
    sha = moved.commit({"l": "2"})
    moved.write({"l": "3", "untracked": "x"})
    ours = private(made)
    tree = assert_as_git_adds(made, ours)
    assert sha in made.git("ls-tree", tree, "lib")


def test_the_linked_working_tree_it_was_opened_in(made: Made, tmp_path: Path) -> None:
    made.commit({"a": "1"})
    made.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    (tmp_path / "linked/a").write_text("linked")
    made.write({"a": "main"})
    ours = PrivateRepository.create(tmp_path / "ours", open_repository(tmp_path / "linked"))
    assert ours.read(ours.working_tree().sha, "a") == b"linked"
    assert ours.read(ours.working_tree(open_repository(made.path)).sha, "a") == b"main"


def test_the_whole_tree_also_from_a_subfolder(made: Made, tmp_path: Path) -> None:
    made.commit({"a": "1", "sub/b": "1"})
    made.write({"a": "2", "sub/c": "2"})
    ours = PrivateRepository.create(tmp_path / "ours", open_repository(made.path / "sub"))
    assert_as_git_adds(made, ours)


def test_a_file_that_vanishes_or_cannot_be_read(made: Made, private: Private) -> None:
    made.commit({"a": "1"})
    os.mkfifo(made.path / "pipe")
    ours = private(made)
    assert ours.files(ours.working_tree().sha) == ("a",)
    blocked = made.path / "bad"
    blocked.symlink_to("x")
    assert "bad" in ours.files(ours.working_tree().sha)
    (made.path / ".gitattributes").write_text("*.x filter=gone\n")
    made.git("config", "filter.gone.clean", "false")
    made.git("config", "filter.gone.required", "true")
    made.write({"new.x": "1"})
    with pytest.raises(UserError, match="could not read the working tree"):
        private(made).working_tree()
