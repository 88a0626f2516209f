"""Trials of a project of one module, `shop`, one after the other on a broker of their own."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from bisect_celery.core import judge
from bisect_celery.core import scenario as scenarios
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Seen
from bisect_celery.lab import earlier
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.earlier import Earlier
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import LEFT, Watch
from bisect_celery.model import Environment, Observation, Place, Probe, Runner, Tree
from bisect_celery.stack.brokers.namespace import Broker
from bisect_celery.stack.brokers.redis import RedisBroker
from bisect_celery.stack.process import ProcessStack
from bisect_celery.stack.services.redis import RedisService, find_redis

PATIENT = Deadlines(boot=90, quiet=20, total=120)
SILENT = Deadlines(boot=90, quiet=4, total=120)
PROBE = Probe("shop.work", "[3]", count=4)


class Bench:
    """Makes the trials; its stack is started and stopped by `bench`."""

    def __init__(self, node: Broker, folder: Path) -> None:
        self.stack = ProcessStack(node, cast(Runner, None), folder / "places", "a test")
        self._folder = folder
        self._number = 0
        celery = (("celery", importlib.metadata.version("celery")),)
        self.environment = Environment("this", f"{sys.prefix}/bin/python", f"{sys.prefix}/bin", celery)
        self._bytecode = (("PYTHONDONTWRITEBYTECODE", ""), ("PYTHONPYCACHEPREFIX", str(folder / "bytecode")))

    def tried(
        self,
        source: str,
        steps: list[dict[str, Any]] | None = None,
        deadlines: Deadlines = PATIENT,
        before: Earlier | None = None,
        worker: tuple[str, ...] = ("-c", "2"),
        beside: tuple[tuple[str, ...], ...] = (),
        probe: Probe = PROBE,
    ) -> tuple[Observation, Seen]:
        """One trial of a module, by the steps of a scenario, beginning with what another one left."""
        parsed = scenarios.parse(steps) if steps else ()
        plan = Plan("shop", probe, worker, variables=self._bytecode, fast=True, scenario=parsed, beside=beside)

        def watch(place: Place) -> Observation:
            if before is not None:
                earlier.put(before, place)
            left = before.ids if before is not None else ()
            return Watch(place, plan, self.environment, deadlines, Token(), walled=False, left=left).run()

        seen = self._in_a_place(source, watch, alone=scenarios.restarts_broker(parsed))
        return seen, judge.symptom(seen, judge.standard_of(probe))

    def left_by(self, source: str, folder: Path) -> Earlier:
        """What a trial of this module leaves behind."""
        plan = Plan("shop", PROBE, ("-c", "2"), variables=self._bytecode, fast=True)
        found: list[Earlier] = []

        def leave(place: Place) -> Observation:
            seen = Watch(place, plan, self.environment, PATIENT, Token(), walled=False).leave()
            assert seen.ended == LEFT, (seen.ended, seen.failure)
            found.append(earlier.save(place, Tree("old", "old"), seen, 2, folder))
            return seen

        self._in_a_place(source, leave)
        return found[0]

    def _in_a_place(self, source: str, watch: Any, *, alone: bool = False) -> Observation:
        self._number += 1
        name = f"trial-{self._number}"
        layout = self._folder / "trees" / name
        layout.mkdir(parents=True)
        (layout / "shop.py").write_text(textwrap.dedent(source))
        artifacts = self._folder / "artifacts" / name
        with self.stack.place(name, layout, self.environment, artifacts, Token(), alone=alone) as place:
            seen: Observation = watch(place)
        return seen


def redis_broker(folder: Path) -> Broker:
    """A broker of which each trial has one of its own."""
    program = find_redis()
    assert program is not None
    return RedisBroker(RedisService(folder, program))


def bench(folder: Path, kind: Callable[[Path], Broker]) -> Iterator[Bench]:
    made = Bench(kind(folder / "node"), folder)
    made.stack.start(Token())
    try:
        yield made
    finally:
        made.stack.stop()
