"""Finding the user's repository, and names and pathspecs in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_repository import Made, fingerprint

from bisect_celery.errors import UserError
from bisect_celery.repo import git as git_module
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository

Private = Callable[..., PrivateRepository]


def test_from_the_top_a_subfolder_and_a_linked_working_tree(made: Made, tmp_path: Path) -> None:
    made.commit({"services/mail/app.py": "x = 1\n"})
    made.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    top = open_repository(made.path)
    assert (top.root, top.git_dir, top.subfolder) == (made.path, made.path / ".git", "")
    assert (top.shallow, top.bare, top.object_format) == (False, False, "sha1")
    below = open_repository(made.path / "services" / "mail")
    assert (below.root, below.subfolder) == (made.path, "services/mail")
    linked = open_repository(tmp_path / "linked" / "services")
    assert (linked.root, linked.subfolder) == (tmp_path / "linked", "services")
    assert linked.git_dir == made.path / ".git" / "worktrees" / "linked"
    assert linked.common_dir == made.path / ".git"
    assert linked.objects == made.path / ".git" / "objects"


def test_head_is_that_of_the_linked_working_tree(made: Made, private: Private, tmp_path: Path) -> None:
    first = made.commit({"a": "1"})
    made.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    second = made.commit({"a": "2"})
    linked = PrivateRepository.create(tmp_path / "ours", open_repository(tmp_path / "linked"))
    assert linked.resolve("HEAD").sha == first
    assert linked.resolve("main").sha == second


def test_a_bare_repository_can_be_read(made: Made, tmp_path: Path) -> None:
    sha = made.commit({"a": "1"})
    made.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    user = open_repository(tmp_path / "bare.git")
    assert user.bare
    assert user.root == tmp_path / "bare.git"
    ours = PrivateRepository.create(tmp_path / "ours", user)
    assert ours.resolve("main").sha == sha
    with pytest.raises(UserError, match="no working tree"):
        ours.working_tree()


def test_the_callers_git_variables_do_not_count(
    made: Made, make: Callable[..., Made], private: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = made.commit({"a": "mine"})
    other = make("other")
    other.commit({"a": "other"})
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.path / ".git/objects"))
    monkeypatch.setenv("GIT_NAMESPACE", "elsewhere")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=true'")
    before = fingerprint(other.path)
    assert open_repository(made.path).root == made.path
    ours = private(made)
    assert ours.resolve("HEAD").sha == sha
    monkeypatch.delenv("GIT_OBJECT_DIRECTORY")
    assert ours.working_tree().sha == ours.resolve("HEAD").tree
    assert fingerprint(other.path) == before


def test_what_is_no_repository(tmp_path: Path, made: Made) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match="not in a git repository") as caught:
        open_repository(tmp_path / "plain")
    assert caught.value.hint
    with pytest.raises(UserError, match="not a folder"):
        open_repository(tmp_path / "nowhere")
    with pytest.raises(UserError, match="inside a git folder"):
        open_repository(made.path / ".git")


def test_a_repository_of_somebody_else_is_named_with_the_setting_that_helps(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_module, "_KEPT", (*git_module._KEPT, "GIT_TEST_ASSUME_DIFFERENT_OWNER"))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match="does not accept") as caught:
        open_repository(made.path)
    assert "safe.directory" in caught.value.hint
    # A setting handed over in variables, as CI does it, is heard.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(made.path))
    assert open_repository(made.path).root == made.path


def test_no_git_at_all(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        open_repository(made.path)


def test_names(made: Made, private: Private) -> None:
    shas = made.numbers(4)
    made.git("tag", "v1.2.0", shas[0])
    made.git("tag", "-a", "-m", "note", "annotated", shas[1])
    made.git("branch", "release/1.x", shas[2])
    blob = made.git("rev-parse", "HEAD:n")
    ours = private(made)
    for name, sha in [
        ("HEAD", shas[3]), ("HEAD~3", shas[0]), ("v1.2.0", shas[0]), ("annotated", shas[1]),
        ("release/1.x", shas[2]), (shas[1][:9], shas[1]), (shas[2].upper(), shas[2]), (":/number 2", shas[1]),
    ]:  # fmt: skip
        assert ours.resolve(name).sha == sha, name
    with pytest.raises(UserError, match="is not a commit"):
        ours.resolve(blob)
    for name in ("", "-h", "--all", "^HEAD", "HEAD..main", "HEAD~99", "a\nb", "no such thing", "deadbeef" * 5):
        with pytest.raises(UserError, match="is not a revision of this repository"):
            ours.resolve(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("v1.2", "`v1.2.0`"), ("mian", "`main`"), ("RELEASE/1.X", "`release/1.x`"), ("zzzzzz", "git fetch --tags")],
)
def test_what_helps_with_an_unknown_name(made: Made, private: Private, name: str, hint: str) -> None:
    made.commit({"a": "1"})
    made.git("tag", "v1.2.0")
    made.git("branch", "release/1.x")
    with pytest.raises(UserError) as caught:
        private(made).resolve(name)
    assert hint in caught.value.hint


def test_a_short_sha_of_many(made: Made, private: Private) -> None:
    made.commit({"a": "1"})
    # With 5,000 blobs some share their first four digits.
    data = b"".join(b"blob\ndata %d\n%d\n" % (len(str(n)), n) for n in range(1500))
    made.git("fast-import", "--quiet", input=data)
    shas = made.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    prefixes = [sha[:4] for sha in shas]
    shared = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    with pytest.raises(UserError) as caught:
        private(made).resolve(shared)
    assert "more digits" in caught.value.hint


def test_a_repository_without_a_commit(made: Made, private: Private) -> None:
    with pytest.raises(UserError, match="`HEAD` is not a revision"):
        private(made).resolve("HEAD")


def test_metadata_is_read_as_it_is(made: Made, private: Private) -> None:
    made.write({"a": "1"})
    made.git("add", "-A")
    message = 'Título – ünïcode\x1f"quoted"\n\nbody\nmore'.encode()
    made.raw(
        "commit", "-q", "-F", "-", input=message,
        GIT_AUTHOR_NAME="Zoë, O'Hara <x>", GIT_AUTHOR_EMAIL="z@example.org", **made.dates(),
    )  # fmt: skip
    revision = private(made).resolve("HEAD")
    assert revision.title == 'Título – ünïcode\x1f"quoted"'
    assert revision.author == "Zoë, O'Hara x"
    assert revision.date == "2023-11-15T00:13:20+01:00"
    assert revision.tree == made.tree()
    assert revision.parents == ()
    assert revision.short == revision.sha[:10]


def test_a_message_in_no_known_encoding_can_still_be_shown(made: Made, private: Private) -> None:
    stream = b"commit refs/heads/main\ncommitter J\xfcrg <j@example.org> 1700000000 +0000\ndata 5\ncaf\xe9\n\n"
    made.git("fast-import", "--quiet", input=stream)
    revision = private(made).resolve("main")
    assert (revision.title, revision.author) == ("caf\ufffd", "J\ufffdrg")
    f"{revision}".encode()


def test_parents_of_a_merge(made: Made, private: Private) -> None:
    base = made.commit({"a": "1"})
    made.git("checkout", "-q", "-b", "side")
    side = made.commit({"b": "1"})
    made.git("checkout", "-q", "main")
    main = made.commit({"c": "1"})
    made.merge("side")
    ours = private(made)
    assert [one.sha for one in ours.parents(ours.resolve("HEAD"))] == [main, side]
    assert ours.parents(ours.revision(base)) == ()


@pytest.fixture(scope="module")
def many_folders(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("many") / "user")
    names = ["app.py", "a*b", "aXb", "sub/q.py"]
    files = [f"{folder}/{name}" for folder in ("services/mail", "services/[x]", "services/b*r") for name in names]
    for file in [*files, "services/x/app.py", "services/bar/app.py", "services/web/w", "lib/l.py", "top.py"]:
        made.commit({file: "x"}, file)
    return made


@pytest.mark.parametrize("subfolder", ["services/mail", "services/[x]", "services/b*r"])
@pytest.mark.parametrize(
    "word",
    [
        "app.py", ".", "..", "../..", "../web/", ":/lib", ":(top)lib", ":!app.py", ":^/lib", ":(literal)a*b", ":",
        ":(icase)APP.py", "*.py", "{root}/lib", "sub/../sub/q.py", ":(exclude,icase)SUB", ":(glob)**/*.py", "./app.py",
    ],
)  # fmt: skip
def test_pathspecs_mean_the_same_at_the_top(many_folders: Made, subfolder: str, word: str) -> None:
    """Compared by the commits they choose, which git itself tells in the subfolder."""
    made = many_folders
    word = word.replace("{root}", str(made.path))
    (moved,) = open_repository(made.path / subfolder).pathspecs([word])
    ours = made.git("log", "--format=%s", "HEAD", "--", moved)
    assert ours == made.git("-C", subfolder, "log", "--format=%s", "HEAD", "--", word)
    assert ours


def test_a_pathspec_outside(made: Made) -> None:
    with pytest.raises(UserError, match="outside the repository"):
        open_repository(made.path).pathspecs(["../x"])
