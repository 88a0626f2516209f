"""What atoms need each other, read off sources."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from commits import Commit, commit

from bisect_celery.core.atoms import Entry
from bisect_celery.core.closure import Requirements, composer, requirements
from bisect_celery.core.isolate import Static


def read(made: Commit) -> Requirements:
    return requirements(made.atoms, made.parent, made.compose)


def one(made: Commit, text: str) -> int:
    (number,) = made.numbers(text)
    return number


FAR = "\n".join(f"pad_{k} = {k}" for k in range(4)) + "\n"


def test_removing_an_import_requires_that_its_use_goes() -> None:
    made = commit({"a.py": f"import os\n{FAR}print(os.sep)\n{FAR}x = 1\n"}, {"a.py": f"{FAR}print('/')\n{FAR}x = 2\n"})
    found = read(made)
    lost, used, other = one(made, "import os"), one(made, "print('/')"), one(made, "x = 2")
    assert found.soft == {lost: {used}, used: frozenset(), other: frozenset()}
    assert found.hard == {lost: frozenset(), used: frozenset(), other: frozenset()}
    assert found.static(frozenset([lost])) is Static.DOUBTFUL
    assert found.static(frozenset([lost, used])) is Static.CLEAN


def test_an_import_that_nothing_uses_requires_nothing_and_is_required_by_nothing() -> None:
    made = commit({"a.py": f"import os\nimport guilty\n{FAR}print(os.sep)\n"}, {"a.py": f"{FAR}print('/')\n"})
    found = read(made)
    guilty = one(made, "import guilty")
    assert found.requires[guilty] == frozenset()
    assert all(guilty not in others for others in (*found.requires.values(), *found.removal.values()))
    assert found.static(frozenset([guilty])) is Static.CLEAN


def test_a_use_requires_its_definition_in_another_file() -> None:
    made = commit(
        {"pkg/__init__.py": "", "pkg/a.py": "x = 1\n", "pkg/b.py": f"{FAR}y = 2\n"},
        {
            "pkg/__init__.py": "",
            "pkg/a.py": "x = 1\ndef late():\n    pass\n",
            "pkg/b.py": f"from pkg.a import late\n{FAR}y = late()\n",
        },
    )
    found = read(made)
    define, load, use = one(made, "def late():"), one(made, "from pkg.a import late"), one(made, "y = late()")
    assert found.soft[load] == {define}
    assert found.soft[use] == {load, define}
    assert found.soft[define] == frozenset()


def test_a_module_that_comes_with_the_commit() -> None:
    made = commit(
        {"pkg/__init__.py": "", "pkg/b.py": "x = 1\n"},
        {
            "pkg/__init__.py": "",
            "pkg/b.py": "x = 1\nfrom . import fresh\nfrom .fresh import thing\n",
            "pkg/fresh.py": "thing = 1\n",
        },
    )
    found = read(made)
    (module,) = (a.number for a in made.atoms if a.path == "pkg/fresh.py")
    for number in found.soft:
        assert found.soft[number] == (frozenset() if number == module else {module})
    assert found.removal[module] == frozenset()  # those that require it go by themselves


def test_a_module_that_leaves_with_the_commit() -> None:
    made = commit(
        {"pkg/__init__.py": "", "pkg/b.py": f"from pkg.old import thing\n{FAR}", "pkg/old.py": "thing = 1\n"},
        {"pkg/__init__.py": "", "pkg/b.py": FAR},
    )
    found = read(made)
    (gone,) = (a.number for a in made.atoms if a.path == "pkg/old.py")
    assert found.soft == {
        gone: made.numbers("from pkg.old import thing"),
        one(made, "from pkg.old import thing"): set(),
    }


def test_unchanged_files_that_import_what_only_one_end_has() -> None:
    made = commit(
        {
            "pkg/__init__.py": "",
            "pkg/a.py": f"def moved():\n    pass\n{FAR}",
            "pkg/user.py": "from pkg.a import moved\n",
        },
        {
            "pkg/__init__.py": "",
            "pkg/a.py": f"{FAR}from pkg.new import moved\n",
            "pkg/new.py": "def moved():\n    pass\n",
            "pkg/user.py": "from pkg.a import moved\n",
        },
    )
    found = read(made)
    drop, again = one(made, "-def moved():"), one(made, "from pkg.new import moved")
    (new,) = (a.number for a in made.atoms if a.path == "pkg/new.py")
    assert found.soft[drop] == {again, new}
    assert found.soft[again] == {new}


def test_hunks_that_only_parse_together_are_hard() -> None:
    calls = "".join(f"    call({k})\n" for k in range(8))
    deeper = calls.replace("    ", "        ")
    made = commit(
        {"a.py": f"def f(call):\n    if call:\n{deeper}    return 1\nx = 1\n"},
        {"a.py": f"def f(call):\n    if call:\n        pass\n{calls}    return 1\nx = 2\n"},
    )
    whole = made.atoms[0].edit
    assert whole is not None
    # Zero-context hunks of a long body come apart anywhere; here by hand: all of it and the line before.
    first = replace(made.atoms[0], edit=replace(whole, removed=whole.removed[:4], added=whole.added[:4]))
    rest = replace(
        made.atoms[0],
        number=3,
        edit=replace(whole, start=whole.start + 4, removed=whole.removed[4:], added=whole.added[4:]),
    )
    made = replace(made, atoms=(first, *made.atoms[1:], rest))
    found = read(made)
    assert found.hard == {1: {3}, 2: frozenset(), 3: frozenset()}
    assert found.static(frozenset([1])) is Static.INVALID
    assert found.static(frozenset([3])) is Static.CLEAN


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import json\nexcept ImportError:\n    json = None\nprint(json)\n",
        "try:\n    from pkg.gone import thing\nexcept ImportError:\n    thing = None\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.gone import Thing\nx: 'Thing'\n",
        "def f():\n    global late\n    late = 1\nprint(late)\n",
        "class A:\n    x = 1\n    y = [x for _ in range(3)]\n    def f(self):\n        return __class__\n",
        "values = [n for n in range(3) if (last := n)]\nprint(last)\n",
        "import os as _os\ndel _os\n",
        "class A:\n    def top(self, where):\n        found = where\n        return self, found\n",
        "from anything import *\nprint(from_there)\n",
        "from pkg.base import *\nprint(inherited)\n",
        "__all__ = ['one', 'base']\none = 1\n",
        "match [1]:\n    case [first, *rest]:\n        print(first, rest)\n",
        "text = '''\nimport nothing_here\nundefined_name\n'''\n",
        "print(__file__, __name__, __path__)\n",
        "try:\n    pass\nexcept ValueError as error:\n    print(error)\n",
        "def f():\n    with open('x') as g, open('y') as h:\n        print(g, h)\n",
        "globals()['made'] = 1\nprint(made)\n",
        "import pkg.base\nprint(pkg.base.inherited)\n",
        "from pkg import base, other\n",
        "from . import base\n",
        "from .base import inherited\n",
        "async def f(items):\n    return [i async for i in items]\n",
        "def deco(f):\n    return f\n@deco\ndef g(*a, b=1, **k):\n    return a, b, k\n",
    ],
)
def test_no_false_alarm(source: str) -> None:
    """A file that is sound on its own is no problem when it comes in parts, whatever idiom it uses."""
    rest = {"pkg/base.py": "inherited = 1\n", "pkg/other.py": ""}
    after = {**rest, "pkg/base.py": "inherited = 1\nnew = 1\n"}
    made = commit({"pkg/__init__.py": "x = 1\n", **rest}, {"pkg/__init__.py": f"x = 1\n{source}", **after})
    half = commit({"pkg/__init__.py": "x = 1\n", **rest}, {"pkg/__init__.py": "x = 1\nbroken_name\n", **rest})
    assert not _faults(made), _faults(made)
    assert _faults(half)


def _faults(made: Commit) -> list[object]:
    """The problems of the culprit, as a reader that does not subtract them would see them."""
    from bisect_celery.core.closure import _Reader

    return sorted(_Reader(made.atoms, made.parent, made.compose).known)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("print(nowhere)\n", "nowhere"),
        ("def f():\n    return nowhere\n", "nowhere"),
        ("class A:\n    def f(self):\n        return [nowhere for _ in ()]\n", "nowhere"),
        ("@nowhere\ndef f():\n    pass\n", "nowhere"),
        ("class A(nowhere):\n    pass\n", "nowhere"),
        ("def f(x=nowhere):\n    pass\n", "nowhere"),
        ("x: nowhere = 1\n", "nowhere"),
        ("f'{nowhere}'\n", "nowhere"),
        ("__all__ = ['nowhere']\n", "nowhere"),
        ("from pkg.base import nowhere\n", "nowhere"),
        ("from .base import nowhere\n", "nowhere"),
        ("from pkg import nowhere\n", "nowhere"),
        ("def f():\n    from pkg.base import nowhere\n", "nowhere"),
        ("from pkg.base import *\nprint(nowhere)\n", "nowhere"),
    ],
)
def test_what_is_missing_is_seen(source: str, missing: str) -> None:
    rest = {"pkg/__init__.py": "", "pkg/base.py": "inherited = 1\n"}
    after = {"pkg/__init__.py": "new = 1\n", "pkg/base.py": "inherited = 1\nnew = 1\n"}
    made = commit({"pkg/user.py": "x = 1\n", **rest}, {"pkg/user.py": f"x = 1\n{source}", **after})
    assert [problem.name for problem in _faults(made)] == [missing]  # type: ignore[attr-defined]


def test_python_2_says_nothing() -> None:
    made = commit({"a.py": "import os\nx = 1\nprint os.sep\ny = 1\n"}, {"a.py": "x = 1\nprint '/'\ny = 2\n"})
    found = read(made)
    assert not any(found.requires.values())
    assert {found.static(frozenset([a])) for a in found.hard} == {Static.CLEAN}


def test_what_is_wrong_at_an_end_already_does_not_count() -> None:
    made = commit(
        {"a.py": f"print(never)\n{FAR}x = 1\n{FAR}y = 1\n"}, {"a.py": f"print(never)\n{FAR}x = 2\n{FAR}y = nope\n"}
    )
    found = read(made)
    assert {found.static(frozenset([a])) for a in found.hard} == {Static.CLEAN}


def test_of_all_that_mention_a_name_only_those_that_mend_are_required() -> None:
    made = commit(
        {"a.py": f"import os\n{FAR}print(os.sep)\n{FAR}print(os.name)\n", "b.py": f"{FAR}import os\nprint(os.name)\n"},
        {"a.py": f"{FAR}print('/')\n{FAR}print('posix')\n", "b.py": f"{FAR}import os\nprint(os.sep)\n"},
    )
    found = read(made)
    assert found.soft[one(made, "-import os")] == made.numbers("print('/')", "print('posix')")


def test_what_two_removals_need_goes_with_one_of_them() -> None:
    """Each loss is sound alone, so neither requires the new definition; but it cannot go while both are made."""
    made = commit(
        {"a.py": f"import os\n{FAR}import os\nother = 1\nprint(os)\n"},
        {"a.py": f"{FAR}other = 1\nos = 1\nprint(os)\n"},
    )
    found = read(made)
    define = one(made, "+os = 1")
    losses = frozenset(found.soft) - {define}
    assert len(losses) == 2
    assert not any(found.requires.values())
    assert len(found.removal[define]) == 1
    assert found.removal[define] < losses
    assert found.static(losses) is Static.DOUBTFUL
    assert found.static(frozenset(found.soft) - {define} - found.removal[define]) is Static.CLEAN


@pytest.mark.parametrize(
    ("use", "sound"),
    [
        ("from pkg.old import thing\n", False),
        ("import pkg.old\n", False),
        ("def f():\n    import pkg.old\n", False),
        ("try:\n    import pkg.old\nfinally:\n    pass\n", False),
        ("try:\n    import pkg.old\nexcept KeyError:\n    pass\n", False),
        ("try:\n    import pkg.old\nexcept ImportError:\n    pass\n", True),
        ("try:\n    import pkg.old\nexcept (KeyError, ModuleNotFoundError):\n    pass\n", True),
        ("try:\n    import pkg.old\nexcept:\n    pass\n", True),
        ("try:\n    x\nexcept NameError:\n    import pkg.old\n", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    import pkg.old\n", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import pkg.old\n", False),
        ("import json.old\n", True),
    ],
)
def test_an_import_that_may_fail_needs_nothing(use: str, sound: bool) -> None:
    made = commit(
        {"pkg/__init__.py": "", "pkg/old.py": "thing = 1\n", "user.py": f"x = 1\n{use}{FAR}"},
        {"pkg/__init__.py": "", "user.py": f"x = 1\n{FAR}"},
    )
    found = read(made)
    (gone,) = (a.number for a in made.atoms if a.path == "pkg/old.py")
    assert (found.static(frozenset([gone])) is Static.CLEAN) == sound


def test_composing_in_memory() -> None:
    made = commit(
        {"a.py": f"import os\n{FAR}x = 1\n", "gone.py": "y = 1\n", "kept.py": "z = 1\n"},
        {"a.py": f"{FAR}x = 2\n{FAR}", "fresh.py": "y = 2\n", "kept.py": "z = 1\n"},
    )
    contents = [*made.parent.values(), *made.culprit.values()]
    entries = {path: Entry("100644", str(hash(made.parent[path]))) for path in ("a.py", "gone.py")}
    compose = composer(made.atoms, entries, {str(hash(content)): content for content in contents})
    numbers = [atom.number for atom in made.atoms]
    assert compose(frozenset()) == {}
    assert compose(frozenset(numbers)) == {path: made.culprit.get(path) for path in ("a.py", "fresh.py", "gone.py")}
    for size in range(len(numbers)):
        for some in itertools.combinations(numbers, size):
            assert compose(frozenset(some)) == made.compose(frozenset(some))


def test_a_file_that_is_imported_cannot_lack_what_it_looks_for_at_once() -> None:
    made = commit(
        {"a.py": f"x = 1\n{FAR}y = 1\n{FAR}def f():\n    return 1\n", "b.py": f"x = 1\n{FAR}y = 1\n"},
        {
            "a.py": f"x = new = 1\n{FAR}y = new\n{FAR}def f():\n    return new\n",
            "b.py": f"x = other = 1\n{FAR}y = other\n",
        },
    )
    found = read(made)
    at_once, later, elsewhere = one(made, "y = new"), one(made, "return new"), one(made, "y = other")
    assert not found.learn(frozenset([later]))
    assert not found.learn(frozenset([at_once, elsewhere])), "which of the two files it was is not known"
    assert found.static(frozenset([at_once])) is Static.DOUBTFUL
    assert found.learn(frozenset([at_once]))
    assert not found.learn(frozenset([at_once])), "nothing new"
    assert found.static(frozenset([at_once])) is Static.INVALID
    assert found.static(frozenset([later])) is Static.DOUBTFUL
    assert found.static(frozenset([elsewhere])) is Static.DOUBTFUL


def test_an_import_that_finds_nothing_is_looked_for_at_once() -> None:
    made = commit(
        {"a.py": "x = 1\n", "b.py": "x = 1\n", "c.py": "x = 1\n"},
        {
            "a.py": "x = 2\nnew = 1\n", "b.py": "from a import new\nx = 1\n",
            "c.py": "x = 1\ndef f():\n    from a import new\n",
        },
    )  # fmt: skip
    found = read(made)
    at_once, later = (frozenset(a.number for a in made.atoms if a.path == path) for path in ("b.py", "c.py"))
    assert not found.learn(later)
    assert found.learn(at_once)
    assert found.static(at_once) is Static.INVALID
    assert found.static(later) is Static.DOUBTFUL
