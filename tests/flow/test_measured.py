"""Whole sessions that look for slowness and for memory, with measurements drawn by lot: all else is real."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import fake_lab
import pytest
from fake_lab import TASKS, FakeLab, Ways
from small_incident import APP, Incident

from bisect_celery.flow import incident
from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.events import nobody
from bisect_celery.flow.session import Room
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.lab import Made, Order
from bisect_celery.model import Kind, Observation, Outcome, Session, Verdict

BASE = 0.4
Factor = Callable[[str, int], float]


class MeasuredLab(FakeLab):
    """Every trial completes. `factor(the task's source and the README, the trial's number)` is how much more it takes.

    `spread` is how much starts of one tree differ (the standard deviation of the logarithm).
    """

    factor: Factor
    spread = 0.06

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sources: dict[str, str] = {}

    def make(self, order: Order) -> Made:
        number = int(order.name.split("-")[0])
        chance = random.Random(f"{self.seed} {order.tree.sha} {number}")
        times = self.factor(self._source(order.tree.sha), number) * chance.lognormvariate(0, self.spread)
        self.made.append((order.tree.label, times > 1.4))
        return Made(measured(fake_lab.completed(TASKS), BASE * times, times), 1.0, Path("nowhere"))

    def _source(self, tree: str) -> str:
        if tree not in self._sources:
            read = [self.repository.read(tree, path) or b"" for path in ("shop/tasks.py", "README.md")]
            self._sources[tree] = b"".join(read).decode()
        return self._sources[tree]


def measured(seen: Observation, latency: float, times: float) -> Observation:
    messages = tuple(dataclasses.replace(one, finished=one.sent + latency) for one in seen.messages)
    return dataclasses.replace(seen, messages=messages, memory=(int(100_000 * times), 50_000))


def of_culprit(source: str, times: float) -> float:
    return times if "list(prices)" in source else 1.0


@contextlib.contextmanager
def drawn(factor: Factor, seed: int, spread: float) -> Iterator[list[MeasuredLab]]:
    labs: list[MeasuredLab] = []

    @contextlib.contextmanager
    def running(room: Room, *, as_of: str) -> Iterator[MeasuredLab]:
        labs.append(MeasuredLab(room.repository, lambda _: Ways(0), seed))
        labs[-1].factor, labs[-1].spread = factor, spread
        yield labs[-1]

    with mock.patch.object(incident, "running", running):
        yield labs


def investigated(
    where: Incident, home: Path, factor: Factor, *judges: str, seed: int = 1, spread: float = 0.06, **more: str
) -> Session:
    flags: dict[str, object] = {
        "app": APP, "task": "shop.tasks.total", "stack": "process", "broker": "embedded", "judge": ",".join(judges),
        **more,
    }  # fmt: skip
    kept = Home({"BISECT_CELERY_HOME": str(home)}).make()
    asked = request(Typed(flags, where.folder, {}, where.good, where.bad), kept)
    with drawn(factor, seed, spread):
        return incident.investigate(asked, kept, command="run", listener=nobody, cancel=Token()).session


@pytest.mark.parametrize(("judge", "kind"), [("latency", Kind.SLOW), ("memory", Kind.MEMORY_GROWN)])
def test_what_is_worse_is_found(failing: Incident, tmp_path: Path, judge: str, kind: Kind) -> None:
    session = investigated(failing, tmp_path, lambda source, _: of_culprit(source, 1.8), judge)
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert session.culprit.revision.sha == failing.culprit
    assert [atom.path for atom in session.culprit.fix] == ["shop/tasks.py"]
    assert session.bad_symptom is not None
    assert (session.bad_symptom.kind, session.bad_symptom.template) == (kind, judge)
    controls = [one for one in session.judged if one.trial.purpose == "control"]
    assert controls
    assert {one.judgement.verdict for one in controls} == {Verdict.GOOD}


def test_a_machine_on_which_starts_differ_by_a_third_tells_what_is_eight_times_as_slow(
    failing: Incident, tmp_path: Path
) -> None:
    """A quarter more, which is what counts where nothing is known, is here as often luck as not: it named a README,
    and the starts by which it did were counted once more when that was confirmed."""
    session = investigated(failing, tmp_path, lambda source, _: of_culprit(source, 8.0), "latency", seed=3, spread=0.35)
    assert session.outcome is Outcome.CONFIRMED, session.headline
    assert session.culprit is not None
    assert session.culprit.revision.sha == failing.culprit
    assert [atom.path for atom in session.culprit.fix] == ["shop/tasks.py"]
    for row in session.culprit.confirmation:
        first = min(row.trials)
        own = [one.trial for one in session.judged if one.trial.tree.sha == row.tree.sha and one.trial.number <= first]
        confirming = [one for one in own if one.purpose == "confirm"]
        assert len(confirming) >= 2, "one start says nothing, beside however many of the good end"


def test_of_two_steps_the_one_that_makes_it_slow_is_named_and_with_match_any_the_first(
    failing: Incident, tmp_path: Path
) -> None:
    """The commit before the culprit costs half as much again, which is not what the bad end shows."""

    def factor(source: str, _: int) -> float:
        return of_culprit(source, 6.0) * (1.5 if "Ask " in source else 1.0)

    for match, culprit in (("same", failing.culprit), ("any", failing.shas[2])):
        session = investigated(failing, tmp_path / match, factor, "latency", match=match)
        assert session.outcome is Outcome.CONFIRMED, session.headline
        assert session.culprit is not None
        assert session.culprit.revision.sha == culprit


def test_a_bad_end_that_is_no_worse_names_nobody(failing: Incident, tmp_path: Path) -> None:
    session = investigated(failing, tmp_path, lambda source, _: of_culprit(source, 1.02), "latency", "memory")
    assert session.outcome is Outcome.ENDS_WRONG
    assert "is no worse than GOOD: " in session.headline
    assert any("--effect" in line for line in session.advice)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_machine_that_becomes_slower_names_nobody(failing: Incident, tmp_path: Path, seed: int) -> None:
    """From some trial on everything takes twice as long, which is what a neighbour on the same machine does."""
    session = investigated(failing, tmp_path, lambda _, number: 1.0 if number <= 9 else 2.0, "latency", seed=seed)
    assert session.outcome is Outcome.ENDS_WRONG, session.headline
    assert session.culprit is None


@pytest.mark.parametrize("since", [12, 26])
def test_a_real_slowness_on_a_machine_that_drifts_is_never_laid_on_another(
    failing: Incident, tmp_path: Path, since: int
) -> None:
    def factor(source: str, number: int) -> float:
        return of_culprit(source, 1.8) * (1.0 if number < since else 1.9)

    session = investigated(failing, tmp_path, factor, "latency", seed=since)
    assert session.culprit is None or session.culprit.revision.sha == failing.culprit, session.headline


def test_measures_that_contradict_each_other_name_nobody_else(failing: Incident, tmp_path: Path) -> None:
    """The culprit is slow until it is to be confirmed, and then it is not."""
    session = investigated(
        failing, tmp_path, lambda source, number: of_culprit(source, 1.8 if number < 45 else 1.0), "latency"
    )
    assert session.outcome in (Outcome.CANDIDATES, Outcome.COMMIT_ONLY), session.headline
    assert session.culprit is None or session.culprit.revision.sha == failing.culprit
    assert "every start is evidence" not in session.headline
