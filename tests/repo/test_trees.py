"""Trees from atoms, compared with what `git apply` makes of the same subset of a diff: no code is shared.

The oracle takes git's own zero-context diff, drops the hunks that were not chosen, renumbers the new side of the
rest and lets `git apply --cached --unidiff-zero` build the tree.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_repository import Made, fingerprint

from bisect_celery.errors import InfraError
from bisect_celery.model import Atom, AtomKind
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.trees import PatchDoesNotApply
from bisect_celery.repo.user import open_repository

Private = Callable[..., PrivateRepository]
LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")


# --- the oracle --------------------------------------------------------------------------------------


def oracle(
    made: Made, parent: str, hunks: Sequence[tuple[bytes, int, bytes]], chosen: Sequence[int], index: Path
) -> str:
    """The tree that git makes of `parent` with the chosen ones of `hunks`: (file header, old start, body).

    A body is `-` lines and then `+` lines with their "no newline" notes; the old start is as in the diff.
    """
    patch = bytearray()
    for header, own in itertools.groupby(sorted(chosen), key=lambda number: hunks[number][0]):
        patch += header
        shift = 0
        for start, body in joined([hunks[number][1:] for number in own]):
            removed, added = counts(body)
            place = start + shift + (removed == 0) - (added == 0)
            patch += b"@@ -%d,%d +%d,%d @@\n" % (start, removed, place, added) + body
            shift += added - removed
    env = {"GIT_INDEX_FILE": str(index)}
    index.unlink(missing_ok=True)
    made.git("read-tree", parent, **env)
    if patch:
        made.git("apply", "--cached", "--unidiff-zero", "--whitespace=nowarn", "-", input=bytes(patch), **env)
    return made.git("write-tree", **env)


def joined(hunks: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Hunks that touch made one: git puts a second insertion at the same place before the first."""
    found: list[tuple[int, bytes]] = []
    for start, body in hunks:
        if found:
            before, earlier = found[-1]
            removed = counts(earlier)[0]
            if before + removed - (removed > 0) == start - (counts(body)[0] > 0):
                found[-1] = (before if removed else start, earlier + body)
                continue
        found.append((start, body))
    return found


def counts(body: bytes) -> tuple[int, int]:
    lines = body.split(b"\n")[:-1]
    return sum(line.startswith(b"-") for line in lines), sum(line.startswith(b"+") for line in lines)


def hunks_of_diff(diff: bytes) -> list[tuple[bytes, int, bytes]]:
    """The hunks of `git diff -U0`, which may hold anything: read by their counts."""
    lines = diff.split(b"\n")
    found: list[tuple[bytes, int, bytes]] = []
    header, at = b"", 0
    while at < len(lines) - 1:
        if lines[at].startswith(b"diff --git"):
            end = next(i for i in range(at, len(lines)) if lines[i].startswith(b"@@ "))
            header, at = b"".join(line + b"\n" for line in lines[at:end]), end
        match = re.match(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@", lines[at])
        assert match, lines[at]
        left = int(match[2] or 1) + int(match[3] or 1)
        end = at + 1
        while left or (end < len(lines) and lines[end].startswith(b"\\")):
            left -= not lines[end].startswith(b"\\")
            end += 1
        found.append((header, int(match[1]), b"".join(line + b"\n" for line in lines[at + 1 : end])))
        at = end
    return found


def hunks_of_atoms(found: Sequence[Atom]) -> list[tuple[bytes, int, bytes]]:
    """Atoms as hunks, for what is finer than git's: only their data is used, none of the code that splices."""
    hunks = []
    for atom in found:
        assert atom.edit is not None
        name = atom.path.encode()
        header = b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n" % (name, name, name, name)
        body = b""
        for sign, lines in ((b"-", atom.edit.removed), (b"+", atom.edit.added)):
            for line in lines:
                body += sign + (line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n")
        hunks.append((header, atom.edit.start + bool(atom.edit.removed), body))
    return hunks


# --- any content, any subset -------------------------------------------------------------------------

ODD = [
    b"a\n", b"b\n", b"a\r\n", b"\r\n", b"\n", b"a\rb\n", b"\x0c\n", "x\u2028y\n".encode(), b"\xff\xfe\n", b"\x85\n",
    b"@@ -1 +1 @@\n", b"+++ b/foo\n", b"--- a/foo\n", b"-- \n", b"\\ No newline at end of file\n",
    b"diff --git a/x b/x\n", b"rename from start\n", b"  trailing  \n", b"\ttab\n", b"a", b"no end\r", b"+", b"-",
]  # fmt: skip
PYTHON = [
    b"import a\n", b"import b\n", b"from c import d\n", b"from c import d, e\n", b"from m import (\n    n,\n)\n",
    b"x = 1\n", b"\n", b"# note\n", b"def f():\n    import q\n    return 1\n",
    b"try:\n    import z\nexcept ImportError:\n    z = None\n",
    b"import a; import b\n", b"import r\r\n", b"y = 2\r\n", b"import s", b"y = '\xff'\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, PrivateRepository]:
    made = Made(tmp_path_factory.mktemp("workshop") / "user")
    made.commit({"start": "x"})
    return made, PrivateRepository.create(made.path.parent / "ours", open_repository(made.path))


def tree_of(made: Made, files: dict[str, bytes]) -> str:
    listed = b""
    for name, content in files.items():
        blob = made.git("hash-object", "-w", "--stdin", "--no-filters", input=content)
        listed += f"100644 blob {blob}\t{name}\0".encode()
    return made.git("mktree", "-z", input=listed)


def assert_atoms(
    workshop: tuple[Made, PrivateRepository],
    old: dict[str, bytes],
    new: dict[str, bytes],
    pick: random.Random,
    finer: bool,
) -> None:
    made, ours = workshop
    before, after = tree_of(made, old), tree_of(made, new)
    found = ours._trees.atoms(before, after)  # asserts that none of them and all of them are right
    if finer:
        hunks = hunks_of_atoms(found)
    else:
        plain = ("-c", "diff.algorithm=myers", "-c", "core.attributesFile=/dev/null")
        diff = made.raw(*plain, "diff-tree", "-p", "-U0", "--text", "--full-index", "--no-renames", before, after)
        hunks = hunks_of_diff(diff)
        assert [atom.kind for atom in found] == [AtomKind.HUNK] * len(hunks)
    index = made.path.parent / "oracle-index"
    for _ in range(4):
        chosen = [number for number in range(len(found)) if pick.random() < 0.5]
        atoms = [found[number] for number in chosen]
        pick.shuffle(atoms)
        assert ours.compose(before, atoms) == oracle(made, before, hunks, chosen, index), (old, new, chosen)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    old=st.lists(st.sampled_from(ODD), max_size=12).map(b"".join),
    new=st.lists(st.sampled_from(ODD), max_size=12).map(b"".join),
    pick=st.randoms(use_true_random=False),
)
def test_any_text(workshop: tuple[Made, PrivateRepository], old: bytes, new: bytes, pick: random.Random) -> None:
    assert_atoms(workshop, {"a.txt": old, "b": new + b"end\n"}, {"a.txt": new, "b": old + b"end\n"}, pick, finer=False)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    old=st.lists(st.sampled_from(PYTHON), max_size=12).map(b"".join),
    new=st.lists(st.sampled_from(PYTHON), max_size=12).map(b"".join),
    pick=st.randoms(use_true_random=False),
)
def test_any_python(workshop: tuple[Made, PrivateRepository], old: bytes, new: bytes, pick: random.Random) -> None:
    assert_atoms(workshop, {"a.py": old}, {"a.py": new}, pick, finer=True)


def test_long_files_with_many_small_edits(workshop: tuple[Made, PrivateRepository]) -> None:
    """Repeated lines are what makes positions ambiguous: here there are many."""
    pick = random.Random(3)
    for _ in range(4):
        old = [pick.choice([b"    return None\n", b"\n", b"    pass\n", b"}\n"]) for _ in range(300)]
        new = list(old)
        for _ in range(40):
            at = pick.randrange(len(new))
            kind = pick.randrange(3)
            if kind == 0:
                del new[at]
            elif kind == 1:
                new.insert(at, pick.choice([b"\n", b"    pass\n", b"x%d\n" % at]))
            else:
                new[at] = b"y%d\n" % at
        assert_atoms(workshop, {"f": b"".join(old)}, {"f": b"".join(new)}, pick, finer=False)


# --- named kinds of changes --------------------------------------------------------------------------


def both(made: Made, ours: PrivateRepository) -> tuple[Atom, ...]:
    """The atoms of HEAD; every subset of up to 32 composes, order-free, and none and all are the two ends."""
    culprit = ours.resolve("HEAD")
    parent = ours.parents(culprit)[0] if culprit.parents else None
    found = ours.atoms(parent, culprit)
    base = parent.tree if parent else ours._trees.empty()
    assert ours.compose(base, ()) == base
    assert ours.compose(base, tuple(reversed(found))) == culprit.tree
    seen = set()
    for bits in range(min(2 ** len(found), 32)):
        chosen = [atom for index, atom in enumerate(found) if bits >> index & 1]
        tree = ours.compose(base, chosen)
        assert tree == ours.compose(base, chosen[::-1])
        seen.add(tree)
    assert len(seen) == min(2 ** len(found), 32), "every subset is a tree of its own"
    return found


def kinds(found: Sequence[Atom]) -> list[tuple[str, str]]:
    return [(str(atom.kind), atom.path) for atom in found]


def test_a_commit_of_all_kinds(made: Made, private: Private) -> None:
    made.commit({
        "text.py": "import a\nx = 1\ny = 1\n", "gone.py": "1\n", "bin": b"\0\1", "empty": "", "filled": "x\n",
        "run.sh": "x\n", "link-to-be": "target", "poetry.lock": "1\n2\n3\n", "app/migrations/0001.py": "1\n2\n",
        "with\nnewline": "1\n", 'q"u\\o te': "1\n", "ünï": "1\n", LATIN: "1\n", "crlf": b"1\r\n2\r\n", "noeol": "1\n2",
    })  # fmt: skip
    made.write({
        "text.py": "import b\nx = 2\ny = 1\n", "gone.py": None, "new.py": "x\n", "bin": b"\0\2", "empty": "now\n",
        "filled": "", "link-to-be": None, "poetry.lock": "1\n4\n5\n", "app/migrations/0001.py": "1\n3\n4\n",
        "with\nnewline": "2\n", 'q"u\\o te': "2\n", "ünï": "2\n", LATIN: "2\n", "crlf": b"1\r\n3\r\n",
        "noeol": "1\n2\n",
    })  # fmt: skip
    (made.path / "link-to-be").symlink_to("target")
    (made.path / "run.sh").chmod(0o755)
    sha = made.commit({}, "all kinds")
    before = fingerprint(made.path)
    ours = private(made)
    found = both(made, ours)
    assert sorted(kinds(found)) == sorted([
        ("import", "text.py"), ("import", "text.py"), ("hunk", "text.py"), ("file", "gone.py"), ("file", "new.py"),
        ("file", "bin"), ("hunk", "empty"), ("hunk", "filled"), ("mode", "run.sh"), ("file", "link-to-be"),
        ("file", "poetry.lock"), ("file", "app/migrations/0001.py"), ("hunk", "with\nnewline"), ("hunk", 'q"u\\o te'),
        ("hunk", "ünï"), ("hunk", LATIN), ("hunk", "crlf"), ("hunk", "noeol"),
    ])  # fmt: skip
    assert [atom.number for atom in found] == list(range(1, 19))
    assert fingerprint(made.path) == before
    assert ours.changed_paths(f"{sha}^", sha) == tuple(
        made.git("diff", "--name-only", "-z", "--no-renames", f"{sha}^", sha).split("\0")[:-1]
    )


def test_a_root_commit(made: Made, private: Private) -> None:
    made.commit({"a.py": "x\n", "b/c.py": "y\n", "empty": ""})
    assert kinds(both(made, private(made))) == [("file", "a.py"), ("file", "b/c.py"), ("file", "empty")]


def test_a_commit_that_changes_nothing(made: Made, private: Private) -> None:
    made.commit({"a": "x\n"})
    made.commit({}, "empty")
    assert both(made, private(made)) == ()


def test_a_merge_against_each_parent(made: Made, private: Private) -> None:
    made.commit({"a": "1\n", "b": "1\n"})
    made.git("checkout", "-q", "-b", "side")
    made.commit({"b": "2\n"})
    made.git("checkout", "-q", "main")
    made.commit({"a": "2\n"})
    made.merge("side")
    ours = private(made)
    merge = ours.resolve("HEAD")
    first, second = ours.parents(merge)
    assert kinds(ours.atoms(first, merge)) == [("hunk", "b")]
    assert kinds(ours.atoms(second, merge)) == [("hunk", "a")]


def test_a_renamed_file_with_changes_inside(made: Made, private: Private) -> None:
    body = "".join(f"line_{n} = {n}\n" for n in range(40))
    made.commit({"old/tasks.py": "import a\n" + body, "other.py": "x\n"})
    made.git("mv", "old/tasks.py", "new_tasks.py")
    made.commit({"new_tasks.py": "import b\n" + body.replace("line_20 = 20", "line_20 = 21")})
    ours = private(made)
    found = both(made, ours)
    assert kinds(found) == [
        ("file", "old/tasks.py"), ("import", "old/tasks.py"), ("import", "old/tasks.py"), ("hunk", "old/tasks.py"),
    ]  # fmt: skip
    assert found[0].header == "moved to new_tasks.py"
    (parent,) = ours.parents(ours.resolve("HEAD"))
    moved = ours.compose(parent.tree, found[:1])
    assert ours.read(moved, "new_tasks.py") == ("import a\n" + body).encode()
    edited = ours.compose(parent.tree, found[3:])
    assert b"line_20 = 21" in (ours.read(edited, "old/tasks.py") or b"")
    assert ours.read(edited, "new_tasks.py") is None


def test_a_file_that_becomes_a_folder_and_back(made: Made, private: Private) -> None:
    made.commit({"tasks.py": "import a\nx = 1\n", "other": "x\n"})
    made.commit({"tasks.py": None, "other": "y\n"})
    made.git("reset", "-q", "--soft", "HEAD~1")
    made.commit({"tasks.py/__init__.py": "import a\nx = 2\n", "tasks.py/mail.py": "new\n"})
    ours = private(made)
    found = both(made, ours)
    assert sorted(kinds(found)) == [("file", "tasks.py"), ("hunk", "other")]
    made.git("rm", "-rq", "tasks.py")
    made.commit({"tasks.py": "import a\nx = 3\n"})
    assert len(both(made, ours)) == 1


def test_folders_submodules_and_links_that_change_places(made: Made, private: Private) -> None:
    made.commit({"lib/a": "1\n", "lib/b": "1\n", "link": "x\n"})
    commit = made.head()
    made.git("rm", "-rq", "--cached", "lib")
    made.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
    blob = made.git("hash-object", "-w", "--stdin", input=b"lib")
    made.git("update-index", "--cacheinfo", f"120000,{blob},link")
    made.git("commit", "-q", "-m", "a submodule")
    ours = private(made)
    assert sorted(kinds(both(made, ours))) == [("file", "lib"), ("file", "link")]
    made.git("update-index", "--cacheinfo", f"160000,{made.head()},lib")
    made.git("commit", "-q", "-m", "its next commit")
    assert kinds(both(made, ours)) == [("file", "lib")]


def test_a_mode_and_a_line_of_one_file(made: Made, private: Private) -> None:
    made.commit({"a": "1\n2\n3\n"})
    (made.path / "a").chmod(0o755)
    made.commit({"a": "1\n4\n3\n"})
    assert kinds(both(made, private(made))) == [("mode", "a"), ("hunk", "a")]


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes", "global"])
@pytest.mark.parametrize("line", ["*.py -diff", "* binary", "*.py diff=custom", "* -text", "*.py text eol=crlf"])
def test_attributes_hide_nothing(
    made: Made, private: Private, where: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (made.path / ".git/info").mkdir(exist_ok=True)
    made.git("config", "diff.custom.textconv", "false")
    made.git("config", "diff.custom.command", "false")
    made.git("config", "--global", "core.attributesFile", str(tmp_path / "home/attributes"))
    target = tmp_path / "home/attributes" if where == "global" else made.path / where
    first = {"a.py": "1\n2\n3\n4\n5\n"}
    made.commit(first)
    made.commit({"a.py": "1\n0\n3\n0\n5\n"})
    target.write_text(line + "\n")
    ours = private(made)
    culprit = ours.resolve("HEAD")
    (parent,) = ours.parents(culprit)
    found = ours.atoms(parent, culprit)
    assert kinds(found) == [("hunk", "a.py")] * 2
    fixed = ours.compose(parent.tree, found[1:])
    patch = ours.reverse_patch(culprit, fixed)
    assert ours.try_patch(culprit, patch) == fixed


def test_atoms_of_another_tree_are_refused(made: Made, private: Private) -> None:
    made.commit({"a": "1\n"})
    made.commit({"a": "2\n"})
    made.commit({"a": "3\n"})
    ours = private(made)
    (atom,) = ours.atoms(ours.resolve("HEAD~1"), ours.resolve("HEAD"))
    with pytest.raises(InfraError, match="do not fit"):
        ours.compose(ours.resolve("HEAD").tree, [atom])


def test_atoms_that_are_not_exact_are_never_given_out(
    made: Made, private: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were git's coordinates misread, the tree would not be the culprit's, and that is checked."""
    from bisect_celery.core import atoms as core

    made.commit({"a": "1\n2\n3\n"})
    made.commit({"a": "1\n0\n3\n4\n"})
    ours = private(made)
    real = core.parse_hunks
    monkeypatch.setattr(core, "parse_hunks", lambda diff: real(diff)[:1])
    with pytest.raises(InfraError, match="not exact"):
        ours.atoms(ours.resolve("HEAD~1"), ours.resolve("HEAD"))


# --- patches -----------------------------------------------------------------------------------------


def apply_for_real(made: Made, patch: str) -> str:
    """`git apply` in the user's own working tree, as the report tells them to; the tree it makes."""
    path = made.path.parent / "fix.patch"
    path.write_bytes(patch.encode("utf-8"))
    made.git("apply", str(path))
    made.git("add", "-A")
    return made.git("write-tree")


def test_a_reverse_patch_applies_everywhere(made: Made, private: Private) -> None:
    body = "".join(f"line_{n} = {n}\n" for n in range(30))
    made.commit({
        "a.py": "import a\n\nx = 1\n", "crlf": b"1\r\n2\r\n", "noeol": "1\n2", "gone": "x\n", "bin": b"\0a\n" * 50,
        "old.py": body, "run": "x\n", LATIN: "1\n", "sp ace\tand\ttab": "1\n", "trailing": "a  \nb \n", "empty": "",
    })  # fmt: skip
    made.git("mv", "old.py", "new.py")
    made.write({
        "a.py": "import b\n\nx = 2\n", "crlf": b"1\r\n3\r\n", "noeol": "1\n3\n", "gone": None, "bin": b"\0b\n" * 50,
        "new.py": body.replace("line_3 = 3", "line_3 = 4"), "more": "y\n", LATIN: "2\n", "sp ace\tand\ttab": "2\n",
        "trailing": "a\nb\n", "empty": "x",
    })  # fmt: skip
    (made.path / "run").chmod(0o755)
    made.commit({})
    ours = private(made)
    culprit = ours.resolve("HEAD")
    (parent,) = ours.parents(culprit)
    found = ours.atoms(parent, culprit)
    pick = random.Random(5)
    for _ in range(6):
        kept = [atom for atom in found if pick.random() < 0.5]
        fixed = ours.compose(parent.tree, kept)
        patch = ours.reverse_patch(culprit, fixed)
        before = fingerprint(made.path)
        assert ours.try_patch(culprit, patch) == fixed
        assert fingerprint(made.path) == before
        assert apply_for_real(made, patch) == fixed
        made.git("reset", "-q", "--hard", culprit.sha)
        made.git("clean", "-fdq")


def test_a_patch_of_what_is_not_utf8_is_still_text(made: Made, private: Private) -> None:
    made.commit({"latin.py": "# é\nx = 1\n".encode("latin-1"), "b": "ü\n"})
    made.commit({"latin.py": "# à\nx = 1\n".encode("latin-1"), "b": "ö\n"})
    ours = private(made)
    culprit = ours.resolve("HEAD")
    (parent,) = ours.parents(culprit)
    patch = ours.reverse_patch(culprit, parent.tree)
    patch.encode("utf-8")
    assert apply_for_real(made, patch) == parent.tree
    made.commit({}, "utf-8 alone")
    made.commit({"b": "ß\n"})
    last = ours.resolve("HEAD")
    assert "+ü" in ours.reverse_patch(last, ours.parents(last)[0].tree)


def test_no_patch_for_no_difference(made: Made, private: Private) -> None:
    made.commit({"a": "1\n"})
    ours = private(made)
    head = ours.resolve("HEAD")
    assert ours.reverse_patch(head, head.tree) == ""
    assert ours.try_patch(head, "") == head.tree


def test_a_patch_that_does_not_apply(made: Made, private: Private) -> None:
    made.commit({"a": "1\n"})
    made.commit({"a": "2\n"})
    made.commit({"a": "3\n"})
    ours = private(made)
    middle = ours.resolve("HEAD~1")
    patch = ours.reverse_patch(middle, ours.resolve("HEAD~2").tree)
    with pytest.raises(PatchDoesNotApply):
        ours.try_patch(ours.resolve("HEAD"), patch)


def test_a_patch_applies_to_a_later_tip(made: Made, private: Private) -> None:
    made.commit({"a": "1\n2\n3\n4\n5\n6\n7\n8\n9\n"})
    made.commit({"a": "1\n0\n3\n4\n5\n6\n7\n8\n9\n"})
    culprit = made.head()
    made.commit({"a": "1\n0\n3\n4\n5\n6\n7\n8\nten\n", "other": "x\n"})
    ours = private(made)
    patch = ours.reverse_patch(ours.revision(culprit), ours.resolve("HEAD~2").tree)
    tree = ours.try_patch(ours.resolve("HEAD"), patch)
    assert ours.read(tree, "a") == b"1\n2\n3\n4\n5\n6\n7\n8\nten\n"


# --- reading -----------------------------------------------------------------------------------------


def test_reading_files(made: Made, private: Private) -> None:
    odd = [":(top)x", "*", "a b", "-n", "[x]", "dir/file", LATIN, "with\nnewline"]
    made.commit({name: f"content of {index}" for index, name in enumerate(odd)})
    (made.path / "link").symlink_to("dir/file")
    made.commit({})
    ours = private(made)
    tree = ours.resolve("HEAD").tree
    assert sorted(ours.files(tree)) == sorted([*odd, "link"])
    for index, name in enumerate(odd):
        assert ours.read(tree, name) == f"content of {index}".encode()
    assert ours.read(tree, "link") == b"dir/file"
    for nothing in ("dir", "absent", "dir/absent", "dir/file/", "", "link/x", "a"):
        assert ours.read(tree, nothing) is None


def test_the_private_repository_survives_and_stands_alone(made: Made, private: Private, tmp_path: Path) -> None:
    made.commit({"a": "1\n2\n3\n"})
    made.commit({"a": "0\n2\n0\n"})
    ours = private(made)
    first, second = ours.atoms(ours.resolve("HEAD~1"), ours.resolve("HEAD"))
    tree = ours.compose(ours.resolve("HEAD~1").tree, [first])
    ours.close()
    again = private(made)
    assert again.read(tree, "a") == b"0\n2\n3\n"
    assert again.compose(tree, ()) == tree
    assert second.number == 2
    checked = subprocess.run(
        ["git", "--git-dir", str(again.path), "fsck", "--strict"], capture_output=True, env=dict(os.environ)
    )
    assert checked.returncode == 0, checked.stderr
    assert again.path.stat().st_mode & 0o777 == 0o700
