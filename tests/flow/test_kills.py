"""Death at any moment: no finished trial is lost, nothing is left, and the user's repository is as it was."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import small_incident
from bench import Bench, Ended, becomes, command, ended, fingerprint, guardian_of, owned_by
from small_incident import Incident

from bisect_celery.model import Judged, Outcome

# Of the hundred that are promised, as many as the gate has time for; `BISECT_CELERY_KILLS=100` tries them all.
KILLS = int(os.environ.get("BISECT_CELERY_KILLS", "25"))
SEED = 20260322
# Where kills come, and how often: at a random moment after the start, after a worker was started, after a trial was
# stored. On a slow machine a session is no further after so many seconds, so most moments count from a sign.
PHASES = {"started": 55, "works": 30, "stored": 10, "anywhere": 5}
LATEST = {"started": 1.5, "works": 1.2, "stored": 0.6, "anywhere": 12.0}
EARLIEST = 0.1
SIGN = 60.0
# How long the dead may take to be gone, on a machine that is busy with other things.
GONE = 40.0


@dataclass
class Killer:
    """Kills one session after the other, and holds what is left to what is promised."""

    bench: Bench
    incident: Incident
    chance: random.Random
    before: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    kept: dict[tuple[str, int], Judged] = field(default_factory=dict)
    landed: Counter[str] = field(default_factory=Counter)
    announced: int = 0
    ends: list[Ended] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def begin(self) -> subprocess.Popen[str]:
        """Go on with the latest session if it can be, else begin one."""
        names = self.bench.sessions()
        if names and self.bench.session(names[0]).outcome in (None, Outcome.INTERRUPTED, Outcome.INFRA):
            return self.bench.start("resume", names[0])
        return self.bench.start("run", self.incident.good, self.incident.bad, *self.incident.words)

    def once(self) -> None:
        phase = self.chance.choices(list(PHASES), list(PHASES.values()))[0]
        after = self.chance.uniform(EARLIEST if phase in ("started", "anywhere") else 0.0, LATEST[phase])
        process = self.begin()
        self.wait_for(phase, process)
        try:
            finished = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            sockets = self.noted_sockets()
            process.kill()
            _, err = process.communicate()
            self.landed[phase] += 1
            self.log.append(f"kill {self.landed.total()}: {process.pid}, {phase} and {after:.3f} s later")
            self.check_nothing_left(process.pid, sockets)
            self.check_announced(err)
        else:
            self.ends.append(Ended(process.returncode, *finished))
            assert process.returncode == 0, (finished, self.told())
            self.log.append("a session came to its end")
        self.check_kept()

    def wait_for(self, phase: str, process: subprocess.Popen[str]) -> None:
        """The sign from which a kill's moment counts, or the end of the session if that comes first."""
        known = len(self.kept)
        signs: dict[str, Callable[[], bool]] = {
            "works": lambda: any(" worker " in words for words in owned_by(process.pid).values()),
            "stored": lambda: len(self.bench.trials()) > known,
        }
        if phase in signs:
            assert becomes(lambda: process.poll() is not None or signs[phase](), SIGN), self.told()

    def noted_sockets(self) -> list[Path]:
        notes = self.bench.home.sessions.glob("*/git/tmp/socket-folder")
        return [Path(note.read_text()) for note in notes]

    def check_nothing_left(self, pid: int, sockets: list[Path]) -> None:
        assert becomes(lambda: not owned_by(pid), GONE), f"alive: {owned_by(pid)}\n{self.told()}"
        assert becomes(lambda: self.bench.left() == [], GONE), self.told()  # folders go after the programs
        assert [folder for folder in sockets if folder.exists()] == [], self.told()

    def check_announced(self, err: str) -> None:
        """What a person was told of is in the store."""
        announced = [int(line.split()[1]) for line in err.splitlines() if re.match(r"(good|bad|skip) +\d+  ", line)]
        name = next(iter(self.bench.sessions()), "")
        lost = [number for number in announced if (name, number) not in self.bench.trials()]
        assert lost == [], self.told()
        self.announced += len(announced)

    def check_kept(self) -> None:
        now = self.bench.trials()
        assert {key: now.get(key) for key in self.kept} == self.kept, f"a finished trial changed\n{self.told()}"
        self.kept = now
        assert fingerprint(self.incident.folder) == self.before, self.told()

    def told(self) -> str:
        return "\n".join((f"seed {SEED}", *self.log[-8:]))


@pytest.fixture
def killer(bench_at: Callable[[Path], Bench], failing: Incident, tmp_path: Path) -> Killer:
    folder = tmp_path / "shop"
    shutil.copytree(failing.folder, folder, symlinks=True)
    incident = Incident(folder, failing.shas, failing.culprit, failing.line, failing.words)
    return Killer(bench_at(folder), incident, random.Random(SEED), fingerprint(folder))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1200)
def test_kills_lose_no_finished_trial_and_leave_nothing(killer: Killer) -> None:
    while killer.landed.total() < KILLS:
        killer.once()
    names = killer.bench.sessions()
    waiting = [name for name in names if killer.bench.session(name).outcome is not Outcome.CONFIRMED]
    assert len(waiting) <= 1, "a session that can go on goes on, and no other is begun"
    last = killer.bench.run("resume", waiting[0]) if waiting else killer.ends[-1]
    assert last.code == 0, last.text + killer.told()
    killer.check_kept()
    for name in names:
        found = killer.bench.session(name).culprit
        assert found is not None
        assert found.revision.sha == killer.incident.culprit
        assert [atom.lines[0] for atom in found.fix] == [killer.incident.line]
    assert len(killer.kept) >= 20 * len(names), "each session made its trials"
    assert killer.bench.left() == []
    assert all(killer.landed[phase] >= weight * KILLS // 300 for phase, weight in PHASES.items()), killer.landed
    assert killer.announced >= len(killer.kept) // 2, "else nothing was compared with what was told"


# --- other deaths ------------------------------------------------------------------------------------------


def started(bench: Bench, incident: Incident) -> subprocess.Popen[str]:
    """A session whose worker runs, and one trial of which is finished."""
    process = bench.start("run", incident.good, incident.bad, *incident.words)
    ready = becomes(lambda: len(bench.trials()) >= 1 and " worker " in "".join(owned_by(process.pid).values()), 120)
    assert ready, process.communicate()
    return process


@pytest.mark.network
def test_the_next_start_sweeps_what_a_session_killed_with_its_guardian_left(killer: Killer) -> None:
    bench = killer.bench
    process = started(bench, killer.incident)
    guardian = guardian_of(process.pid)
    assert guardian is not None
    os.kill(process.pid, signal.SIGSTOP)  # so that nothing is taken down between the two
    os.kill(guardian, signal.SIGKILL)
    process.kill()
    process.communicate()
    assert becomes(lambda: guardian_of(process.pid) is None)
    assert bench.left(), "with the guardian dead, something is left: else this proves nothing"
    assert any(" worker " in words for words in owned_by(process.pid).values())
    killer.check_kept()
    again = bench.start("resume")
    assert becomes(lambda: bool(owned_by(again.pid)) and owned_by(process.pid) == {}, GONE), owned_by(process.pid)
    again.send_signal(signal.SIGINT)
    assert ended(again).code == 130
    assert bench.left() == []
    killer.check_kept()


@pytest.mark.network
def test_what_a_program_under_test_started_without_our_label_goes_too(
    bench_at: Callable[[Path], Bench], tmp_path: Path
) -> None:
    """Programs clean the environment of what they start; the label is in it."""
    mark = f"98765.{os.getpid()}"
    app = (
        "import subprocess\n\nfrom celery import signals\n"
        + small_incident.APP_MODULE
        + STARTS_ANOTHER.format(mark=mark)
    )
    incident = small_incident.failing(tmp_path / "shop", {"shop/app.py": app})
    bench = bench_at(incident.folder)
    process = bench.start("run", incident.good, incident.bad, *incident.words)
    ready = becomes(lambda: " worker " in "".join(owned_by(process.pid).values()) and running(mark) != [], 100)
    assert ready, process.communicate()
    process.kill()
    process.communicate()
    assert becomes(lambda: not owned_by(process.pid), GONE)
    assert running(mark) == []
    assert becomes(lambda: bench.left() == [], GONE), bench.left()  # folders go after the programs


STARTS_ANOTHER = """

@signals.worker_init.connect
def count(**_):
    subprocess.Popen(["sleep", "{mark}"], env={{}})
"""


def running(word: str) -> list[int]:
    """Processes that were started with this word."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if f" {word} " in command(pid)]


@pytest.mark.network
def test_sessions_beside_each_other_leave_each_other_alone(killer: Killer) -> None:
    """Of one user and one repository: neither the start of one, with its sweep, nor its death touches the other."""
    bench = killer.bench
    first = started(bench, killer.incident)
    theirs = set(owned_by(first.pid))
    second = bench.start("run", killer.incident.good, killer.incident.bad, *killer.incident.words)
    assert becomes(lambda: " worker " in "".join(owned_by(second.pid).values()), 100), second.communicate()
    second.kill()
    second.communicate()
    assert becomes(lambda: not owned_by(second.pid), GONE)
    kept = len(bench.session(bench.sessions()[-1]).judged)
    guardian = guardian_of(first.pid)
    assert guardian in theirs
    assert becomes(lambda: len(bench.session(bench.sessions()[-1]).judged) >= kept + 2, 60), "the first one goes on"
    first.terminate()
    assert ended(first).code == 130
    assert bench.left() == []


@pytest.mark.network
@pytest.mark.rabbitmq
@pytest.mark.parametrize("also_guardian", [False, True], ids=["guarded", "swept"])
def test_a_private_rabbitmq_goes_with_its_session(killer: Killer, also_guardian: bool) -> None:
    bench = killer.bench
    words = [word if word != "embedded" else "rabbitmq" for word in killer.incident.words]
    process = bench.start("run", killer.incident.good, killer.incident.bad, *words)
    nodes = ("beam", "epmd", " worker ")
    ready = becomes(lambda: all(name in "".join(owned_by(process.pid).values()) for name in nodes), 150)
    assert ready, (process.poll(), owned_by(process.pid))
    if also_guardian:
        guardian = guardian_of(process.pid)
        assert guardian is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(guardian, signal.SIGKILL)
    process.kill()
    process.communicate()
    if also_guardian:
        assert bench.run("run", killer.incident.good, "HEAD", *words, "--budget", "0.0001").code == 4
    assert becomes(lambda: not owned_by(process.pid), GONE), owned_by(process.pid)
    assert becomes(lambda: bench.left() == [], GONE), bench.left()


@pytest.mark.network
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_everything_down_and_says_how_to_go_on(killer: Killer, number: signal.Signals) -> None:
    bench = killer.bench
    process = started(bench, killer.incident)
    began = time.monotonic()
    process.send_signal(number)
    said = ended(process)
    assert said.code == 130, said.text
    assert time.monotonic() - began < GONE
    assert said.session() == bench.sessions()[0]
    assert "Taken down" in said.text
    assert "Traceback" not in said.text
    assert bench.session().outcome is Outcome.INTERRUPTED
    assert becomes(lambda: not owned_by(process.pid), GONE), owned_by(process.pid)
    assert becomes(lambda: bench.left() == [], GONE), bench.left()
    killer.check_kept()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.0, 0.15, 0.4, 0.8])
def test_a_signal_before_anything_is_tried_is_no_crash(killer: Killer, number: signal.Signals, after: float) -> None:
    """From the moment on at which we listen to signals; before that they are the system's."""
    process = killer.bench.start("run", killer.incident.good, killer.incident.bad, *killer.incident.words)
    assert becomes(lambda: listens(process.pid, signal.SIGTERM))
    time.sleep(after)  # the moment is what is varied here; nothing is waited for
    process.send_signal(number)
    said = ended(process)
    assert "Traceback" not in said.text
    assert said.code == 130, said.text
    assert becomes(lambda: not owned_by(process.pid), GONE)
    assert killer.bench.left() == []
    killer.check_kept()


def listens(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal; see SigCgt in proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_a_session_that_was_told_not_to_hear_hangups_goes_on(killer: Killer) -> None:
    """`nohup` has SIGHUP ignored; whoever starts a long run so means it."""
    bench = killer.bench
    words = ["nohup", sys.executable, "-m", "bisect_celery", "run", "--budget", "0.0001"]
    process = subprocess.Popen(
        [*words, killer.incident.good, killer.incident.bad, *killer.incident.words], cwd=bench.folder,
        env=bench.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert becomes(lambda: listens(process.pid, signal.SIGTERM))
    assert not listens(process.pid, signal.SIGHUP)
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
    assert ended(process).code == 4
