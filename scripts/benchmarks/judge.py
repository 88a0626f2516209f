"""How well failures are told apart: every incident judged against the signature of every other, on real RabbitMQ.

Usage: python scripts/benchmarks/judge.py [INCIDENT...] [--trials N] [--seed N] [--at-once N] [--broker redis]
       [--out FILE]

Each incident of tests/incidents is written as a git repository under random names, and its good and its bad revision
are tried by the tool's own command line (process stack, RabbitMQ, prefork, `try REV --json`) while a burner keeps a
core busy. A row is a bad revision, a column a signature; both are made from what the tool printed and nothing else.
Incidents that only show beside a good end (needs = ["good end"]) are tried within a `git bisect`.

Then N trials of good revisions under load (`false_stuck.py`; 0: none). The last line is JSON: `confusion_errors` counts
cells off the diagonal that are BAD, cells on it that are not, and good revisions that are not GOOD.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "incidents"), str(Path(__file__).resolve().parent)]

import loader  # noqa: E402
from loader import Incident  # noqa: E402

from bisect_celery.core import judge  # noqa: E402
from bisect_celery.core.judge import Seen, Signature  # noqa: E402
from bisect_celery.model import Kind, Symptom, Verdict  # noqa: E402

LONGEST = 600.0
# What Redis has no word for: arguments of a queue, and an exchange's type in a process that did not declare it, so that
# what is sent there is lost at the good revision as well.
OVER_AMQP = ("priority-redeclared", "routing")
BEST = ("--stack", "process", "--broker")


@dataclass(frozen=True)
class Told:
    """What the tool printed of one revision, as far as the matrix needs it."""

    incident: str
    revision: str
    verdict: str
    kind: str
    exception: str | None
    template: str | None
    where: str | None
    rule: str
    seconds: float

    @property
    def symptom(self) -> Symptom:
        return Symptom(Kind(self.kind), self.exception, self.template, self.where)

    def words(self) -> str:
        more = [text for text in (self.exception, self.template) if text]
        return " · ".join([self.kind, *more, *([f"in {self.where}"] if self.where else [])])


# --- trying ------------------------------------------------------------------------------------------


class Machine:
    """A user's machine with nothing of ours on it but one cache, in which environments are built once."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder, self.broker = folder, broker
        (folder / "tmp").mkdir(parents=True)

    def run(self, at: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        state = self.folder / "state" / name
        (state / "run").mkdir(parents=True, exist_ok=True, mode=0o700)
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "XDG_STATE_HOME": str(state),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_RUNTIME_DIR": str(state / "run"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        return subprocess.run(
            [sys.executable, "-m", "bisect_celery", *words], cwd=at, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LONGEST,
        )  # fmt: skip


def on_redis(incident: Incident) -> Incident:
    """The same, with the client in its requirements that Celery needs there."""
    added = {"requirements.txt": "\nkombu[redis]\n"}
    good, bad = (
        {path: text + added.get(path, "") for path, text in files.items()} for files in (incident.good, incident.bad)
    )
    return replace(incident, good=good, bad=bad)


def beside_good_end(incident: Incident) -> bool:
    return "good end" in incident.needs


def tried(machine: Machine, incident: Incident) -> list[Told]:
    """Both revisions of one incident by the command line. Raises RuntimeError with the tool's words if it gave none."""
    folder = machine.folder / "repositories" / incident.name
    good, bad = loader.write(incident, folder)
    words = ["try", "--json", *BEST, machine.broker]
    if beside_good_end(incident):
        loader.git(folder, "bisect", "start", "--no-checkout", bad, good)
        words.append("--exit-code")
    made = []
    for revision, sha in (("good", good), ("bad", bad)):
        ended = machine.run(folder, incident.name, *words, sha)
        try:
            shown = json.loads(ended.stdout)
        except ValueError:
            raise RuntimeError(f"{incident.name} {revision}: {ended.returncode} {ended.stderr}") from None
        keys = ("verdict", "kind", "exception", "template", "where", "rule", "seconds")
        made.append(Told(incident.name, revision, **{key: shown[key] for key in keys}))
    return made


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """One core with something else to do."""
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


# --- the matrix --------------------------------------------------------------------------------------


def root_of(incident: Incident, all_: Mapping[str, Incident]) -> str:
    """The incident that this one is, by all evidence, the same failure as; itself where there is none."""
    return incident.same_as if incident.same_as is not None and incident.same_as in all_ else incident.name


def cell(row: Told, column: Told) -> Verdict:
    """The bad revision of one incident, held to the signature of another."""
    return judge.verdict(Seen(row.symptom, row.rule), Signature(column.symptom)).verdict


def expected(row: Incident, column: Incident, all_: Mapping[str, Incident]) -> bool:
    """Whether the row must be BAD in this column. What is never judged is BAD nowhere."""
    if row.symptom.kind in (Kind.BROKER_NOT_REDIRECTED, Kind.COMPLETED):
        return False
    return root_of(row, all_) == root_of(column, all_)


def matrix(told: Sequence[Told], all_: Mapping[str, Incident]) -> tuple[list[str], int]:
    """The matrix as lines of text, and how many of its cells, and of the good revisions, are wrong."""
    good = {one.incident: one for one in told if one.revision == "good"}
    bad = {one.incident: one for one in told if one.revision == "bad"}
    rows = list(bad)
    columns = [name for name in rows if not all_[name].healthy]
    lines, errors = [_heads(columns)], 0
    for number, name in enumerate(rows, 1):
        cells = [cell(bad[name], bad[column]) for column in columns]
        wrong = [
            (verdict is Verdict.BAD) != expected(all_[name], all_[column], all_)
            for verdict, column in zip(cells, columns, strict=True)
        ]
        passes = good[name].verdict == "good"
        errors += sum(wrong) + (not passes)
        marks = "".join(f"{'!' if off else ' '}{_MARKS[verdict]} " for verdict, off in zip(cells, wrong, strict=True))
        lines.append(f"{number:2} {name:22} {'G' if passes else '!' + good[name].verdict} {marks}")
    return lines, errors


_MARKS = {Verdict.BAD: "B", Verdict.GOOD: "g", Verdict.SKIP: "·"}


def _heads(columns: Sequence[str]) -> str:
    return " " * 28 + "".join(f"{number:2} " for number in range(1, len(columns) + 1))


def unexpected(told: Sequence[Told], all_: Mapping[str, Incident]) -> list[str]:
    """Bad revisions that show something else than their incident says, be it told apart or not."""
    found = ((one, all_[one.incident].symptom.differs(one.symptom)) for one in told if one.revision == "bad")
    return [f"{one.incident}: {wrong}" for one, wrong in found if wrong]


# --- all of it ---------------------------------------------------------------------------------------


def main() -> int:
    options = _options()
    names = options.incidents or loader.names()
    # Healthy ones last: they are rows without a column.
    loaded = [loader.load(name, random.Random(f"{options.seed} {name}")) for name in names]
    if options.broker == "redis":
        loaded = [on_redis(one) for one in loaded if one.name not in OVER_AMQP]
    all_ = {one.name: one for one in sorted(loaded, key=lambda one: (one.healthy, one.name))}
    folder = Path(tempfile.mkdtemp(prefix="judge-"))
    began = time.monotonic()
    try:
        with busy(), ThreadPoolExecutor(options.at_once) as pool:
            machine = Machine(folder, options.broker)
            told = [one for made in pool.map(lambda each: _said(machine, each), all_.values()) for one in made]
    finally:
        if options.keep:
            shutil.copytree(folder / "state", options.keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    complete = {one.incident for one in told}
    all_ = {name: one for name, one in all_.items() if name in complete}
    lines, errors = matrix(told, all_)
    print("\n".join(lines))
    surprises = unexpected(told, all_)
    print("\n".join(f"not as expected: {line}" for line in surprises))
    figures: dict[str, Any] = {
        "incidents": len(all_), "seed": options.seed, "seconds": round(time.monotonic() - began),
        "confusion_errors": errors + len(loaded) - len(all_), "unexpected_symptoms": len(surprises),
    }  # fmt: skip
    figures.update(_false_stuck(options.trials))
    if options.out:
        Path(options.out).write_text(json.dumps({"told": [asdict(one) for one in told], "figures": figures}, indent=1))
    print(json.dumps(figures))
    return 1 if figures["confusion_errors"] else 0


def _said(machine: Machine, incident: Incident) -> list[Told]:
    try:
        made = tried(machine, incident)
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"{incident.name:22} could not be tried: {error}", flush=True)
        return []
    for one in made:
        print(f"{one.incident:22} {one.revision:4} {one.verdict:4} {one.seconds:6.1f} s  {one.words()}", flush=True)
    return made


def _false_stuck(trials: int) -> dict[str, Any]:
    if not trials:
        return {"trials": 0, "false_stuck": None, "stuck_called_after_s": None}
    import false_stuck

    measured: dict[str, Any] = false_stuck.measure(trials)
    return measured


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incidents", nargs="*")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--broker", default="rabbitmq", choices=("rabbitmq", "redis"))
    parser.add_argument("--out")
    parser.add_argument("--keep")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
