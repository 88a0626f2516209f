"""Going on: what was finished is not tried again, what is over stays over, and one process at a time works on it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Bench, Ended, becomes, ended, fingerprint
from small_incident import Incident, words

from bisect_celery.model import Judged, Outcome, Session, Verdict

pytestmark = pytest.mark.network
# Both ends, each twice, and the first of the search.
ENDS_AND_ONE = 5


@dataclass(frozen=True)
class Story:
    """One incident in three pieces: interrupted, out of budget, and to its end. `kept` are the trials after each."""

    bench: Bench
    interrupted: Ended
    while_running: Ended
    spent: Ended
    spent_session: Session
    last: Ended
    kept: tuple[dict[tuple[str, int], Judged], ...]
    artifacts: tuple[dict[str, tuple[int, int, str]], ...]


@pytest.fixture(scope="module")
def story(failing: Incident, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    machine = tmp_path_factory.mktemp("resume")
    bench = Bench(failing.folder, machine / "state", caches, machine / "tmp")
    bench.temporary.mkdir()
    process = bench.start("run", failing.good, failing.bad, *failing.words)
    assert becomes(lambda: bool(bench.sessions()), 60), process.communicate()
    name = bench.sessions()[0]
    while_running = bench.run("resume", name)
    assert becomes(lambda: len(bench.trials()) >= ENDS_AND_ONE, 200), process.communicate()
    process.send_signal(signal.SIGINT)
    interrupted = ended(process)
    kept, artifacts = [bench.trials()], [trial_folders(bench)]
    leave_locks(bench.home.session_folder(name) / "git")
    spent = bench.run("resume", "--budget", "0.0001")
    kept, artifacts = [*kept, bench.trials()], [*artifacts, trial_folders(bench)]
    spent_session = bench.session(name)
    last = bench.run("resume", name, "--budget", "30")
    kept, artifacts = [*kept, bench.trials()], [*artifacts, trial_folders(bench)]
    return Story(bench, interrupted, while_running, spent, spent_session, last, tuple(kept), tuple(artifacts))


def trial_folders(bench: Bench) -> dict[str, tuple[int, int, str]]:
    """Logs of finished trials: of those that are in the store."""
    (name,) = bench.sessions()
    folder = bench.home.session_folder(name) / "trials"
    finished = {f"{number:04d}" for _, number in bench.trials()}
    return {path: seen for path, seen in fingerprint(folder).items() if path[:4] in finished}


def leave_locks(repository: Path) -> None:
    """What a git that was killed between two system calls leaves in its repository."""
    bisect = repository / "refs" / "bisect"
    bisect.mkdir(parents=True, exist_ok=True)
    for lock in (repository / "HEAD.lock", repository / "packed-refs.lock", bisect / "bad.lock"):
        lock.touch()


def test_what_was_finished_is_not_tried_again(story: Story, failing: Incident) -> None:
    first, spent, last = story.kept
    assert story.interrupted.code == 130
    assert len(first) >= ENDS_AND_ONE
    assert spent == first
    assert {key: last[key] for key in first} == first
    numbers = [number for _, number in last]
    assert numbers == list(range(1, len(last) + 1)), "no number is used twice, and none is left out"
    attempts = [(one.trial.tree.sha, one.trial.mode, one.trial.attempt) for one in last.values()]
    assert len(set(attempts)) == len(attempts), "no attempt was made twice"
    assert {path: story.artifacts[2].get(path) for path in story.artifacts[0]} == story.artifacts[0]


def test_the_end_is_that_of_an_incident_that_was_never_interrupted(story: Story, failing: Incident) -> None:
    assert story.last.code == 0, story.last.text
    session = story.bench.session()
    assert session.outcome is Outcome.CONFIRMED
    assert session.culprit is not None
    assert session.culprit.revision.sha == failing.culprit
    assert [atom.lines[0] for atom in session.culprit.fix] == [failing.line]
    assert f"Going on with session {session.id}: {len(story.kept[1])} trials are kept." in story.last.err
    report = json.loads((story.bench.home.session_folder(session.id) / "report" / "report.json").read_text())
    assert [trial["number"] for trial in report["trials"]] == [number for _, number in story.kept[2]]
    # All three pieces of it, and what was slept between them is not in it. Times are kept to the second.
    assert report["elapsed"] > sum(one.trial.seconds for one in story.kept[2].values()) - 3
    assert session.earlier > 0


def test_a_spent_budget_names_what_is_left_and_how_to_go_on(story: Story, failing: Incident) -> None:
    session = story.spent_session
    assert story.spent.code == 4, story.spent.text
    assert session.outcome is Outcome.CANDIDATES
    assert f"bisect-celery resume {session.id} --budget" in story.spent.text
    answered = [one for one in story.kept[1].values() if one.trial.purpose == "search"]
    assert answered
    left = expected_suspects(failing, answered)
    assert [one.sha for one in session.candidates] == left
    assert failing.culprit in left
    assert f"{len(left)} commits are left" in story.spent.text or len(left) == 1


def expected_suspects(failing: Incident, answered: list[Judged]) -> list[str]:
    """The history is one line: suspects stand after the last good one, up to the first bad one."""
    verdicts = {one.trial.tree.label: one.judgement.verdict for one in answered}
    positions = {position: verdicts.get(sha[:10]) for position, sha in enumerate(failing.shas)}
    good = max([0, *(position for position, verdict in positions.items() if verdict is Verdict.GOOD)])
    last = len(failing.shas) - 1
    bad = min([last, *(position for position, verdict in positions.items() if verdict is Verdict.BAD)])
    return list(failing.shas[good + 1 : bad + 1])


def test_a_running_session_is_not_resumed_by_another(story: Story) -> None:
    assert story.while_running.code == 2, story.while_running.text
    assert "is running right now" in story.while_running.err
    assert "Traceback" not in story.while_running.text


def test_a_session_that_is_over_is_over(story: Story) -> None:
    before = story.bench.trials()
    name = story.bench.session().id
    again = story.bench.run("resume", name)
    assert again.code == 2
    assert f"Session {name} is over" in again.err
    assert f"bisect-celery report {name}" in again.err
    none = story.bench.run("resume")
    assert none.code == 2
    assert "No session of this repository waits" in none.err
    assert story.bench.trials() == before


def test_the_private_request_goes_with_the_session_that_needed_it(story: Story) -> None:
    folder = story.bench.home.session_folder(story.bench.session().id)
    assert not (folder / "request.json").exists()
    assert story.bench.left() == []
    (folder / "request.json").write_text("of a session that was killed in its last words")
    story.bench.run("try", "v9.9", "--app", "shop.app")
    assert (folder / "request.json").exists(), "what is refused before a session begins sweeps nothing"
    told = story.bench.run("run", "HEAD~1", "HEAD", *words(), "--budget", "0.0001")
    assert told.code == 4
    assert not (folder / "request.json").exists()
    assert (story.bench.home.session_folder(told.session()) / "request.json").exists()


def test_a_session_whose_request_is_gone_says_so(bench_at: Callable[[Path], Bench], failing: Incident) -> None:
    bench = bench_at(failing.folder)
    spent = bench.run("run", failing.good, failing.bad, *failing.words, "--budget", "0.0001")
    assert spent.code == 4, spent.text
    name = spent.session()
    assert [one.sha for one in bench.session(name).candidates] == list(failing.shas[1:])
    (bench.home.session_folder(name) / "request.json").unlink()
    gone = bench.run("resume", name)
    assert gone.code == 2
    assert "its request is gone" in gone.err
    unknown = bench.run("resume", "20200101-000000-abcd")
    assert unknown.code == 2
    assert "There is no session" in unknown.err
    assert "Traceback" not in gone.text + unknown.text


def test_a_repository_that_moved_is_a_sentence(
    bench_at: Callable[[Path], Bench], failing: Incident, tmp_path: Path
) -> None:
    shutil.copytree(failing.folder, tmp_path / "moved")
    bench = bench_at(tmp_path / "moved")
    spent = bench.run("run", failing.good, failing.bad, *failing.words, "--budget", "0.0001")
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    bench.folder = tmp_path / "elsewhere"
    gone = bench.run("resume", spent.session())
    assert gone.code == 2, gone.text
    assert str(tmp_path / "moved") in gone.err
    assert "Traceback" not in gone.text
