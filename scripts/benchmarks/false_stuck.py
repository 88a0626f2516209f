"""How soon silence is called a hang, and how often a healthy revision is: on real RabbitMQ, every core busy.

Usage: scripts/benchmark false-stuck [--trials N] [--at-once N] [--seed N]

The demo incident's good and bad end are tried first, as a session does; from them come the deadlines and the signature.
Then its bad end again, held to both: `stuck_called_after_s` is the longest time between the last sign of progress and
the verdict. Then N trials of good revisions, `--at-once` at a time: the demo's, and healthy tasks that sleep, wait for
HTTP and run a long query, each in its quick and in its slow revision, with the deadlines of its quick one. Each is held
to the signatures that a slow task resembles most, stuck in the body with no place known among them; `false_stuck`
counts those that are called BAD or a hang. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "incidents")]

import loader  # noqa: E402

from bisect_celery import config  # noqa: E402
from bisect_celery.config.listing import FolderListing  # noqa: E402
from bisect_celery.core import deadline, judge  # noqa: E402
from bisect_celery.core.deadline import Deadlines  # noqa: E402
from bisect_celery.core.judge import Signature  # noqa: E402
from bisect_celery.demo.incident import PROBE, WORKER, write_incident  # noqa: E402
from bisect_celery.flow.session import plan_of  # noqa: E402
from bisect_celery.flow.trials import WAITING  # noqa: E402
from bisect_celery.lab.cancel import Token  # noqa: E402
from bisect_celery.lab.kept import kept  # noqa: E402
from bisect_celery.lab.watch import Looks, Watch  # noqa: E402
from bisect_celery.model import Environment, Kind, Match, Observation, Request, Runner, Symptom  # noqa: E402
from bisect_celery.stack.brokers.rabbitmq import RabbitNode  # noqa: E402
from bisect_celery.stack.process import ProcessStack  # noqa: E402

CEILING = 120.0
HANGS = 5
HEALTHY = ("healthy-sleep", "healthy-http", "healthy-query")
# What a slow task may be taken for; no place, because a place would only let it off.
LIKE_A_SLOW_TASK = (Symptom(Kind.STUCK_IN_TASK), Symptom(Kind.EXECUTED_NOT_ACKED))
DEMO_SETTINGS = {
    "app": "shop", "worker": " ".join(WORKER), "task": PROBE.task, "args": PROBE.args, "expect": PROBE.expect,
    "done-log": PROBE.done_log,
}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A laid-out revision and how it is asked."""

    name: str
    layout: Path
    request: Request


class Bench:
    """Trials on one broker of our own; each in a place of its own, as in a session."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._cancel, self._number = folder, Token(), 0
        self._stack = ProcessStack(RabbitNode(folder / "broker"), cast(Runner, None), folder / "places", "measuring")
        self._bytecode = (("PYTHONDONTWRITEBYTECODE", ""), ("PYTHONPYCACHEPREFIX", str(folder / "bytecode")))

    def __enter__(self) -> Bench:
        self._stack.start(self._cancel)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel.set()
        self._stack.stop()

    def project(self, name: str, layout: Path, settings: dict[str, Any]) -> Project:
        typed_in = self._folder / "settings" / name
        shutil.copytree(layout, typed_in)
        (typed_in / "bisect-celery.toml").write_text(loader.as_toml(settings))
        loaded = config.load(flags={}, typed_in=typed_in, root=typed_in, caller_environment={})
        detected = config.detect(FolderListing(layout), app=loaded.text("app"))
        request = config.to_request(loaded, detected, good="good", bad="bad", repository=typed_in)
        return Project(name, layout, request)

    def incident(self, name: str, chance: random.Random) -> tuple[Project, Project]:
        """The quick and the slow revision of a healthy incident."""
        incident = loader.load(name, chance)
        made = []
        for revision, files in (("quick", incident.good), ("slow", incident.bad)):
            layout = self._folder / "trees" / f"{name}-{revision}"
            layout.mkdir(parents=True)
            loader.write_tree(files, layout)
            made.append(self.project(layout.name, layout, dict(incident.settings)))
        return made[0], made[1]

    def demo(self) -> tuple[Project, Project]:
        """The demo incident's good and bad end."""
        written = write_incident(self._folder / "demo")
        made = []
        for end, sha in (("good", written.good), ("bad", written.bad)):
            layout = self._folder / "trees" / f"demo-{end}"
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", written.folder, layout], check=True)
            subprocess.run(["git", "-C", layout, "checkout", "--quiet", "--detach", sha], check=True)
            shutil.rmtree(layout / ".git")
            made.append(self.project(f"demo-{end}", layout, DEMO_SETTINGS))
        return made[0], made[1]

    def watch(self, project: Project, deadlines: Deadlines, looks_bad: Looks = lambda _: False) -> Observation:
        self._number += 1
        name = f"{self._number:04d}-{project.name}"
        environment = Environment(
            "this", f"{sys.prefix}/bin/python", f"{sys.prefix}/bin", (("celery", importlib.metadata.version("celery")),)
        )
        plan = plan_of(project.request).faster()
        plan = replace(plan, variables=(*self._bytecode, *plan.variables))
        artifacts = self._folder / "artifacts" / name
        with self._stack.place(name, project.layout, environment, artifacts, self._cancel) as place:
            watch = Watch(place, plan, environment, deadlines, self._cancel, walled=False, looks_bad=looks_bad)
            return kept(watch.run(), plan.probe, lambda text: text)


def looks_like(*symptoms: Symptom) -> Looks:
    """What a session asks of a picture, for each of these as the bad end's."""

    def looks_bad(picture: Observation) -> bool:
        seen = judge.symptom(picture)
        return any(judge.resembles(seen, Signature(symptom, Match.SAME)) for symptom in symptoms)

    return looks_bad


def learnt_from(good: Observation) -> Deadlines:
    if judge.symptom(good).symptom.kind is not Kind.COMPLETED:
        raise SystemExit(f"A good end was not good: {judge.symptom(good)}")
    return deadline.quickened(deadline.learnt((good,), CEILING), (good,))


@contextlib.contextmanager
def every_core_busy() -> Iterator[None]:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def measure(trials: int, at_once: int = 2, seed: int = 3) -> dict[str, Any]:
    """`stuck_called_after_s` (the longest of some trials), `false_stuck`, `trials`; prints what it sees."""
    folder = Path(tempfile.mkdtemp(prefix="false-stuck-"))
    try:
        with Bench(folder) as bench:
            called, symptom, good = _hangs(bench)
            with every_core_busy():
                false = _healthy(bench, good, symptom, trials, at_once, random.Random(seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"stuck_called_after_s": round(max(called), 2), "false_stuck": false, "trials": trials}


def _hangs(bench: Bench) -> tuple[list[float], Symptom, Project]:
    """How long after the last progress each trial of the demo's bad end was over, its symptom, and its good end."""
    good, bad = bench.demo()
    deadlines = learnt_from(bench.watch(good, deadline.before(CEILING)))
    symptom = judge.symptom(bench.watch(bad, deadlines)).symptom
    print(f"demo: {symptom}; quick {deadlines.quick:.1f} s, quiet {deadlines.quiet:.1f} s", flush=True)
    called = []
    for _ in range(HANGS):
        seen = bench.watch(bad, deadlines, looks_like(symptom))
        shown = judge.symptom(seen).symptom
        if not shown.same_failure(symptom):
            raise SystemExit(f"The demo's bad end showed {shown} instead of {symptom}.")
        called.append(seen.until - seen.last_progress)
        print(f"  called stuck {called[-1]:.2f} s after the last progress, load {seen.load}", flush=True)
    return called, symptom, good


def _healthy(bench: Bench, demo: Project, symptom: Symptom, trials: int, at_once: int, chance: random.Random) -> int:
    """How many of so many trials of good revisions were called stuck, or bad."""
    looks_bad = looks_like(symptom, *LIKE_A_SLOW_TASK)
    rows = [(demo, learnt_from(bench.watch(demo, deadline.before(CEILING))))]
    for name in HEALTHY:
        quick, slow = bench.incident(name, chance)
        deadlines = learnt_from(bench.watch(quick, deadline.before(CEILING)))
        rows += [(quick, deadlines), (slow, deadlines)]
    for project, deadlines in rows:
        print(f"{project.name}: quick {deadlines.quick:.1f} s, quiet {deadlines.quiet:.1f} s", flush=True)

    def stuck(number: int) -> bool:
        project, deadlines = rows[number % len(rows)]
        observation = bench.watch(project, deadlines, looks_bad)
        seen = judge.symptom(observation)
        if seen.symptom.kind is Kind.COMPLETED:
            return False
        print(f"  {project.name}: {seen.symptom}, {seen.rule}; ended {observation.ended}, load {observation.load}")
        return seen.symptom.kind in WAITING or looks_bad(observation)

    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(stuck, range(trials)))


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="scripts/benchmark false-stuck", description=(__doc__ or "").split("\n")[0]
    )
    arguments.add_argument("--trials", type=int, default=200, help="of good revisions (default: 200)")
    arguments.add_argument("--at-once", type=int, default=2, help="trials at a time (default: 2)")
    arguments.add_argument("--seed", type=int, default=3, help="of the random names")
    chosen = arguments.parse_args()
    print(json.dumps(measure(chosen.trials, chosen.at_once, chosen.seed)))


if __name__ == "__main__":
    main()
