"""Whole sessions of failures that come only sometimes, with lots for trials; what is real stands in test_race.py."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_lab
import pytest
import racing_incident
from fake_lab import FakeLab, Read, Ways
from small_incident import Incident

from bisect_celery.cli.exits import OF_OUTCOME
from bisect_celery.errors import Cancelled
from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.events import Event, Note
from bisect_celery.flow.incident import Ended, investigate
from bisect_celery.flow.reopen import reopen
from bisect_celery.flow.trials import BudgetSpent
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Judged, Outcome, Session, Verdict

SETTINGS = {"app": racing_incident.APP, "task": "shop.tasks.total", "stack": "process", "broker": "embedded"}
Behaves = Callable[[Read], Ways]
_numbers = itertools.count()


def broken(read: Read) -> bool:
    return racing_incident.is_broken(read("shop/sources.py"))


def race(rate: float) -> Behaves:
    """The revisions that have the race lose it that often."""
    return lambda read: Ways(rate if broken(read) else 0.0)


@dataclass
class Machine:
    """A home, and sessions in it about one incident."""

    incident: Incident
    home: Home
    notes: list[str] = field(default_factory=list)
    labs: list[FakeLab] = field(default_factory=list)

    def run(
        self, behaves: Behaves, seed: int = 0, *, resume: str | None = None, before: Any = None, **flags: str
    ) -> Session:
        asked = reopen(self.home, resume) if resume else self._asked(flags)
        more = {"before": before} if before else {}
        with fake_lab.instead(behaves, seed, **more) as self.labs:
            return self._ended(asked, resume).session

    def _asked(self, flags: dict[str, str]) -> Any:
        typed = Typed({**SETTINGS, **flags}, self.incident.folder, {}, self.incident.good, self.incident.bad)
        return request(typed, self.home)

    def _ended(self, asked: Any, resume: str | None) -> Ended:
        def listener(event: Event) -> None:
            if isinstance(event, Note):
                self.notes.append(event.text)

        return investigate(asked, self.home, command="run", listener=listener, cancel=Token(), session_id=resume)


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    return racing_incident.racing(tmp_path_factory.mktemp("race") / "shop")


@pytest.fixture
def machine(incident: Incident, tmp_path: Path) -> Machine:
    return Machine(incident, Home({"BISECT_CELERY_HOME": str(tmp_path / "home")}).make())


def starts(session: Session, purpose: str) -> list[Judged]:
    return [one for one in session.judged if one.trial.purpose == purpose]


def verdicts(judged: list[Judged]) -> list[Verdict]:
    return [one.judgement.verdict for one in judged]


def tasks(judged: Judged) -> int:
    return sum(message.wave == 1 for message in judged.trial.observation.messages)


def assert_solved(session: Session, incident: Incident) -> None:
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert session.culprit.revision.sha == incident.culprit
    for atoms in (session.culprit.cause, session.culprit.fix):
        (atom,) = atoms
        assert incident.line in atom.lines


# --- it is found -------------------------------------------------------------------------------------------


def test_what_fails_half_the_time_ends_at_its_hunk(machine: Machine, incident: Incident) -> None:
    session = machine.run(race(0.5), 3)
    assert_solved(session, incident)
    assert session.culprit is not None
    rows = {row.name.split()[0]: row for row in session.culprit.confirmation if row.tree.label in row.name}
    assert rows["parent"].failed == 0
    assert rows["parent"].tried >= 5, "passes of the parent have to be beyond luck"
    assert rows["culprit"].failed < rows["culprit"].tried
    assert all(row.holds for row in session.culprit.confirmation)
    counts = f"the culprit in {rows['culprit'].failed} of {rows['culprit'].tried} starts"
    assert counts in session.headline
    assert any("intermittent" in caveat for caveat in session.culprit.caveats)
    assert dict(session.probabilities)[incident.culprit] >= 0.95


def test_what_fails_one_time_in_five_ends_at_its_hunk(machine: Machine, incident: Incident) -> None:
    session = machine.run(race(0.2), 1)
    assert_solved(session, incident)
    assert "about 1 start in" in session.headline


def test_git_replays_the_log_of_a_weighed_search(machine: Machine, incident: Incident, tmp_path: Path) -> None:
    session = machine.run(race(0.5), 2)
    assert_solved(session, incident)
    assert "# An intermittent failure: what each commit showed." in session.bisect_log
    (tmp_path / "log").write_text(session.bisect_log)
    ours = machine.home.session_folder(session.id) / "git"

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ours, capture_output=True, text=True, timeout=60, env=os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{incident.culprit} is the first" in git("bisect", "replay", str(tmp_path / "log"))
    assert git("rev-parse", "refs/bisect/bad").strip() == incident.culprit


def test_a_confirmation_that_contradicts_git_is_weighed(machine: Machine, incident: Incident) -> None:
    """Both ends agree with themselves by luck, and git believes every answer; what it finds is tried again."""
    session = machine.run(race(0.5), 1)
    assert any("contradicts the search" in note for note in machine.notes)
    assert_solved(session, incident)


def test_a_silence_that_ends_at_twice_the_deadline_is_weighed(machine: Machine, incident: Incident) -> None:
    """Git's final bad hung in the search and completes when it is listened to longer: one of its answers was luck."""
    session = machine.run(lambda read: Ways(0.6 if broken(read) else 0.0, how="hanging"), 1)
    assert any("at twice the deadline it showed completed" in note for note in machine.notes), machine.notes
    assert_solved(session, incident)


def test_what_fails_every_time_costs_one_more_trial_an_end(machine: Machine, incident: Incident) -> None:
    session = machine.run(race(1.0))
    assert_solved(session, incident)
    assert [len(starts(session, f"{end} end")) for end in ("good", "bad")] == [2, 2]
    assert session.probabilities == ()
    assert session.bisect_log.splitlines()[-1].startswith("# first bad commit")
    assert session.culprit is not None
    assert [(row.tried, row.rate) for row in session.culprit.confirmation] == [(3, 1.0)] * 4


# --- ends --------------------------------------------------------------------------------------------------


def test_a_bad_end_that_never_fails_says_what_its_passes_exclude(machine: Machine) -> None:
    session = machine.run(race(0.0), count="20")
    assert session.outcome is Outcome.ENDS_WRONG
    assert OF_OUTCOME[session.outcome] == 3
    tried = starts(session, "bad end")
    assert [tasks(one) for one in tried] == [20, 100, *[20] * 12], "more tasks first, then more starts"
    assert "20 of 20" in machine.notes[0]
    assert "above 14 % per task" in machine.notes[0]
    assert "above 95 % per start" in machine.notes[0]
    assert "360 of 360 here, in 14 starts" in session.headline
    assert "above 0.8 % per task where each fails on its own" in session.headline
    assert "above 19 % per start where a start goes wrong as a whole" in session.headline
    assert session.candidates == ()
    assert len(starts(session, "good end")) == 1


@pytest.mark.parametrize(("fails", "wanted"), [("1", 1), ("1/2", 5), ("9/10", 2), ("1/5", 14)])
def test_what_is_known_of_its_rate_decides_how_often_it_is_tried(machine: Machine, fails: str, wanted: int) -> None:
    session = machine.run(race(0.0), fails=fails)
    assert len(starts(session, "bad end")) == wanted


def test_a_bad_end_that_fails_later_is_tried_on_until_it_does_and_good_as_often(machine: Machine) -> None:
    session = machine.run(race(0.2), 1)
    bad, good = starts(session, "bad end"), starts(session, "good end")
    faithful = verdicts([one for one in bad if one.trial.mode == "faithful"])
    assert faithful[0] is Verdict.GOOD
    assert faithful.index(Verdict.BAD) == len(faithful) - 1
    assert len([one for one in good if one.trial.mode == "faithful"]) == len(faithful)
    assert set(verdicts(good)) == {Verdict.GOOD}


def test_what_fails_at_both_ends_names_nobody(machine: Machine) -> None:
    found = [machine.run(lambda read: Ways(0.5), seed) for seed in range(6)]
    assert not any(session.outcome is Outcome.CONFIRMED for session in found)
    both = [session for session in found if "at both ends" in session.headline]
    assert both, [session.headline for session in found]
    for session in both:
        assert session.outcome is Outcome.ENDS_WRONG
        assert session.candidates == ()
        assert session.culprit is None
        assert "Nobody can be named" in session.headline


def test_no_culprit_is_an_answer(machine: Machine) -> None:
    """GOOD passes by luck as often as BAD needed to fail, so it is started again: nothing else parts the beliefs."""
    session = machine.run(lambda read: Ways(0.5), 3008)
    assert session.outcome is Outcome.NO_CULPRIT, session.headline
    assert session.culprit is None
    assert OF_OUTCOME[session.outcome] == 4
    assert Verdict.BAD in verdicts(
        [one for one in session.judged if one.trial.tree.label == machine.incident.good[:10]]
    )


# --- nobody can be named -----------------------------------------------------------------------------------


def test_an_exhausted_budget_gives_candidates_with_probabilities_and_goes_on(
    machine: Machine, incident: Incident
) -> None:
    def spend(number: int) -> None:
        if number > 9:
            raise BudgetSpent

    session = machine.run(race(0.5), 3, before=spend, fails="1/2")
    assert session.outcome is Outcome.CANDIDATES
    assert OF_OUTCOME[session.outcome] == 4
    assert session.culprit is None
    likely = dict(session.probabilities)
    assert [likely[one.sha] for one in session.candidates] == sorted(likely.values(), reverse=True)[
        : len(session.candidates)
    ]
    assert sum(likely.values()) <= 1.001
    assert f"{session.candidates[0].short} {100 * likely[session.candidates[0].sha]:.0f} %" in session.headline
    assert "resume" in session.advice[0]
    assert_solved(machine.run(race(0.5), 3, resume=session.id), incident)


def differently(read: Read) -> Ways:
    """The culprit's parent fails differently, always: a time limit of 60 is set and the race is not there yet."""
    if "task_time_limit = 60" in read("shop/settings.py") and not broken(read):
        return Ways(0.0, "failing differently")
    return Ways(1.0 if broken(read) else 0.0)


def noisily(read: Read) -> Ways:
    ways = differently(read)
    return Ways(0.5) if ways.fails else ways


@pytest.mark.parametrize("behaves", [differently, noisily])
def test_a_parent_that_fails_differently_is_named_with_what_match_any_says(
    machine: Machine, incident: Incident, behaves: Behaves
) -> None:
    session = machine.run(behaves, 3)
    parent = incident.shas[incident.shas.index(incident.culprit) - 1]
    assert session.outcome is Outcome.CANDIDATES, session.headline
    assert {one.sha for one in session.candidates} == {parent, incident.culprit}
    assert [one.revision.sha for one in session.skipped] == [parent]
    assert [(one.adjoins, one.differently) for one in session.skipped] == [(True, True)]
    assert session.masked is not None
    assert (session.masked.first.sha, [one.sha for one in session.masked.any_names]) == (incident.culprit, [parent])
    assert f"{parent[:10]} right before it fails differently (task-failed(ZeroDivisionError))" in session.headline
    assert f"with `--match any` names {parent[:10]}" in session.advice[0]
    assert "None of them was taken apart" in session.advice[1]


def test_a_parent_that_does_not_start_is_no_case_for_match_any(machine: Machine) -> None:
    def unbootable(read: Read) -> Ways:
        ways = differently(read)
        return Ways(0.0, "unbootable") if ways.otherwise != "completed" else ways

    (advice,) = machine.run(unbootable).advice
    assert "`--match any` would not decide it either" in advice


# --- going on ----------------------------------------------------------------------------------------------


def told(session: Session) -> list[tuple[int, str, str, Verdict]]:
    return [
        (one.trial.number, one.trial.tree.label, one.trial.purpose, one.judgement.verdict) for one in session.judged
    ]


@pytest.fixture(scope="module")
def never_stopped(incident: Incident, tmp_path_factory: pytest.TempPathFactory) -> Session:
    home = Home({"BISECT_CELERY_HOME": str(tmp_path_factory.mktemp("whole"))}).make()
    return Machine(incident, home).run(race(0.5), 4)


@pytest.mark.parametrize("last", [3, 40])
def test_a_session_that_goes_on_comes_to_where_it_was(machine: Machine, never_stopped: Session, last: int) -> None:
    """At the ends or in narrowing, wherever it stops: what follows is what follows in a session that never did."""

    def stop(number: int) -> None:
        if number > last:
            raise Cancelled

    assert len(never_stopped.judged) > last, "nothing was cut off"
    first = machine.run(race(0.5), 4, before=stop)
    assert (first.outcome, len(first.judged)) == (Outcome.INTERRUPTED, last)
    gone_on = machine.run(race(0.5), 4, resume=first.id)
    assert told(gone_on) == told(never_stopped)
    assert gone_on.probabilities == never_stopped.probabilities
    assert (gone_on.headline, gone_on.outcome) == (never_stopped.headline, never_stopped.outcome)
