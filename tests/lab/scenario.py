"""Real trials of tiny projects on the process stack with the embedded broker.

A trial mostly waits, so those of a file's tests run beside each other, a few at a time, from the first one on.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bisect_celery.core import judge
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Seen, Signature
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import Watch
from bisect_celery.model import Environment, Kind, Message, Observation, Probe, Runner
from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.process import ProcessStack

AT_ONCE = 6
# Generous where silence is not the point: the machine is busy, and a healthy trial never waits for these.
PATIENT = Deadlines(boot=90, quiet=20, total=120)
SILENT = Deadlines(boot=90, quiet=4, total=120)
# For what is never silent and never done: such a trial lasts to the end of its time.
ENDLESS = Deadlines(boot=90, quiet=4, total=15)


WORK = Probe("shop.work", "[3]")


@dataclass(frozen=True)
class Scenario:
    """A project of one module, `shop`, and how it is tried."""

    source: str
    probe: Probe = WORK
    worker: tuple[str, ...] = ("-c", "2")
    deadlines: Deadlines = PATIENT
    result_url: str | None = None
    signature: Signature | None = None
    variables: tuple[tuple[str, str], ...] = ()
    beside: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Tried:
    """What a scenario's trial gave."""

    observation: Observation
    seen: Seen
    artifacts: Path
    secrets: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return self.seen.symptom.kind

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.observation.messages

    @property
    def worker_ran(self) -> bool:
        return (self.artifacts / "worker.out").exists()

    def counts(self) -> tuple[int, int]:
        queues = self.observation.queues
        return sum(queue.ready for queue in queues), sum(queue.unacked for queue in queues)


Function = Callable[..., None]


def of(scenario: Scenario) -> Callable[[Function], Function]:
    """Marks a test with the scenario that its `tried` is of."""

    def mark(function: Function) -> Function:
        cast(Any, function).scenario = scenario
        return function

    return mark


class Lab:
    """Trials of scenarios, each once, a few at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ProcessStack(EmbeddedNode(folder / "broker"), cast(Runner, None), folder / "places", "a test")
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._cancel = Token()
        self._made: dict[str, Future[Tried]] = {}
        # Real environments are compiled when they are built; here the first trials compile for the others.
        self._bytecode = (("PYTHONDONTWRITEBYTECODE", ""), ("PYTHONPYCACHEPREFIX", str(folder / "bytecode")))

    def start(self) -> None:
        self._stack.start(self._cancel)

    def submit(self, test: str, scenario: Scenario) -> None:
        """To be tried as soon as there is room; once for each test."""
        if test not in self._made:
            self._made[test] = self._pool.submit(self._try, f"trial-{len(self._made) + 1}", scenario)

    def made(self, test: str) -> Tried:
        return self._made[test].result(timeout=280)

    def stop(self) -> None:
        self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.stop()

    def _try(self, name: str, scenario: Scenario) -> Tried:
        layout, artifacts = self._folder / "trees" / name, self._folder / "artifacts" / name
        layout.mkdir(parents=True)
        (layout / "shop.py").write_text(scenario.source)
        environment = Environment(
            "this", f"{sys.prefix}/bin/python", f"{sys.prefix}/bin", (("celery", importlib.metadata.version("celery")),)
        )
        plan = Plan(
            "shop",
            scenario.probe,
            scenario.worker,
            variables=(*self._bytecode, *scenario.variables),
            result_url=scenario.result_url,
            fast=True,
            beside=scenario.beside,
        )
        standard, secrets = judge.standard_of(scenario.probe), list[str]()
        with self._stack.place(name, layout, environment, artifacts, self._cancel) as place:
            watch = Watch(
                place, plan, environment, scenario.deadlines, self._cancel, walled=False,
                looks_bad=lambda picture: judge.resembles(judge.symptom(picture, standard), scenario.signature),
                learn_secrets=secrets.extend,
            )  # fmt: skip
            observation = watch.run()
        return Tried(observation, judge.symptom(observation, standard), artifacts, secrets)
