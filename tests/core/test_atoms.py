"""Commits taken apart and put together again, without git: hunks come from difflib, the oracle is list slicing."""

from __future__ import annotations

import ast
import difflib
import textwrap
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core import atoms as core
from bisect_celery.core import imports
from bisect_celery.core.atoms import Entry, Hunk, Mismatch, PathChange, Target
from bisect_celery.model import Atom, AtomKind, Edit, FileChange

REGULAR = FileChange("100644", "old", "100644", "new")


def hunks_of(old: bytes, new: bytes) -> tuple[Hunk, ...]:
    matcher = difflib.SequenceMatcher(None, core.split_lines(old), core.split_lines(new), autojunk=False)
    found = [(i, i2 - i, j, j2 - j) for tag, i, i2, j, j2 in matcher.get_opcodes() if tag != "equal"]
    return tuple(Hunk(*numbers) for numbers in found)


def atoms_of(old: bytes, new: bytes, path: str = "a.py") -> tuple[Atom, ...]:
    return core.take_apart([PathChange(path, REGULAR, old, new, hunks_of(old, new))] if old != new else [])


def text(source: str) -> bytes:
    return textwrap.dedent(source).lstrip("\n").encode()


def shape(found: Sequence[Atom]) -> list[tuple[str, str]]:
    return [(str(atom.kind), "|".join(atom.lines)) for atom in found]


# --- lines and splicing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "count"),
    [(b"", 0), (b"a", 1), (b"a\n", 1), (b"\n", 1), (b"\n\n", 2), (b"a\r\nb", 2), (b"a\rb\x0cc\xe2\x80\xa8d\x85e\n", 1)],
)
def test_lines_end_at_newlines_only(content: bytes, count: int) -> None:
    lines = core.split_lines(content)
    assert len(lines) == count
    assert b"".join(lines) == content


def test_edits_may_come_in_any_order_and_share_a_place() -> None:
    edits = [
        Edit(1, (), (b"x\n",), 0),
        Edit(1, (), (b"y\n",), 1),
        Edit(1, (b"b\n",), (b"B\n",), 2),
        Edit(3, (), (b"z",), 0),
    ]
    assert core.splice(b"a\nb\nc\n", edits) == b"a\nx\ny\nB\nc\nz"
    assert core.splice(b"a\nb\nc\n", reversed(edits)) == b"a\nx\ny\nB\nc\nz"
    assert core.splice(b"a\nb\nc\n", [edits[2]]) == b"a\nB\nc\n"
    assert core.splice(b"", [Edit(0, (), (b"a",))]) == b"a"


@pytest.mark.parametrize(
    "edits",
    [
        [Edit(0, (b"b\n",), ())],
        [Edit(0, (b"a\n", b"b\n"), ()), Edit(1, (b"b\n",), ())],
        [Edit(4, (), (b"x\n",))],
        [Edit(2, (b"c\n", b"d\n"), ())],
        [Edit(0, (b"a\n",), (b"x\n",)), Edit(0, (b"a\n",), (b"y\n",))],
    ],
)
def test_edits_that_do_not_fit_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(Mismatch):
        core.splice(b"a\nb\nc\n", edits)


def test_hunks_are_read_by_their_counts() -> None:
    """Content that looks like a diff is content."""
    diff = b"\n".join([
        b"diff --git a/1 b/2", b"index 1..2 100644", b"--- a/1", b"+++ b/2",
        b"@@ -1,2 +1 @@ def f(self):", b"--- a/x", b"-@@ -1 +1 @@", b"+++ b/foo",
        b"@@ -5,0 +5,2 @@", b"+@@ -9,9 +9,9 @@", b"+\\ No newline at end of file",
        b"@@ -9 +11 @@ caf\xc3\xa9 \xff", b"-old", b"\\ No newline at end of file", b"+new", b"\\ anything at all", b"",
    ])  # fmt: skip
    assert core.parse_hunks(diff) == (
        Hunk(0, 2, 0, 1, "def f(self):"), Hunk(5, 0, 4, 2), Hunk(8, 1, 10, 1, "café \ufffd"),
    )  # fmt: skip
    assert core.parse_hunks(b"") == ()
    assert Hunk(0, 2, 0, 1, "def f(self):").header() == "@@ -1,2 +1,1 @@ def f(self):"
    assert Hunk(5, 0, 4, 2).header() == "@@ -5,0 +5,2 @@"


# --- import statements -------------------------------------------------------------------------------

TABLE = {
    "each import of a hunk alone": (
        "import os\nimport sys\n\nx = 1\n",
        "import os\nimport re\nimport app.signals\nimport sys\n\nx = 1\n",
        [("import", "+import re"), ("import", "+import app.signals")],
    ),
    "a removed import beside a harmless one": (
        "import os\nimport app.tables  # noqa\nimport json\nx = 1\n",
        "import os\nx = 1\n",
        [("import", "-import app.tables  # noqa"), ("import", "-import json")],
    ),
    "the names of one statement changed": (
        "from a import b\nfrom c import d\nx = 1\n",
        "from a import b, bb\nfrom c import e\nx = 1\n",
        [("import", "-from a import b|+from a import b, bb"), ("import", "-from c import d|+from c import e")],
    ),
    "an import inside a changed hunk": (
        "def f():\n    import a\n    return a.x\n",
        "def f():\n    import b\n    return b.x\n",
        [("import", "-    import a"), ("import", "+    import b"), ("hunk", "-    return a.x|+    return b.x")],
    ),
    "statements over several lines": (
        "from a import (\n    b,\n    c,\n)\nx = 1\n",
        "from z import (\n    b,\n)\nimport c\nx = 2\n",
        None,
    ),
    "a name within a statement over several lines": (
        "from a import (\n    b,\n    c,\n)\n",
        "from a import (\n    b,\n    d,\n)\n",
        [("import", "-    c,|+    d,")],
    ),
    "half a statement keeps with its other half": (
        "from a import (\n    b,\n    c,\n)\nx = 1\n",
        "from a import (\n    b,\n    c, d)\nimport e\nx = 1\n",
        [("import", "-    c,|-)|+    c, d)"), ("import", "+import e")],
    ),
    "a statement closed elsewhere is not cut": (
        "from a import (\n    b,\n    c)\nx = 1\n",
        "from a import (\n    b)\nx = 1\n",
        [("import", "-    b,|-    c)|+    b)")],
    ),
    "what an added function imports stays with it": (
        "x = 1\n",
        "x = 1\n\n\ndef f():\n    import a\n    return a\n",
        [("hunk", "+|+|+def f():|+    import a|+    return a")],
    ),
    "a guarded import is one import": (
        "import os\nx = 1\n",
        "import os\ntry:\n    import ujson as json\nexcept ImportError:\n    import json\nimport re\nx = 1\n",
        [
            ("import", "+try:|+    import ujson as json|+except ImportError:|+    import json"),
            ("import", "+import re"),
        ],
    ),
    "an import within a guard that stays": (
        "try:\n    import a\n    import b\nexcept ImportError:\n    pass\n",
        "try:\n    import c\nexcept ImportError:\n    pass\n",
        [("import", "-    import a"), ("import", "-    import b"), ("import", "+    import c")],
    ),
    "comments go with the import below them": (
        "x = 1\n",
        "# registers the tasks\nimport a\n\n# and this the signals\nimport b\nx = 1\n",
        [("import", "+# registers the tasks|+import a"), ("import", "+|+# and this the signals|+import b")],
    ),
    "two imports in one line": (
        "x = 1\n",
        "import a; import b\nimport c; y = 2\nimport d\nx = 1\n",
        [("import", "+import a; import b"), ("hunk", "+import c; y = 2"), ("import", "+import d")],
    ),
    "an import behind a colon is no line of its own": (
        "x = 1\n",
        "if x: import a\nimport b\nx = 1\n",
        [("import", "+if x: import a"), ("import", "+import b")],
    ),
    "text that looks like an import": (
        '"""\nimport a\n"""\nx = 1\n',
        '"""\nimport a\nimport b\n"""\nx = 1\n',
        [("hunk", "+import b")],
    ),
    "code alone": ("x = 1\ny = 2\n", "x = 2\ny = 2\n", [("hunk", "-x = 1|+x = 2")]),
    "relative imports": (
        "from . import a\nfrom .b import c\nx = 1\n",
        "from . import aa\nfrom ..b import c\nx = 1\n",
        [
            ("import", "-from . import a|+from . import aa"), ("import", "-from .b import c"),
            ("import", "+from ..b import c"),
        ],
    ),
    "no newline at the end: never glued": (
        "import a",
        "import a\nimport b",
        [("hunk", "-import a|+import a|+import b")],
    ),
    "Python 2": (
        "import a\nprint 'x'\nfrom b import (c,\n   d)\n",
        "import a\nimport e\nimport f, g\nprint 'x'\n",
        [
            ("import", "+import e"), ("import", "+import f, g"),
            ("import", "-from b import (c,|-   d)"),
        ],
    ),
    "Python 2, inside a function that comes": (
        "print 'x'\n",
        "print 'x'\ndef f():\n    import a\n    print a\n",
        [("hunk", "+def f():|+    import a|+    print a")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_import_statements(name: str) -> None:
    old, new, expected = TABLE[name]
    found = atoms_of(old.encode(), new.encode())
    if expected is not None:
        assert shape(found) == expected
    assert core.splice(old.encode(), [atom.edit for atom in found if atom.edit]) == new.encode()


def test_statements_over_several_lines_are_parted() -> None:
    old = text("""
        from a import (
            b,
            c,
        )
        x = 1
    """)
    new = text("""
        from z import (
            y,
        )
        import w
        x = 1
    """)
    change = PathChange("a.py", REGULAR, old, new, (Hunk(0, 4, 0, 4),))
    assert shape(core.take_apart([change])) == [
        ("import", "-from a import (|-    b,|-    c,|-)"),
        ("import", "+from z import (|+    y,|+)"),
        ("import", "+import w"),
    ]


def test_only_python_is_parted() -> None:
    assert shape(atoms_of(b"x\n", b"x\nimport a\nimport b\n", "notes.txt")) == [("hunk", "+import a|+import b")]
    assert len(atoms_of(b"x\n", b"x\nimport a\nimport b\n", "stubs/a.pyi")) == 2


def test_what_python_counts_otherwise_is_not_parsed() -> None:
    """A bare carriage return is a line end for Python and none for git."""
    assert imports.outline(core.split_lines(b"import a\rimport b\n")) is None
    assert imports.outline(core.split_lines(b"x = 1\0\n")) is None
    assert imports.outline(core.split_lines(b"x = (\n")) is None
    assert imports.outline(core.split_lines("x = '\u2028\x0c'\r\nimport a\r\n".encode())) is not None


def test_a_form_feed_and_a_byte_order_mark() -> None:
    old, new = b"\xef\xbb\xbfimport a\n\x0cimport b\nx = 1\n", b"\xef\xbb\xbfimport c\n\x0cimport d\nx = 1\n"
    assert [atom.kind for atom in atoms_of(old, new)] == [AtomKind.IMPORT] * 4


def test_headers_and_numbers() -> None:
    found = atoms_of(b"a = 1\nimport b\nc = 1\n", b"a = 2\nimport b\nimport d\nimport e\nc = 1\n")
    assert [atom.number for atom in found] == [1, 2, 3]
    assert [atom.header for atom in found] == ["@@ -1,1 +1,1 @@", "@@ -2,0 +3,1 @@", "@@ -2,0 +4,1 @@"]


# --- any content, any subset -------------------------------------------------------------------------

LINES = [
    b"import a\n", b"import b  # noqa\n", b"from a import b\n", b"from a import c, d\n", b"from .x import y\n",
    b"import a; import b\n", b"from m import (\n", b"    n,\n", b")\n", b"try:\n", b"    import a\n",
    b"except ImportError:\n", b"    pass\n", b"    b = None\n", b"x = 1\n", b"def f():\n", b"    return 1\n", b"\n",
    b"# note\n", b"@d\n", b"if x: import q\n", b'"""\n', b"print 'x'\n", b"import \\\n", b"  q\n", b"x = 1\r\n",
    b"import r\r\n", b"\x0c\n", b"\xff\n", b"\xe2\x80\xa8\n", b"import a", b"x", b"\r\n", b"a\rb\n",
]  # fmt: skip
CONTENT = st.lists(st.sampled_from(LINES), max_size=14).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(old=CONTENT, new=CONTENT, data=st.data())
def test_any_subset_is_what_slicing_makes(old: bytes, new: bytes, data: st.DataObject) -> None:
    found = atoms_of(old, new)
    edits = [atom.edit for atom in found if atom.edit]
    assert len(edits) == len(found)
    assert core.splice(old, edits) == new
    assert core.splice(old, ()) == old
    chosen = data.draw(st.lists(st.sampled_from(edits), unique=True)) if edits else []
    lines = list(core.split_lines(old))
    for edit in sorted(chosen, key=lambda edit: (-edit.start, -edit.rank)):
        assert tuple(lines[edit.start : edit.start + len(edit.removed)]) == edit.removed
        lines[edit.start : edit.start + len(edit.removed)] = edit.added
    assert core.splice(old, chosen) == b"".join(lines)


@settings(max_examples=300, deadline=None)
@given(old=CONTENT, new=CONTENT)
def test_import_atoms_hold_whole_imports(old: bytes, new: bytes) -> None:
    """Where both sides parse, an import atom that only adds is a text that parses, and imports."""
    if any(imports.outline(core.split_lines(side)) is None for side in (old, new)):
        return
    for atom in atoms_of(old, new):
        assert atom.edit is not None
        if atom.kind is not AtomKind.IMPORT or atom.edit.removed:
            continue
        tree = ast.parse(textwrap.dedent(b"".join(atom.edit.added).decode("utf-8", "replace").replace("\x0c", "")))
        assert any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))


# --- whole files -------------------------------------------------------------------------------------


def changed(path: str, old: str | None, new: str | None, moved_to: str | None = None, **sides: bytes) -> PathChange:
    """`old`, `new` like "100644 sha"."""
    (old_mode, _, old_sha), (new_mode, _, new_sha) = (old or "").partition(" "), (new or "").partition(" ")
    change = FileChange(old_mode or None, old_sha or None, new_mode or None, new_sha or None)
    hunks = hunks_of(sides["before"], sides["after"]) if sides else ()
    return PathChange(path, change, sides.get("before", b""), sides.get("after", b""), hunks, moved_to)


def test_kinds_of_whole_changes() -> None:
    found = core.take_apart([
        changed("added", None, "100644 a"),
        changed("deleted", "100755 d", None),
        changed("mode", "100644 m", "100755 m"),
        changed("link", "100644 l", "120000 l"),
        changed("bin", "100644 b1", "100644 b2"),
        changed("both", "100644 c1", "100755 c2", before=b"1\n", after=b"2\n"),
        changed("from", "100644 f", "100644 f", moved_to="to"),
        changed("lib", "160000 s1", "160000 s2"),
    ])  # fmt: skip
    assert [(atom.number, str(atom.kind), atom.path, atom.header) for atom in found] == [
        (1, "file", "added", "added"),
        (2, "file", "deleted", "deleted"),
        (3, "mode", "mode", "mode"),
        (4, "file", "link", "changed as a whole"),
        (5, "file", "bin", "changed as a whole"),
        (6, "mode", "both", "mode"),
        (7, "hunk", "both", "@@ -1,1 +1,1 @@"),
        (8, "file", "from", "moved to to"),
        (9, "file", "lib", "changed as a whole"),
    ]
    assert found[2].lines == ("-mode 100644", "+mode 100755")
    assert found[3].lines == ("-link (l)", "+symlink link (l)")
    assert found[7].lines == ("-from (f)", "+to (f)")


@pytest.mark.parametrize(
    "path",
    [
        ".gitattributes", "a/.gitmodules", "poetry.lock", "app/uv.lock", "Pipfile.lock", "package-lock.json",
        "Dockerfile", "docker/Dockerfile.worker", "web.dockerfile", "shop/migrations/0002_add.py",
        "migrations/versions/3a.py",
    ],
)  # fmt: skip
def test_files_that_only_make_sense_whole(path: str) -> None:
    assert not core.splits(path, REGULAR, b"a\n", b"b\n")


@pytest.mark.parametrize(
    "path", ["a.py", "requirements.txt", "lock.py", "shop/migrations.py", "my_migrations/x.py", "docs/Docker.md"]
)
def test_files_that_are_taken_apart(path: str) -> None:
    assert core.splits(path, REGULAR, b"a\n", b"b\n")


@pytest.mark.parametrize("content", [b"a\0b\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"])
def test_contents_that_are_not_taken_apart(content: bytes) -> None:
    assert not core.splits("a", REGULAR, b"a\n", content)
    assert not core.splits("a", REGULAR, content, b"a\n")
    assert not core.splits("a", FileChange("120000", "1", "100644", "2"), b"a", b"b")


def subsets(found: Sequence[Atom]) -> list[tuple[Atom, ...]]:
    return [tuple(atom for index, atom in enumerate(found) if bits >> index & 1) for bits in range(2 ** len(found))]


def test_an_edit_goes_along_with_a_move() -> None:
    base = {"old.py": Entry("100644", "o")}
    change = changed(
        "old.py", "100644 o", "100755 n", moved_to="new.py", before=b"a = 1\nb = 1\n", after=b"a = 1\nb = 2\n"
    )
    move, edit = core.take_apart([change])
    assert core.plan(base, [edit]) == {"old.py": Target("100644", "o", (edit.edit,))}
    assert core.plan(base, [move]) == {"old.py": None, "new.py": Target("100755", "o")}
    assert core.plan(base, [move, edit]) == {"old.py": None, "new.py": Target("100755", "o", (edit.edit,))}
    assert core.plan(base, [edit, move]) == core.plan(base, [move, edit])


def test_a_mode_and_an_edit_are_independent() -> None:
    base = {"a": Entry("100644", "o")}
    mode, edit = core.take_apart([changed("a", "100644 o", "100755 n", before=b"1\n", after=b"2\n")])
    assert core.plan(base, []) == {}
    assert core.plan(base, [mode]) == {"a": Target("100755", "o")}
    assert core.plan(base, [edit]) == {"a": Target("100644", "o", (edit.edit,))}
    assert core.plan(base, [mode, edit]) == {"a": Target("100755", "o", (edit.edit,))}


def test_paths_that_exclude_each_other_are_one_atom() -> None:
    found = core.take_apart([
        changed("a", "100644 1", None), changed("a/x", None, "100644 2"), changed("a/y/z", None, "100644 3"),
        changed("ab", None, "100644 4"), changed("a-b/c", "100644 5", None),
    ])  # fmt: skip
    assert [[path for path, _ in atom.changes] for atom in found] == [["a", "a/x", "a/y/z"], ["ab"], ["a-b/c"]]
    assert found[0].header == "paths that exclude each other"


def test_a_move_into_a_folder_of_its_own_name() -> None:
    """`a.py` becomes `a.py/__init__.py`, changed on the way: one atom, no hunks."""
    moved = changed("a.py", "100644 1", "100644 2", moved_to="a.py/__init__.py", before=b"1\n", after=b"2\n")
    (atom,) = core.take_apart([moved, changed("a.py/b", None, "100644 3")])
    base = {"a.py": Entry("100644", "1")}
    assert core.plan(base, [atom]) == {
        "a.py": None, "a.py/__init__.py": Target("100644", "2"), "a.py/b": Target("100644", "3"),
    }  # fmt: skip


def test_two_files_that_swap_their_names() -> None:
    found = core.take_apart([
        changed("a", "100644 1", "100644 2"), changed("b", "100644 2", "100644 1"),
    ])  # fmt: skip
    base = {"a": Entry("100644", "1"), "b": Entry("100644", "2")}
    assert core.plan(base, found) == {"a": Target("100644", "2"), "b": Target("100644", "1")}


def test_order_does_not_matter_and_every_subset_fits() -> None:
    found = core.take_apart([
        changed("a", "100644 1", "100755 2", before=b"1\n2\n3\n", after=b"0\n2\n4\n"),
        changed("m", "100644 5", "100644 6", moved_to="n", before=b"x\n", after=b"y\n"),
        changed("gone", "100644 7", None),
        changed("come", None, "100644 7"),
    ])  # fmt: skip
    base = {"a": Entry("100644", "1"), "m": Entry("100644", "5"), "gone": Entry("100644", "7")}
    for chosen in subsets(found):
        assert core.plan(base, chosen) == core.plan(base, tuple(reversed(chosen)))
        assert set(core.plan(base, chosen)) <= set(core.touched(chosen))


def test_atoms_that_do_not_fit_are_refused() -> None:
    (edit,) = core.take_apart([changed("a", "100644 1", "100644 2", before=b"1\n", after=b"2\n")])
    (whole,) = core.take_apart([changed("b", "100644 1", "100644 2")])
    (added,) = core.take_apart([changed("c", None, "100644 2")])
    base = {"a": Entry("100644", "1"), "b": Entry("100644", "1")}
    for wrong, atoms in [
        ({}, [edit]), ({"a": Entry("120000", "1")}, [edit]), ({"b": Entry("100644", "9")}, [whole]),
        ({"b": Entry("100755", "1")}, [whole]), ({"c": Entry("100644", "1")}, [added]), (base, [edit, edit]),
    ]:  # fmt: skip
        with pytest.raises(Mismatch):
            core.plan(wrong, atoms)
