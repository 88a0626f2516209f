"""Ways to a wrong culprit that were found by looking for them, each as a whole session with lots for trials."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_lab import Ways
from small_incident import Incident, git
from steps import BAD, DIFFERENT, GOOD, begun, places, step, told

from bisect_celery.flow.weigh import Weigh, Weighed
from bisect_celery.model import Match, Outcome

EMPTY = (3, 5, 6, 8)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    """Ten commits, of which four change nothing."""
    incident = begun(tmp_path_factory.mktemp("wrong") / "shop")
    shas = []
    for number in range(10):
        if number in EMPTY:
            git(incident.folder, "commit", "--quiet", "--allow-empty", "-m", f"Empty {number}")
            shas.append(git(incident.folder, "rev-parse", "HEAD"))
        else:
            shas.append(step(incident.folder, number))
    return dataclasses.replace(incident, shas=tuple(shas))


@pytest.mark.parametrize("seed", [0, 11])
def test_a_commit_that_changes_nothing_is_never_named(history: Incident, tmp_path: Path, seed: int) -> None:
    """Git believes two answers to one and the same tree; with these lots it named an empty commit, and stopped."""
    notes: list[str] = []
    session, _, _ = told(history, tmp_path, lambda n: Ways(0.6 if n >= 4 else 0.0), seed, notes)
    assert any("changes no file: trials of one tree contradict each other" in note for note in notes), notes
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert places(history, [session.culprit.revision]) == [4]
    named = {sha for sha, probability in session.probabilities if probability}
    assert named.isdisjoint(history.shas[number] for number in EMPTY)


def test_where_no_commit_changes_anything_nobody_is_named(history: Incident, tmp_path: Path) -> None:
    """Both ends are one tree, that fails half the time: as luck has it GOOD passes as often as BAD needs to fail."""
    ends = dataclasses.replace(history, shas=(history.shas[4], *history.shas[5:7]))
    found = [told(ends, tmp_path / str(seed), lambda _: Ways(0.5), seed)[0] for seed in range(6)]
    assert {one.outcome for one in found} <= {Outcome.NO_CULPRIT, Outcome.ENDS_WRONG}
    assert Outcome.NO_CULPRIT in {one.outcome for one in found}
    assert all(one.culprit is None for one in found)


def test_what_counts_in_a_search_is_not_forgotten_when_a_confirmation_contradicts_it(
    history: Incident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--match any` narrowing holds to what the culprit showed, and the search that follows to any failure again:
    a start of a later commit, which fails in another way, is evidence and no skip."""
    notes: list[str] = []
    held: list[Match | None] = []
    run = Weigh.run

    def watched(self: Weigh) -> Weighed:
        signature = self._trials.terms.signature
        held.append(signature.match if signature is not None else None)
        return run(self)

    def does(place: int) -> Ways:
        return GOOD if place < 4 else Ways(0.6, how="failing differently") if place < 7 else BAD

    monkeypatch.setattr(Weigh, "run", watched)
    session, _, _ = told(history, tmp_path, does, 2, notes, match="any")
    assert any("contradicts the search" in note for note in notes), notes
    assert set(held) == {Match.ANY}
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert places(history, [session.culprit.revision]) == [4]


def test_a_parent_that_stops_working_when_it_is_to_be_confirmed_is_a_candidate(tmp_path: Path) -> None:
    """It lies beside the range, on a branch of GOOD's, so no search asks for it."""
    incident = begun(tmp_path / "shop")
    folder = incident.folder
    side = step(folder, 1)
    git(folder, "checkout", "--quiet", "--detach", incident.good)
    good = step(folder, 2)
    git(folder, "merge", "--quiet", "--no-ff", "--strategy=ours", "-m", "Both", side)
    good = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "--quiet", "--detach", side)
    culprit = step(folder, 5)
    git(folder, "merge", "--quiet", "--no-ff", "--strategy=ours", "-m", "All", good)
    bad = step(folder, 6)
    where = dataclasses.replace(incident, shas=(good, culprit, bad))
    session, _, _ = told(
        where, tmp_path, lambda n: DIFFERENT if n == 1 else Ways(0.6) if n >= 5 else GOOD, 3, fails="3/5"
    )
    assert session.outcome is Outcome.CANDIDATES, session.headline
    assert session.culprit is None
    assert {one.sha for one in session.candidates} == {side, culprit}
    assert f"{side[:10]} right before it fails differently" in session.headline
