"""Commits right before the first that shows the failure fail differently: whole sessions, with lots for trials."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import jsonschema
import pytest
from fake_lab import Ways
from small_incident import Incident, commit, git
from steps import BAD, BROKEN, DIFFERENT, GOOD, begun, places, step, told

from bisect_celery.home import Home
from bisect_celery.model import Outcome
from bisect_celery.store.database import Store

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"
COMMITS = 14


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    """A line of commits."""
    incident = begun(tmp_path_factory.mktemp("masked") / "shop")
    steps = [step(incident.folder, number) for number in range(COMMITS)]
    return dataclasses.replace(incident, shas=tuple(steps))


def histories() -> list[tuple[int, int, float]]:
    """(the first that fails differently, the first that shows the failure, how often that fails)"""
    drawn = random.Random(20261122)
    line = [tuple(sorted(drawn.sample(range(1, COMMITS - 1), 2))) for _ in range(6)]
    return [(first, last, rate) for n, (first, last) in enumerate(line) for rate in ((1.0, 0.5) if n < 2 else (1.0,))]


@pytest.mark.parametrize(("different", "culprit", "rate"), histories())
def test_both_are_named_whatever_the_history(
    history: Incident, tmp_path: Path, different: int, culprit: int, rate: float
) -> None:
    def does(place: int) -> Ways:
        return GOOD if place < different else DIFFERENT if place < culprit else Ways(rate)

    session, data, text = told(history, tmp_path, does, seed=different)
    assert session.outcome is Outcome.CANDIDATES, session.headline
    assert session.culprit is None
    assert places(history, session.candidates) == list(range(different, culprit + 1))
    assert session.masked is not None
    assert places(history, [session.masked.first]) == [culprit]
    assert places(history, session.masked.different) == list(range(different, culprit))
    assert places(history, session.masked.any_names) == [different]
    assert session.masked.any_doubts == ()
    assert f"{history.shas[culprit][:10]} “Step {culprit}” is the first that shows the failure" in session.headline
    assert "differently (task-failed(ZeroDivisionError))" in session.headline
    said = data["match_any"]
    assert isinstance(said, dict)
    assert (places(history, said["commits"]), said["sure"], places(history, [said["first"]])) == (
        [different], True, [culprit],
    )  # fmt: skip
    assert f"`--match any` names {history.shas[different][:10]} “Step {different}”" in text
    assert "None of them was taken apart" in text
    assert text.count(": fails differently: tasks fail with ZeroDivisionError") == culprit - different


def test_match_any_names_what_was_said(history: Incident, tmp_path: Path) -> None:
    """The same command with it, on the kept trials: few are made, and it ends at the commit that was told."""

    def does(place: int) -> Ways:
        return GOOD if place < 4 else DIFFERENT if place < 9 else BAD

    session, _, _ = told(history, tmp_path, does)
    assert session.masked is not None
    anyhow, _, _ = told(history, tmp_path, does, match="any")
    assert anyhow.outcome is Outcome.CONFIRMED, anyhow.headline
    assert anyhow.culprit is not None
    assert [anyhow.culprit.revision] == list(session.masked.any_names)
    assert anyhow.masked is None
    made = [one for one in anyhow.judged if one.trial.purpose == "search" and one.trial.reused is None]
    assert len(made) <= 3, [one.trial.tree.label for one in made]


def test_one_that_cannot_be_judged_makes_match_any_a_guess(history: Incident, tmp_path: Path) -> None:
    kinds = {3: BROKEN, 4: DIFFERENT, 5: BROKEN, 6: DIFFERENT}
    session, data, text = told(history, tmp_path, lambda n: kinds.get(n, GOOD if n < 3 else BAD))
    assert places(history, session.candidates) == [3, 4, 5, 6, 7]
    assert session.masked is not None
    assert places(history, session.masked.unjudged) == [3, 5]
    assert places(history, session.masked.any_names) == [4]
    assert places(history, session.masked.any_doubts) == [3]
    said = data["match_any"]
    assert isinstance(said, dict)
    assert said["sure"] is False
    assert f"if it does not stop at {history.shas[3][:10]}" in text
    assert text.count(": could not be judged: the worker did not start") == 2


def test_a_failure_that_was_mended_before_is_a_doubt(history: Incident, tmp_path: Path) -> None:
    """Git comes upon it in the middle; nothing of it adjoins the culprit."""
    middle = (COMMITS - 1) // 2
    kinds = {middle: DIFFERENT, COMMITS - 3: DIFFERENT}
    session, _, text = told(history, tmp_path, lambda n: kinds.get(n, GOOD if n < COMMITS - 2 else BAD))
    assert session.masked is not None
    assert places(history, session.masked.different) == [COMMITS - 3]
    assert places(history, session.masked.any_doubts) == [middle]
    assert f"unless it comes upon {history.shas[middle][:10]} first" in text


def test_what_fails_differently_after_the_culprit_is_no_candidate(history: Incident, tmp_path: Path) -> None:
    """The culprit shows the failure itself: what came later cannot have brought it."""
    kinds = {n: DIFFERENT for n in range(5, 8)}
    session, _, text = told(history, tmp_path, lambda n: kinds.get(n, GOOD if n < 4 else BAD))
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert places(history, [session.culprit.revision]) == [4]
    assert session.masked is None
    assert [one.differently for one in session.skipped] == [True] * len(session.skipped)
    assert session.skipped
    assert not any(one.adjoins for one in session.skipped)
    assert "None of them stands right before the culprit." in text


def test_paths_do_not_hide_what_stands_before(history: Incident, tmp_path: Path) -> None:
    """Commits that touch none of the paths are not asked for by git; those right before its answer are tried all the
    same, as far back as they fail differently."""
    folder = history.folder
    git(folder, "checkout", "--quiet", "--detach", history.shas[3])
    line = list(history.shas[:4])
    for number in (4, 5):
        line.append(step(folder, number))
    line.append(commit(folder, "Say so", {"shop/step.py": "STEP = 6\n", "shop/said.py": "SAID = 1\n"}, 20))
    line.append(step(folder, 7))
    where = dataclasses.replace(history, shas=tuple(line))
    kinds = {4: DIFFERENT, 5: DIFFERENT}
    session, _, _ = told(
        where, tmp_path, lambda n: kinds.get(n, GOOD if n < 4 else BAD), paths=(str(folder / "shop/said.py"),)
    )
    assert session.outcome is Outcome.CANDIDATES, session.headline
    assert places(where, session.candidates) == [4, 5, 6]
    assert session.masked is not None
    assert places(where, session.masked.any_names) == [4]


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_both_sides_of_a_merge_may_hide_it(history: Incident, tmp_path: Path, rate: float) -> None:
    folder = history.folder
    git(folder, "checkout", "--quiet", "--detach", history.shas[1])
    left = step(folder, 31)
    git(folder, "checkout", "--quiet", "--detach", history.shas[1])
    right = commit(folder, "Beside", {"shop/beside.py": "BESIDE = 1\n", "shop/step.py": "STEP = 32\n"}, 21)
    git(folder, "merge", "--quiet", "--no-ff", "--no-commit", "--strategy=ours", left)
    merge = commit(folder, "Both", {"shop/step.py": "STEP = 40\n"}, 22)
    end = step(folder, 41)
    where = dataclasses.replace(history, shas=(history.shas[0], left, right, merge, end))
    session, data, _ = told(where, tmp_path, lambda n: GOOD if n < 2 else DIFFERENT if n < 40 else Ways(rate), seed=3)
    assert session.outcome is Outcome.CANDIDATES, session.headline
    assert session.masked is not None
    assert session.masked.first.sha == merge
    assert {one.sha for one in session.masked.any_names} == {left, right}
    said = data["match_any"]
    assert isinstance(said, dict)
    assert said["sure"] is False, "git names one of the two, and nobody knows which"


def test_it_is_kept_and_follows_the_schema(history: Incident, tmp_path: Path) -> None:
    session, data, _ = told(history, tmp_path, lambda n: GOOD if n < 6 else DIFFERENT if n < 7 else BAD)
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(json.dumps(data)))
    with Store.open(Home({"BISECT_CELERY_HOME": str(tmp_path)}).database) as store:
        assert store.load(session.id).masked == session.masked
