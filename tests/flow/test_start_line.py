"""Ends whose files start the worker in two ways: one line is used for all trials, and its change is a suspect."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fake_lab
import pytest
from fake_lab import FakeLab, Ways
from small_incident import Incident, commit
from steps import GOOD, begun, places, step, told

from bisect_celery.lab.lab import Made, Order
from bisect_celery.model import Outcome

PROCFILE = (
    "web: gunicorn shop\nworker: celery -A shop.app worker {}\nletters: celery -A shop.app worker -c 1 -Q letters\n"
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    """The start line is changed by the third commit, which changes the code as well."""
    incident = begun(tmp_path_factory.mktemp("lines") / "shop")
    folder = incident.folder
    shas = [commit(folder, "Start", {"Procfile": PROCFILE.format("-c 2"), "shop/step.py": "STEP = 0\n"}, 1)]
    shas.append(step(folder, 1))
    line = {"Procfile": PROCFILE.format("-c 2 -Q mail"), "shop/step.py": "STEP = 2\n"}
    shas.append(commit(folder, "Mail alone", line, 2))
    shas.append(step(folder, 3))
    return dataclasses.replace(incident, shas=tuple(shas))


def test_a_start_line_that_breaks_good_too_is_named(
    history: Incident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeLab.make

    def make(self: FakeLab, order: Order) -> Made:
        if "mail" in order.plan.worker:
            return Made(fake_lab.SHOWN["failing"](fake_lab.TASKS), 1.0, Path("nowhere"))
        return made(self, order)

    monkeypatch.setattr(FakeLab, "make", make)
    notes: list[str] = []
    session, _, text = told(history, tmp_path, lambda _: GOOD, notes=notes)
    assert session.outcome is Outcome.ENDS_WRONG
    assert any("`celery worker -c 2 -Q mail`" in note and "`celery worker -c 2`" in note for note in notes), notes
    assert "The start line brings it" in session.headline
    assert f"What changed the file: {history.shas[2][:10]} “Mail alone”" in session.advice[0]
    assert "`--worker '-c 2'`" in session.advice[1]
    assert "The start line brings it" in text


def test_a_good_end_that_fails_with_either_line_is_told_as_ever(history: Incident, tmp_path: Path) -> None:
    session, _, _ = told(history, tmp_path, lambda _: Ways(1.0))
    assert session.outcome is Outcome.ENDS_WRONG
    assert session.headline.startswith(f"GOOD {history.good[:10]} fails here too")


def test_a_culprit_that_changes_the_start_line_says_what_was_not_tried(history: Incident, tmp_path: Path) -> None:
    session, data, text = told(history, tmp_path, lambda n: Ways(1.0 if n >= 2 else 0.0))
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    others = "The project's other workers: -c 1 -Q letters (Procfile:3) (`--beside`)."
    assert others in data["not_tested"]
    assert places(history, [session.culprit.revision]) == [2]
    assert any("It changes Procfile, where the start line stands" in one for one in session.culprit.caveats)
    assert "The change of the start line from" in text


def test_equal_lines_and_lines_of_the_users_own_are_nothing_to_tell(history: Incident, tmp_path: Path) -> None:
    notes: list[str] = []
    session, _, text = told(history, tmp_path, lambda n: Ways(1.0 if n >= 2 else 0.0), notes=notes, worker=("-c", "1"))
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert "start line" not in " ".join(notes) + text
