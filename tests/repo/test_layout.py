"""A tree laid out is what a checkout would be, with nothing of ours with the user."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_repository import Made, fingerprint

from bisect_celery.errors import Cancelled, InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.repo.layout import LayoutFailed
from bisect_celery.repo.private import PrivateRepository

Private = Callable[..., PrivateRepository]


def files_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    found = {}
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files + [one for one in folders if Path(base, one).is_symlink()]:
            path = Path(base, name)
            if name == ".git":
                continue
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(folder))] = (content, bool(path.lstat().st_mode & 0o100))
    return found


def test_what_a_checkout_would_lay_out(made: Made, private: Private, tmp_path: Path) -> None:
    made.write({
        ".gitattributes": "secret.py export-ignore\n*.bat text eol=crlf\n*.txt text\nversion.py export-subst\n*.l1 "
        "working-tree-encoding=latin1\n",
        "secret.py": "kept = 1\n", "run.bat": "a\nb\n", "mixed.dat": b"a\r\nb\n", "app/run.sh": "#!/bin/sh\n",
        "version.py": "v = '$Format:%H$'\n", "umlaut.l1": "é".encode("latin-1"), "with\nnewline": "x",
        'quo"te\\back': "y", "ünïcode/ß": "z", b"latin-\xe9".decode("utf-8", "surrogateescape"): "w", "empty": "",
        "!before.bat": "1\n2\n", "tab\there": "t", "-dash": "d", "pkg/__init__.py": "",
    })  # fmt: skip
    (made.path / "app/run.sh").chmod(0o755)
    (made.path / "link").symlink_to("app/run.sh")
    (made.path / "folder-link").symlink_to("app")
    (made.path / "dangling").symlink_to("/nonexistent")
    sha = made.commit({}, "all kinds")
    made.git("checkout", "-q", "-f", "HEAD", "--", ".")
    for path in made.path.iterdir():
        if path.is_file() and not path.is_symlink():
            path.unlink()
    made.git("checkout", "-q", "-f", sha, "--", ".")
    before = fingerprint(made.path)
    ours = private(made)
    assert ours.layout(ours.revision(sha).tree, tmp_path / "laid", Token()) == ()
    laid = files_of(tmp_path / "laid")
    assert laid == files_of(made.path)
    assert (laid["run.bat"][0], laid["!before.bat"][0]) == (b"a\r\nb\r\n", b"1\r\n2\r\n")
    assert laid["secret.py"][0] == b"kept = 1\n"
    assert laid["version.py"][0] == b"v = '$Format:%H$'\n"
    assert laid["app/run.sh"][1]
    assert sorted(ours.files(ours.revision(sha).tree)) == sorted(
        name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") for name in laid
    )
    assert fingerprint(made.path) == before


def test_local_settings_and_attributes_count(made: Made, private: Private, tmp_path: Path) -> None:
    sha = made.commit({"a.txt": "1\n2\n", "b.bin": "1\n"})
    made.git("config", "core.eol", "crlf")
    (made.path / ".git/info").mkdir(exist_ok=True)
    (made.path / ".git/info/attributes").write_text("*.txt text\n")
    ours = private(made)
    ours.layout(ours.revision(sha).tree, tmp_path / "laid")
    assert (tmp_path / "laid/a.txt").read_bytes() == b"1\r\n2\r\n"
    assert (tmp_path / "laid/b.bin").read_bytes() == b"1\n"


def test_a_conditional_include_that_holds_for_the_user_counts(
    made: Made, private: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = made.commit({"a.txt": "1\n", ".gitattributes": "*.txt text\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(f'[includeIf "gitdir:{made.path}/"]\n\tpath = work.config\n')
    (tmp_path / "home/work.config").write_text("[core]\n\teol = crlf\n")
    ours = private(made)
    ours.layout(ours.revision(sha).tree, tmp_path / "laid")
    assert (tmp_path / "laid/a.txt").read_bytes() == b"1\r\n"


def filter_program(tmp_path: Path, name: str, code: str) -> str:
    script = tmp_path / name
    script.write_text(code)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


UPPER = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read().upper())\n"
LOWER = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read().lower())\n"
FAIL = "import sys\nsys.stdin.buffer.read()\nsys.stderr.write('object not found on the server')\nsys.exit(2)\n"


@pytest.fixture
def filtered(made: Made, tmp_path: Path) -> str:
    """A repository with a filter of the user's, which upper-cases on checkout."""
    made.git("config", "filter.big.smudge", filter_program(tmp_path, "up.py", UPPER))
    made.git("config", "filter.big.clean", filter_program(tmp_path, "down.py", LOWER))
    made.git("config", "filter.big.required", "true")
    return made.commit({".gitattributes": "*.big filter=big\n", "a.big": "abc\n", "b.txt": "abc\n"})


def test_the_users_filters_run(made: Made, private: Private, tmp_path: Path, filtered: str) -> None:
    ours = private(made)
    tree = ours.revision(filtered).tree
    ours.layout(tree, tmp_path / "laid")
    assert (tmp_path / "laid/a.big").read_bytes() == b"ABC\n"
    assert (tmp_path / "laid/b.txt").read_bytes() == b"abc\n"
    assert ours.read(tree, "a.big") == b"abc\n"
    made.write({"a.big": "XYZ\n"})
    assert ours.read(ours.working_tree().sha, "a.big") == b"xyz\n"


def test_a_required_filter_that_fails_is_the_trees_own_trouble(
    made: Made, private: Private, tmp_path: Path, filtered: str
) -> None:
    made.git("config", "filter.big.smudge", filter_program(tmp_path, "fail.py", FAIL))
    ours = private(made)
    with pytest.raises(LayoutFailed, match="filter big failed") as caught:
        ours.layout(ours.revision(filtered).tree, tmp_path / "laid")
    assert any("object not found on the server" in line for line in caught.value.lines)
    # A tree without such files is not concerned.
    plain = made.commit({"a.big": None, ".gitattributes": None})
    assert private(made).layout(made.tree(plain), tmp_path / "plain") == ()


def test_a_folder_that_cannot_be_written_is_the_machines_trouble(
    made: Made, private: Private, tmp_path: Path, filtered: str
) -> None:
    ours = private(made)
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("x")
    with pytest.raises(InfraError, match="not empty"):
        ours.layout(ours.revision(filtered).tree, tmp_path / "used")
    with pytest.raises(InfraError):
        ours.layout("0123456789" * 4, tmp_path / "no-such-tree")


def test_a_cancelled_layout(made: Made, private: Private, tmp_path: Path, filtered: str) -> None:
    made.git("config", "filter.big.smudge", filter_program(tmp_path, "wait.py", "import time; time.sleep(300)"))
    token = Token()
    token.set()
    ours = private(made)
    with pytest.raises(Cancelled):
        ours.layout(ours.revision(filtered).tree, tmp_path / "laid", token)


def test_a_symlink_in_the_way_is_not_followed(made: Made, private: Private, tmp_path: Path) -> None:
    """A commit may hold anything: nothing is written outside the folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = made.git("hash-object", "-w", "--stdin", input=str(outside).encode())
    sha = made.commit({"a": "x"})
    blob = made.git("rev-parse", "HEAD:a")
    tree = made.git("mktree", input=f"100644 blob {blob}\tx\n120000 blob {link}\ty\n".encode())
    inner = made.git("mktree", input=f"100644 blob {blob}\tescaped\n".encode())
    evil = made.raw("hash-object", "-w", "-t", "tree", "--literally", "--stdin", input=(
        b"120000 y\0" + bytes.fromhex(link) + b"40000 y\0" + bytes.fromhex(inner)
    )).decode().strip()  # fmt: skip
    ours = private(made)
    assert ours.layout(tree, tmp_path / "plain") == ()
    with contextlib.suppress(InfraError, LayoutFailed):
        ours.layout(evil, tmp_path / "evil")
    assert list(outside.iterdir()) == []
    assert ours.revision(sha).tree


def test_files_of_lfs_where_it_is_not_set_up_are_noted(made: Made, private: Private, tmp_path: Path) -> None:
    made.commit(
        {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "a.bin": "version https://git-lfs...\n"}
    )
    (note,) = private(made).layout(made.tree(), tmp_path / "laid")
    assert "git lfs install" in note
    made.git("config", "filter.lfs.smudge", "cat")
    assert private(made).layout(made.tree(), tmp_path / "again") == ()


def test_credentials_are_copied_only_where_fetching_needs_them(made: Made, private: Private) -> None:
    made.commit({"a": "x"})
    made.git("config", "http.https://example.org/.extraheader", "AUTHORIZATION: canary")
    made.git("config", "remote.origin.url", "https://user:canary@example.org/x.git")
    ours = private(made)
    assert not [path for path in ours.path.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    made.git("config", "remote.origin.promisor", "true")
    config = private(made).path / "config"
    assert b"canary" in config.read_bytes()
    assert config.stat().st_mode & 0o777 == 0o600


# --- submodules --------------------------------------------------------------------------------------


@pytest.fixture
def with_modules(made: Made, make: Callable[..., Made]) -> tuple[Made, Made]:
    """A repository with the submodule libs/inner, which has one itself."""
    innermost, inner = make("innermost"), make("inner")
    innermost.commit({"deep.py": "deep = 1\n"})
    inner.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(innermost.path), "sub/deep")
    inner.commit({"inner.py": "inner = 1\n"})
    made.git(
        "-c", "protocol.file.allow=always", "submodule", "add", "-q", "--name", "the lib", str(inner.path), "libs/inner"
    )
    made.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init", "--recursive")
    made.commit({"app.py": "app = 1\n"}, "with a submodule")
    return made, inner


def test_submodules_come_from_the_users_clones(
    with_modules: tuple[Made, Made], private: Private, tmp_path: Path
) -> None:
    made, _ = with_modules
    before = fingerprint(made.path)
    ours = private(made)
    assert ours.layout(made.tree(), tmp_path / "laid", Token()) == ()
    laid = files_of(tmp_path / "laid")
    assert {"app.py", "libs/inner/inner.py", "libs/inner/sub/deep/deep.py"} <= set(laid)
    # Taken out of the working tree, the clones below .git/modules still have them.
    made.git("submodule", "deinit", "-q", "--all", "--force")
    assert private(made).layout(made.tree(), tmp_path / "again") == ()
    assert files_of(tmp_path / "again") == laid
    made.git("submodule", "update", "-q", "--init", "--recursive", GIT_ALLOW_PROTOCOL="file")
    assert {name for name in fingerprint(made.path)} >= {name for name in before if "/.git/" not in name}


def test_layouts_of_submodules_leave_the_user_alone(
    with_modules: tuple[Made, Made], private: Private, tmp_path: Path
) -> None:
    made, _ = with_modules
    before = fingerprint(made.path)
    ours = private(made)
    ours.layout(made.tree(), tmp_path / "laid")
    made_tree = ours.working_tree().sha
    assert made_tree == made.tree()
    assert fingerprint(made.path) == before


def test_a_submodule_commit_that_is_not_there_is_noted(
    with_modules: tuple[Made, Made], private: Private, tmp_path: Path
) -> None:
    made, inner = with_modules
    newer = inner.commit({"inner.py": "inner = 2\n"})
    made.git("update-index", "--cacheinfo", f"160000,{newer},libs/inner")
    made.git("commit", "-q", "-m", "newer")
    (note,) = private(made).layout(made.tree(), tmp_path / "laid")
    assert "libs/inner" in note
    assert newer[:10] in note
    assert (tmp_path / "laid/app.py").exists()


def test_a_submodule_name_that_leads_outside_is_not_followed(
    made: Made, make: Callable[..., Made], private: Private, tmp_path: Path
) -> None:
    other = make("other")
    sha = other.commit({"secret": "x"})
    made.write({".gitmodules": '[submodule "../../../other/.git"]\n\tpath = s\n\turl = x\n'})
    made.git("add", ".gitmodules")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{sha},s")
    made.git("commit", "-q", "-m", "evil")
    (note,) = private(made).layout(made.tree(), tmp_path / "laid")
    assert "not in this clone" in note
    assert not (tmp_path / "laid/s/secret").exists()
