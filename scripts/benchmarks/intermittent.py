"""How often the whole tool ends at the right hunk of an intermittent incident, and what that takes.

Usage: python scripts/benchmarks/intermittent.py [--runs 10] [--rate 1/2] [--simulated] [--seed 0]

Runs `bisect-celery run` on the incident of tests/flow/racing_incident.py, whose workers lose a race at boot one start
in two (or in three, four, five), on the process stack with the embedded broker. With `--simulated` trials are drawn
by lot (tests/flow/fake_lab.py) and any rate will do; all else is the same code. `--everywhere` lets every revision
fail so, GOOD too: then naming anybody is wrong. Prints a line a run, and a JSON object as the last one: `rate`,
`runs`, `commit` and `hunk` (runs that ended confirmed at the right one, and at nothing beside it), `wrong` (runs that
confirmed another commit, or changes without the guilty one), `trials` and `minutes` (means), `simulated`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests" / "flow"))

import fake_lab
import racing_incident
from small_incident import Incident

from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.events import nobody
from bisect_celery.flow.incident import investigate
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.report.build import build
from bisect_celery.report.render import as_json

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = {"app": racing_incident.APP, "task": "shop.tasks.total", "stack": "process", "broker": "embedded"}


@dataclass(frozen=True)
class Row:
    """One run: how it ended, whether what it names is right, and what it took."""

    outcome: str
    named: str | None
    commit: bool
    hunk: bool
    wrong: bool
    trials: int
    seconds: float


def judged(report: dict[str, Any], incident: Incident, guilty: bool, seconds: float) -> Row:
    """A report against the truth. Confirming another commit or hunk is wrong; not being sure is not."""
    culprit, confirmed = report["culprit"], report["outcome"] == "confirmed"
    named = culprit["sha"] if culprit else None
    right = named == incident.culprit and guilty
    lines = [[line for atom in culprit[part] for line in atom["lines"]] for part in ("cause", "fix")] if culprit else []
    hunk = right and all(incident.line in found and len(found) < 4 for found in lines)
    wrong = confirmed and not (right and all(incident.line in found for found in lines))
    return Row(report["outcome"], named, confirmed and right, confirmed and hunk, wrong, len(report["trials"]), seconds)


def real(incident: Incident, folder: Path, number: int) -> dict[str, Any]:
    """A whole run of the command line, in a home of its own over one cache."""
    home = folder / f"home{number}"
    (home / "tmp").mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(home / "tmp"),
    }
    words = [sys.executable, "-m", "bisect_celery", "run", incident.good, incident.bad, *incident.words, "--json"]
    words += ["--budget", "120"]  # on a busy machine too, the question is whether it is found
    done = subprocess.run(words, cwd=incident.folder, env=environment, capture_output=True, text=True, timeout=7500)
    (folder / f"run{number}.log").write_text(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def simulated(
    incident: Incident, folder: Path, number: int, seed: int, behaves: Callable[[fake_lab.Read], fake_lab.Ways]
) -> dict[str, Any]:
    """The same session in this process, with lots for trials."""
    home = Home({"BISECT_CELERY_HOME": str(folder / f"home{number}")}).make()
    asked = request(Typed(SIMULATED, incident.folder, {}, incident.good, incident.bad), home)
    with fake_lab.instead(behaves, seed + number):
        ended = investigate(asked, home, command="run", listener=nobody, cancel=Token())
    return as_json(build(ended.session, str))


def line(number: int, row: Row, headline: str) -> str:
    hunk = "right" if row.hunk else "WRONG" if row.wrong else "more" if row.commit else "-"
    return (
        f"{number:4} {row.outcome:14} commit {'right' if row.commit else '-':6} hunk {hunk:6} {row.trials:4} trials "
        f"{row.seconds / 60:5.1f} min  {headline}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rate", type=Fraction, default=Fraction(1, 2))
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--everywhere", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rate = float(asked.rate)
    if not asked.simulated and (asked.everywhere or asked.rate not in [Fraction(1, n) for n in (2, 3, 4, 5)]):
        parser.error("real races are lost one time in 2, 3, 4 or 5: --simulated for anything else")

    def behaves(read: fake_lab.Read) -> fake_lab.Ways:
        broken = asked.everywhere or racing_incident.is_broken(read("shop/sources.py"))
        return fake_lab.Ways(rate if broken else 0.0)

    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="intermittent-") as temporary:
        folder = Path(temporary)
        incident = racing_incident.racing(folder / "shop", 2 if asked.simulated else asked.rate.denominator)
        for number in range(asked.runs):
            began = time.monotonic()
            if asked.simulated:
                report = simulated(incident, folder, number, asked.seed, behaves)
            else:
                report = real(incident, folder, number)
            rows.append(judged(report, incident, not asked.everywhere, time.monotonic() - began))
            print(line(number, rows[-1], report["headline"]), flush=True)
    print(dict(Counter(row.outcome for row in rows)))
    told = {
        "rate": str(asked.rate),
        "runs": len(rows),
        "commit": sum(row.commit for row in rows),
        "hunk": sum(row.hunk for row in rows),
        "wrong": sum(row.wrong for row in rows),
        "trials": round(mean(row.trials for row in rows), 1),
        "minutes": round(mean(row.seconds for row in rows) / 60, 2),
        "simulated": asked.simulated,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
