"""A merge that broke it: what it changed beyond merging is the cause, or its two sides only fail together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from small_incident import Incident, commit, failing, git

from bisect_celery.flow.narrow import INTERACTION, MERGED
from bisect_celery.model import Culprit

pytestmark = pytest.mark.network
LIMITS = "LARGEST = None\n"
USES_LIMITS = ("    counted = [price or 0 for price in prices]", "    counted = [price or LARGEST for price in prices]")


def merged(incident: Incident, ours: dict[str, str], theirs: dict[str, str], slipped: dict[str, str]) -> Incident:
    """The incident's first commits with a branch merged into them, and `slipped` into the merge."""
    folder = incident.folder
    git(folder, "checkout", "--quiet", "-B", "main", incident.shas[2])
    git(folder, "checkout", "--quiet", "-b", "topic")
    commit(folder, "On the branch", theirs, 11)
    git(folder, "checkout", "--quiet", "main")
    good = commit(folder, "On main", ours, 12)
    git(folder, "merge", "--quiet", "--no-ff", "--no-commit", "topic")
    return dataclasses.replace(incident, shas=(good, commit(folder, "Merge branch 'topic'", slipped, 13)))


def found(incident: Incident, bench: Bench, broker: str = "embedded") -> Culprit:
    words = [broker if word == "embedded" else word for word in incident.words]
    ended = bench.run("run", incident.good, incident.bad, *words)
    culprit = bench.session().culprit
    assert culprit is not None, ended.text
    assert culprit.revision.sha == incident.bad
    assert ended.code == 0, ended.text
    return culprit


def test_what_slipped_into_a_merge_is_found(tmp_path: Path, bench_at: Callable[[Path], Bench]) -> None:
    incident = failing(tmp_path / "shop")
    broken = git(incident.folder, "show", f"{incident.culprit}:shop/tasks.py") + "\n"
    incident = merged(incident, {"shop/more.py": "A = 1\n"}, {"shop/other.py": "B = 1\n"}, {"shop/tasks.py": broken})
    culprit = found(incident, bench_at(incident.folder))
    assert [atom.path for atom in culprit.cause] == ["shop/tasks.py"]
    assert incident.line in culprit.cause[0].lines
    assert [(row.name, row.failed) for row in culprit.confirmation if MERGED in row.name] == [
        (MERGED, 0),
        (f"{MERGED} with the minimal cause alone", 3),
    ]


@pytest.mark.rabbitmq
def test_sides_that_fail_only_together_are_told_as_that(tmp_path: Path, bench_at: Callable[[Path], Bench]) -> None:
    incident = failing(tmp_path / "shop", {"shop/limits.py": "LARGEST = 0\n"})
    limits = "from shop.limits import LARGEST\n"
    tasks = git(incident.folder, "show", f"{incident.good}:shop/tasks.py") + "\n"
    uses = tasks.replace(*USES_LIMITS).replace("from shop.money", f"{limits}from shop.money")
    incident = merged(incident, {"shop/tasks.py": uses}, {"shop/limits.py": LIMITS}, {})
    culprit = found(incident, bench_at(incident.folder), "rabbitmq")
    assert [atom.path for atom in culprit.cause] == ["shop/limits.py"]
    assert INTERACTION in culprit.caveats
