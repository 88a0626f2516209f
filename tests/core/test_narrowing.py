"""Sources, requirements and search together, on commits like spring cleaning whose trials are really run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commits import Atoms, Commit, Trials, commit, drive

from bisect_celery.core.closure import requirements
from bisect_celery.core.isolate import Isolation, Outcome, isolate

PARENT = {
    "app/__init__.py": "",
    "app/registry.py": "LOADED = []\n",
    "app/tables.py": """\
        from app import registry

        registry.LOADED.append('tables')
        RATES = {'a': 1}
        """,
    "app/util.py": """\
        import os
        import string

        SEPARATOR = os.sep


        def pad_left(text, size):
            return text.rjust(size)


        def clean(text):
            return ''.join(c for c in text if c in string.printable)


        def legacy(text):
            return text
        """,
    "app/worker.py": """\
        import json
        import app.tables
        from app import registry
        from app.util import clean, pad_left, legacy

        LIMIT = 10


        def body(text):
            return json.dumps(pad_left(clean(text), LIMIT))


        def other(text):
            return legacy(text)


        def main():
            print(body('one'))
            print('acked' if 'tables' in registry.LOADED else 'stuck')
        """,
    "run.py": "from app.worker import main\n\nmain()\n",
}
CULPRIT = {
    "app/__init__.py": "",
    "app/registry.py": "LOADED = []\n",
    "app/tables.py": """\
        from app import registry

        registry.LOADED.append('tables')
        RATES = {'a': 1, 'b': 2}
        """,
    "app/text.py": """\
        import string


        def clean(text):
            return ''.join(c for c in text if c in string.printable)
        """,
    "app/util.py": """\
        SEPARATOR = '/'


        def pad(text, size):
            return text.rjust(size)
        """,
    "app/worker.py": """\
        from app import registry
        from app.text import clean
        from app.util import pad

        LIMIT = 12


        def body(text):
            return '"' + pad(clean(text), LIMIT) + '"'


        def main():
            print(body('one'))
            print('acked' if 'tables' in registry.LOADED else 'stuck')
        """,
    "run.py": "from app.worker import main\n\n\nif __name__ == '__main__':\n    main()\n",
}


def made(parent: dict[str, str], culprit: dict[str, str]) -> Commit:
    def flush(files: dict[str, str]) -> dict[str, str]:
        return {path: text.replace("\n        ", "\n").removeprefix("        ") for path, text in files.items()}

    return commit(flush(parent), flush(culprit))


class Runs:
    """The oracle: lay the files out, run them with Python, look at the last line."""

    def __init__(self, of: Commit, folder: Path) -> None:
        self.commit = of
        self.folder = folder
        self.count = 0

    def __call__(self, applied: Atoms) -> Outcome:
        self.count += 1
        place = self.folder / str(self.count)
        for path, text in {**self.commit.parent, **self.commit.compose(applied)}.items():
            if text is not None:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(text)
        done = subprocess.run([sys.executable, "-B", "run.py"], cwd=place, capture_output=True, text=True, timeout=60)
        last = done.stdout.splitlines()[-1:] if done.returncode == 0 else []
        return {"acked": Outcome.PASS, "stuck": Outcome.FAIL}.get("".join(last), Outcome.UNRESOLVED)


def narrow(
    of: Commit, folder: Path, slots: int = 1, static: bool = True, learn: bool = True
) -> tuple[Isolation, Trials]:  # fmt: skip
    numbers = [atom.number for atom in of.atoms]
    runs = Runs(of, folder)
    assert (runs(frozenset()), runs(frozenset(numbers))) == (Outcome.PASS, Outcome.FAIL)
    trials = Trials(runs, frozenset(numbers), slots)
    needs = requirements(of.atoms, of.parent, of.compose)
    search = isolate(
        numbers,
        needs.requires,
        removal=needs.removal,
        static=needs.static if static else None,
        learn=needs.learn if learn else None,
        groups={atom.number: atom.path for atom in of.atoms},
        slots=slots,
    )
    return drive(search, trials), trials


@pytest.mark.parametrize(("slots", "rounds"), [(1, 8), (2, 5), (4, 4)])
def test_the_unused_import_is_found_among_many_changes(tmp_path: Path, slots: int, rounds: int) -> None:
    of = made(PARENT, CULPRIT)
    assert len(of.atoms) >= 13
    result, trials = narrow(of, tmp_path, slots)
    assert result.cause == result.fix == of.numbers("-import app.tables")
    assert result.cause_minimal
    assert result.fix_minimal
    assert not result.caveats
    assert Outcome.UNRESOLVED not in trials.outcomes.values()
    assert trials.rounds <= rounds


def variant(parent: dict[str, str], culprit: dict[str, str]) -> Commit:
    """The commit above with other contents for some files; an empty text means no such file there."""

    def merged(base: dict[str, str], other: dict[str, str]) -> dict[str, str]:
        return {path: text for path, text in {**base, **other}.items() if text or path.endswith("__init__.py")}

    return made(merged(PARENT, parent), merged(CULPRIT, culprit))


def changed(base: dict[str, str], path: str, *pairs: tuple[str, str]) -> dict[str, str]:
    text = base[path]
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return {path: text}


def test_an_import_of_a_name_that_is_gone_comes_back_with_the_name(tmp_path: Path) -> None:
    """The culprit without the import's removal cannot start: the hunk that deleted the name must go with it."""
    named = ("import app.tables", "from app.tables import RATES")
    of = variant(
        changed(PARENT, "app/worker.py", named),
        changed(CULPRIT, "app/tables.py", ("RATES = {'a': 1, 'b': 2}", "PRICES = {'a': 1, 'b': 2}")),
    )
    result, _ = narrow(of, tmp_path)
    lost, renamed = of.numbers("-from app.tables import RATES"), of.numbers("+PRICES = {'a': 1, 'b': 2}")
    assert result.cause == lost
    assert result.cause_minimal
    assert result.fix == lost | renamed
    assert result.fix_minimal
    assert result.fix_needed == renamed
    assert any("could not be judged" in caveat for caveat in result.caveats)


def test_two_lost_imports_that_only_break_together(tmp_path: Path) -> None:
    either = {"run.py": "import app.tables\n" + PARENT["run.py"]}
    of = variant(either, {})
    result, _ = narrow(of, tmp_path)
    both = {a.number for a in of.atoms if any("import app.tables" in line for line in a.lines)}
    assert len(both) == 2
    assert result.cause == both
    assert result.fix < both
    assert (result.cause_minimal, result.fix_minimal, result.needed) == (True, True, frozenset())


def test_two_lost_imports_of_which_either_breaks(tmp_path: Path) -> None:
    more = {"app/more.py": "from app import registry\n\nregistry.LOADED.append('more')\n"}
    needs_both = ("'tables' in registry.LOADED", "registry.LOADED == ['tables', 'more']")
    of = variant(
        {**more, **changed(PARENT, "app/worker.py", needs_both, ("import json", "import app.more\nimport json"))}
        | changed(PARENT, "run.py", ("from app.worker", "import app.tables\nfrom app.worker")),
        {**more, **changed(CULPRIT, "app/worker.py", needs_both)},
    )
    result, _ = narrow(of, tmp_path)
    lost = {a.number for a in of.atoms if any("import app.more" in line for line in a.lines)}
    tables = {a.number for a in of.atoms if any("-import app.tables" in line for line in a.lines)}
    assert len(tables) == 2
    assert result.cause in ({*lost}, tables)
    assert lost <= result.fix
    assert len(result.fix & tables) == 1
    assert any("something else" in caveat for caveat in result.caveats)


def test_an_import_whose_use_goes_too_is_still_found_alone(tmp_path: Path) -> None:
    """The use stands in a function that nothing calls, so static reading joins the two and trials part them."""
    used = ("return legacy(text)", "return legacy(text), app.tables.RATES")
    of = variant(changed(PARENT, "app/worker.py", used), {})
    result, trials = narrow(of, tmp_path)
    assert result.cause == result.fix == of.numbers("-import app.tables")
    assert result.cause_minimal
    assert result.fix_minimal
    assert trials.rounds <= 13


def test_a_guilty_new_module_is_found_with_what_loads_it(tmp_path: Path) -> None:
    of = variant(
        {},
        {
            "app/reset.py": "from app import registry\n\nregistry.LOADED.clear()\n",
            **changed(
                CULPRIT,
                "app/worker.py",
                ("from app import registry", "import app.tables\nimport app.reset\nfrom app import registry"),
            ),
        },
    )
    result, _ = narrow(of, tmp_path)
    module = {a.number for a in of.atoms if a.path == "app/reset.py"}
    load = {a.number for a in of.atoms if any("+import app.reset" in line for line in a.lines)}
    assert result.cause == module | load
    assert result.needed == module
    assert result.fix == load


def queues(*names: str, imported: str, files: int = 4, tasks: int = 5) -> dict[str, str]:
    """Modules whose tasks go to a queue by a decorator, as the queues of BookWyrm's regression of July 2023."""
    far = "".join(f"pad_{k} = {k}\n" for k in range(4))
    task = "@task({0})\ndef job_{1}():\n    return {1}\n" + far
    body = [task.format(imported, number) for number in range(tasks)]
    module = f"from app.base import task\n{far}from app.queues import {imported}\n{far}{''.join(body)}"
    names_ = "".join(f"{name} = '{name.lower()}'\n" for name in names)
    return {"app/queues.py": f"{far}{names_}", **{f"app/jobs_{k}.py": module for k in range(files)}}


def test_a_file_that_was_seen_to_be_imported_is_not_broken_again(tmp_path: Path) -> None:
    rest = {
        "app/__init__.py": "",
        "app/base.py": "SENT = {}\n\n\ndef task(queue):\n    def made(job):\n"
        "        SENT[job.__module__, job.__name__] = queue\n        return job\n    return made\n",
        "run.py": "from app import base, jobs_0, jobs_1, jobs_2, jobs_3\n"
        "print('acked' if base.SENT['app.jobs_2', 'job_3'] in ('high', 'low') else 'stuck')\n",
    }
    of = commit(
        {**queues("HIGH", "LOW", imported="LOW"), **rest},
        {**queues("HIGH", "LOW", "IMAGES", imported="IMAGES"), **rest},
    )
    blind, trials_blind = narrow(of, tmp_path / "blind", learn=False)
    seeing, trials = narrow(of, tmp_path / "seeing")
    assert (seeing.cause, seeing.fix) == (blind.cause, blind.fix)
    assert seeing.cause_proven
    assert seeing.fix_proven
    skipped = list(trials.outcomes.values()).count(Outcome.UNRESOLVED)
    skipped_blind = list(trials_blind.outcomes.values()).count(Outcome.UNRESOLVED)
    assert skipped <= 2, trials.outcomes
    assert skipped_blind > 3 * skipped
