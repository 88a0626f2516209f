"""Trials of incidents at the level of the lab, on real RabbitMQ: one node, several places at once.

`python tests/incidents/trial.py NAME...` tries some by hand and prints what was seen; `--keep FOLDER` keeps the logs,
`--redis` takes Redis as broker.
"""

from __future__ import annotations

import importlib.metadata
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import loader
from loader import Incident

from bisect_celery import config
from bisect_celery.config.listing import FolderListing
from bisect_celery.core import judge
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Seen, Standard
from bisect_celery.flow.session import plan_of
from bisect_celery.flow.trials import boot_timed_out
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.kept import kept
from bisect_celery.lab.watch import Watch
from bisect_celery.model import Environment, Kind, Observation, Request, Runner
from bisect_celery.stack.brokers.namespace import Broker
from bisect_celery.stack.brokers.rabbitmq import RabbitNode
from bisect_celery.stack.brokers.redis import RedisBroker
from bisect_celery.stack.process import ProcessStack
from bisect_celery.stack.services.redis import RedisService, find_redis

AT_ONCE = 4
# A good revision never waits for these. Where silence is the point the machine is busy all the same.
PATIENT = Deadlines(boot=90, quiet=30, total=90)
SILENT = Deadlines(boot=90, quiet=5, total=40)


@dataclass(frozen=True)
class Tried:
    """One trial of an incident's revision, and what it was held to beside the good end."""

    incident: Incident
    revision: str
    observation: Observation
    declared: Standard
    seconds: float

    def seen(self, good: Tried) -> Seen:
        """What it shows, beside what is usual at the good end."""
        return judge.symptom(self.observation, judge.measured(self.declared, good.observation))


class Lab:
    """Trials of incidents, a few at a time. `start`, any number of `submit`, `stop`."""

    def __init__(self, folder: Path, broker: Callable[[Path], Broker] = RabbitNode) -> None:
        self._folder = folder
        self._stack = ProcessStack(
            broker(folder / "broker"), cast(Runner, None), folder / "places", "a test of incidents"
        )
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._cancel = Token()
        # Real environments are compiled when they are built; here the first trials compile for the others.
        self._bytecode = (("PYTHONDONTWRITEBYTECODE", ""), ("PYTHONPYCACHEPREFIX", str(folder / "bytecode")))

    def start(self) -> None:
        self._stack.start(self._cancel)

    def stop(self) -> None:
        self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.stop()

    def submit(self, incident: Incident, revision: str) -> Future[Tried]:
        """Try one revision: "good" or "bad". Its files are read here: Python 3.11 parses in one thread at a time."""
        layout, request = self._laid_out(incident, revision)
        return self._pool.submit(self._settled, incident, revision, layout, request)

    def _laid_out(self, incident: Incident, revision: str) -> tuple[Path, Request]:
        name = f"{incident.name}-{revision}"
        layout = self._folder / "trees" / name
        layout.mkdir(parents=True)
        loader.write_tree(incident.good if revision == "good" else incident.bad, layout)
        settings = self._folder / "settings" / name
        settings.mkdir(parents=True)
        loader.write_tree(incident.bad, settings)  # what is checked out, where a person types
        (settings / "bisect-celery.toml").write_text(loader.as_toml(incident.settings))
        return layout, self._request(settings, layout)

    def _settled(self, incident: Incident, revision: str, layout: Path, request: Request) -> Tried:
        """As the tool does (`flow.trials.settled`): facts that say nothing are asked for once more."""
        tried = self._try(layout.name, incident, revision, layout, request)
        seen = judge.symptom(tried.observation, tried.declared).symptom.kind
        if seen is not Kind.UNKNOWN and not boot_timed_out(tried.observation):
            return tried
        again = layout.with_name(f"{layout.name}-again")
        loader.write_tree(incident.good if revision == "good" else incident.bad, again)
        return self._try(again.name, incident, revision, again, request)

    def _try(self, name: str, incident: Incident, revision: str, layout: Path, request: Request) -> Tried:
        artifacts = self._folder / "artifacts" / name
        environment = Environment(
            "this", f"{sys.prefix}/bin/python", f"{sys.prefix}/bin", (("celery", importlib.metadata.version("celery")),)
        )
        began = time.monotonic()
        plan = plan_of(request).faster()
        plan = replace(plan, variables=(*self._bytecode, *plan.variables))
        hangs = revision == "bad" and not incident.healthy
        silent = replace(SILENT, total=min(SILENT.total, request.ceiling))
        with self._stack.place(name, layout, environment, artifacts, self._cancel) as place:
            watch = Watch(place, plan, environment, silent if hangs else PATIENT, self._cancel, walled=False)
            observation = kept(watch.run(), plan.probe, lambda text: text)
        took = round(time.monotonic() - began, 1)
        return Tried(incident, revision, observation, judge.standard_of(request.probe), took)

    def _request(self, settings: Path, layout: Path) -> Request:
        loaded = config.load(flags={}, typed_in=settings, root=settings, caller_environment={})
        detected = config.detect(FolderListing(layout), app=loaded.text("app"))
        return config.to_request(loaded, detected, good="good", bad="bad", repository=settings)


def redis_broker(folder: Path) -> Broker:
    program = find_redis()
    assert program is not None
    return RedisBroker(RedisService(folder, program))


def main() -> None:
    words = sys.argv[1:]
    broker = redis_broker if "--redis" in words else RabbitNode
    words = [word for word in words if word != "--redis"]
    keep = Path(words.pop(words.index("--keep") + 1)) if "--keep" in words else None
    chosen = [word for word in words if word != "--keep"] or list(loader.names())
    folder = Path(tempfile.mkdtemp(prefix="incidents-"))
    lab = Lab(folder, broker)
    try:
        lab.start()
        made = [
            (lab.submit(incident, "good"), lab.submit(incident, "bad"))
            for incident in (loader.load(name, random.Random()) for name in chosen)
        ]
        for futures in made:
            good, bad = (future.result() for future in futures)
            _print(good, good.seen(good))
            _print(bad, bad.seen(good))
    finally:
        lab.stop()
        if keep is not None:
            shutil.copytree(folder / "artifacts", keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _print(tried: Tried, shown: Seen) -> None:
    symptom, seen, verdict = shown.symptom, tried.observation, judge.at_end(shown).verdict.name
    print(f"{tried.incident.name:24} {tried.revision:4} {verdict:4} {tried.seconds:5.1f} s  ", end="")
    print(f"{symptom.kind} {symptom.exception} {symptom.template!r} where={symptom.where!r}: {shown.rule}")
    counts = [(queue.name, queue.ready, queue.unacked) for queue in seen.queues]
    states = sorted({(str(message.state), message.sources) for message in seen.messages})
    print(f"    ended={seen.ended} held={seen.held} others={seen.others} queues={counts} {states}")
    for line in seen.failure.lines[-4:] if seen.failure else ():
        print(f"    | {line}")
    expected = tried.incident.symptom
    if tried.revision == "bad" and (wrong := expected.differs(symptom)):
        print(f"    !! {wrong}")


if __name__ == "__main__":
    main()
