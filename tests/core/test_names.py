"""What one source says, read statement by statement and in one."""

from __future__ import annotations

from pathlib import Path

import celery
import kombu
import pytest

from bisect_celery.core import names

FOLDERS = [Path(str(celery.__file__)).parent / "app", Path(str(kombu.__file__)).parent]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_read_in_pieces_and_in_one_say_the_same(folder: Path) -> None:
    for path in sorted(folder.glob("*.py")):
        content = path.read_bytes()
        whole, read = names._piece(content), names.read(content)
        assert whole is not None
        assert read is not None
        assert read.bound == whole.bound
        assert read.free == whole.used - whole.bound - names.KNOWN
        assert {*read.imports, *read.stars} == {*whole.imports}
        assert not read.free or read.stars or read.dynamic, path  # published code that pyflakes passes as well


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'text = """\n', b'x = 1\n"""\ny = text\n'),
        (b"items = [\n", b"first,\nsecond,\n]\n"),
        (b"total = 1 + \\\n", b"other\n"),
        (b"@decorate\n", b"# said in between\n@again\ndef f():\n    pass\n"),
        (b"if x:\n    y = 1\n", b"else:\n    z = 2\n"),
        (b"try:\n    y = 1\n", b"except NameError:\n    z = 2\nfinally:\n    a = 3\n"),
        (b"match x:\n", b"    case 1:\n        y = 2\n"),
        (b'"""Words\n', b'at the margin, import of\nnothing\n"""\nimport something\n'),
        (b"# -*- coding: latin-1 -*-\n", b"name = '\xe4'\n"),
        (b"\xef\xbb\xbfimport os\n", b"print(os)\n"),
        (b"import os\r\n", b"print(os)\r\n"),
    ],
)
def test_statements_that_stand_at_the_margin_in_parts(before: bytes, after: bytes) -> None:
    whole, read = names._piece(before + after), names.read(before + after)
    assert whole is not None
    assert read is not None
    assert (read.bound, read.free) == (whole.bound, whole.used - whole.bound - names.KNOWN)


@pytest.mark.parametrize(
    "content", [b"print 'two'\n", b"def f(:\n", b"x = (\n", b"x = 1\n  y = 2\n", b"a\0b", b"'\xff'\n"]
)
def test_what_does_not_parse_is_none(content: bytes) -> None:
    assert names.read(content) is None
    assert names.read(b"import os\n" + content + b"\nx = 1\n") is None


def test_annotations_that_are_never_looked_up() -> None:
    source = b"x: Missing = 1\ndef f(a: Missing) -> Missing:\n    pass\n"
    with_future = names.read(b"from __future__ import annotations\n" + source)
    without = names.read(source)
    assert with_future is not None
    assert without is not None
    assert (with_future.free, without.free) == (frozenset(), {"Missing"})


@pytest.mark.parametrize(
    ("source", "public", "dynamic"),
    [
        (b"__all__ = ['a']\n__all__ += ['b']\n", {"a", "b"}, False),
        (b"__all__ = ('a',)\n", {"a"}, False),
        (b"__all__ = [n for n in names]\n", None, True),
        (b"__all__ = ['a']\n__all__.extend(other)\n", None, True),
        (b"x = 1\n", None, False),
        (b"def __getattr__(name):\n    return 1\n", None, True),
    ],
)
def test_what_a_module_makes_public(source: bytes, public: set[str] | None, dynamic: bool) -> None:
    read = names.read(source)
    assert read is not None
    assert (read.public, read.dynamic) == (public, dynamic)


@pytest.mark.parametrize(
    ("content", "early"),
    [
        ("print(gone)\n", "print gone"),
        ("@gone(LOW, key=other)\ndef f(a, b=default, *, c=last): return inside\n", "LOW default gone last other"),
        (
            "class A(Base, metaclass=Meta):\n    x = 1\n    y = x + gone\n    def f(self): return inside\n",
            "Base Meta gone",
        ),
        ("with opened as f:\n    print(gone)\n", "gone opened print"),
        ("f = lambda a=gone: inside\n", "gone"),
        ("x = [inside for one in gone if inside]\n", "gone"),
        ("x = a if gone else b\ny = first and second\nz: Note = value\n", "first gone value"),
        ("if gone:\n    inside\nwhile gone: inside\nfor x in many: inside\n", "gone many"),
        ("try:\n    inside\nexcept E:\n    inside\n", ""),
        ("def f(a: Note) -> Note:\n    return inside\nassert inside\n", ""),
    ],
)
def test_what_importing_a_file_looks_up_for_certain(content: str, early: str) -> None:
    read = names.read(content.encode())
    assert read is not None
    assert sorted(read.early) == sorted(set(early.split()) - names.KNOWN)
    assert read.early <= read.free


def test_imports_that_run_for_certain() -> None:
    read = names.read(
        b"import a\nfrom .b import c\nif x:\n    import d\ndef f():\n    import e\ntry: import g\nfinally: pass\n"
    )
    assert read is not None
    assert read.early_imports == {names.Import("a", None), names.Import("b", "c", 1)}
