"""Every incident once at both revisions, on one RabbitMQ: its symptom, and that nobody else's is taken for it.

The same by the command line, beside a busy core and with the incidents that need more than a trial an end, is
`scripts/benchmark judge`; docs/judging.md has its figures. Left out here: those that repeat another one's evidence, and
what no trial of the lab's own can show (dependencies that cannot be installed).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future

import loader
import pytest
from loader import Incident
from trial import Lab, Tried

from bisect_celery.core import judge
from bisect_celery.core.judge import Seen, Signature
from bisect_celery.model import Kind, Verdict

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(900)]

LONGEST = 600.0
# Seen, and never a verdict: two revisions are not told apart by it.
NEVER_BAD = frozenset({Kind.BROKER_NOT_REDIRECTED})


def here(incident: Incident) -> bool:
    """Whether one trial an end on the lab's own environment shows it, and no other incident already does."""
    several_starts = "judge" in incident.settings
    # In its task or in the main process: where that memory ends first is a matter of chance, and two symptoms.
    if incident.name == "out-of-memory-error":
        return False
    return not several_starts and incident.same_as is None and incident.symptom.kind is not Kind.ENVIRONMENT_FAILED


ALL = {name: loader.load(name, random.Random()) for name in loader.names()}
HERE = tuple(name for name, incident in ALL.items() if here(incident))


class Made:
    """The trials of all incidents that are asked for, all begun when the first is."""

    def __init__(self, lab: Lab, names: tuple[str, ...]) -> None:
        # Those that wait in silence first: the others are tried meanwhile.
        order = [(name, revision) for revision in ("bad", "good") for name in names]
        self._futures: dict[tuple[str, str], Future[Tried]] = {
            (name, revision): lab.submit(ALL[name], revision) for name, revision in order
        }

    def seen(self, name: str) -> tuple[Seen, Seen]:
        """What the good and the bad revision showed, beside what is usual at the good one."""
        good, bad = (self._futures[name, revision].result(timeout=LONGEST) for revision in ("good", "bad"))
        return good.seen(good), bad.seen(good)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    lab = Lab(tmp_path_factory.mktemp("incidents"))
    try:
        lab.start()
        yield Made(lab, tuple(name for name in HERE if name in asked) or HERE)
    finally:
        lab.stop()


@pytest.mark.parametrize("name", HERE)
def test_an_incident_shows_its_symptom_and_its_good_revision_none(name: str, made: Made) -> None:
    good, bad = made.seen(name)
    assert judge.at_end(good).verdict is Verdict.GOOD, good
    assert ALL[name].symptom.differs(bad.symptom) is None, (ALL[name].symptom.differs(bad.symptom), bad)
    wanted = Verdict.GOOD if ALL[name].healthy else Verdict.SKIP if bad.symptom.kind in NEVER_BAD else Verdict.BAD
    assert judge.verdict(bad, Signature(bad.symptom)).verdict is wanted, bad


def test_no_incident_is_taken_for_another(made: Made) -> None:
    """Off the diagonal of the confusion matrix nothing is BAD; good revisions are GOOD in every column."""
    seen = {name: made.seen(name) for name in HERE}
    signatures = {name: Signature(bad.symptom) for name, (_, bad) in seen.items() if not ALL[name].healthy}
    taken = [
        f"{row} for {column}: {bad.symptom}"
        for row, (_, bad) in seen.items()
        for column, signature in signatures.items()
        if row != column and judge.verdict(bad, signature).verdict is Verdict.BAD
    ]
    assert not taken
    assert {judge.verdict(good, each).verdict for good, _ in seen.values() for each in signatures.values()} == {
        Verdict.GOOD
    }


@pytest.mark.parametrize("name", [name for name, incident in ALL.items() if incident.same_as])
def test_what_is_the_same_as_another_names_one_that_stands_for_itself(name: str) -> None:
    same_as = ALL[name].same_as
    assert same_as in ALL
    assert ALL[same_as].same_as is None
    assert ALL[same_as].symptom.kind is ALL[name].symptom.kind


def test_no_name_of_an_incident_stays_from_one_load_to_the_next() -> None:
    """So that no rule can lean on one."""
    for name in loader.names():
        one, other = (loader.load(name, random.Random(seed)) for seed in (1, 2))
        assert not set(one.names.values()) & set(other.names.values())
        assert not any(placeholder in text for text in (*one.good.values(), *one.bad) for placeholder in one.names)
