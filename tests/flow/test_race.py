"""A real race, lost one start in two, from the command line to the hunk: real workers beside the lots of
test_intermittent.py. The longer incident, the rarer one and many runs are scripts/benchmarks/intermittent.py's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import racing_incident
from bench import Bench


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_race_that_is_lost_half_the_time_ends_at_its_hunk(bench_at: Callable[[Path], Bench], tmp_path: Path) -> None:
    incident = racing_incident.racing(tmp_path / "shop", short=True)
    bench = bench_at(incident.folder)
    # What is known of it keeps the run short: nothing has to be found out about the ends first.
    ended = bench.run("run", incident.good, incident.bad, *incident.words, "--fails", "1/2", "--json", deadline=1100)
    assert ended.code == 0, ended.text
    found = json.loads(ended.out)
    assert found["outcome"] == "confirmed"
    assert found["culprit"]["sha"] == incident.culprit
    for part in ("cause", "fix"):
        (atom,) = found["culprit"][part]
        assert incident.line in atom["lines"]
    parent, culprit, *_ = found["confirmation"]
    assert parent["failed"] == 0
    assert culprit["failed"] > 0
    assert all(row["holds"] and row["rate"] < 1 for row in found["confirmation"])
    assert "# An intermittent failure" in found["bisect_log"]
    assert bench.left() == []
