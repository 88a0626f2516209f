"""How long a user waits for a first verdict on each stack, and for the dependencies it needs.

Usage: scripts/benchmark stacks [--warm N] [--stack NAME ...] [--no-environments]

`bisect-celery try` of the demo incident's good end, as a whole process from start to exit, on process/embedded,
process/rabbitmq and container. Cold: nothing of ours is there but the images (an empty home, an empty volume; packages
come from the index). Warm: the same again, N times (5), in turn over the stacks, medians. `first_verdict_s` is the
wait, `trial_s` what the trial itself took of it; `to_first` is the warm wait over that of the first stack named.

Then the same requirements by uv, as we build (resolved, installed, compiled), and by hand: `python -m venv` and
`pip install -r`. Cold with empty caches, warm with filled ones and a new environment; `uv_to_pip` is the ratio. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bisect_celery.demo.incident import APP, PROBE, WORKER, Incident, write_incident  # noqa: E402

STACKS = ("process/embedded", "process/rabbitmq", "container")
DEADLINE = 900.0
VOLUME = "BISECT_CELERY_ENVIRONMENTS_VOLUME"


@dataclass(frozen=True)
class Wait:
    """One `try`, in seconds: from the command's start to its end, and of that the trial."""

    verdict: float
    trial: float


class Bench:
    """The demo incident and our own folders, all of them gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incident: Incident = write_incident(folder / "shop")
        self._volumes = {stack: f"bisect-celery-benchmark-{os.getpid()}" for stack in STACKS if stack == "container"}

    def tried(self, stack: str) -> Wait:
        kind, _, broker = stack.partition("/")
        words = [
            sys.executable, "-m", "bisect_celery", "try", self._incident.good, "--json", "--stack", kind, "--app", APP,
            "--worker", " ".join(WORKER), "--task", PROBE.task, "--args", PROBE.args, "--expect", PROBE.expect or "",
        ]  # fmt: skip
        words += ["--broker", broker] if broker else []
        began = time.monotonic()
        done = _run(words, self._environment(stack), cwd=self._incident.folder)
        took = time.monotonic() - began
        seen = json.loads(done)
        if seen["verdict"] != "good":
            raise SystemExit(f"{stack}: {seen}")
        return Wait(took, seen["seconds"])

    def _environment(self, stack: str) -> dict[str, str]:
        home = self._folder / stack.replace("/", "-")
        own = {"BISECT_CELERY_HOME": str(home), "PYTHONPATH": str(ROOT)}
        return {**os.environ, **own, **({VOLUME: self._volumes[stack]} if stack in self._volumes else {})}

    def remove_volumes(self) -> None:
        for volume in self._volumes.values():
            subprocess.run(["docker", "volume", "rm", "--force", volume], capture_output=True, check=False)


def _run(words: Sequence[str], environment: Mapping[str, str], cwd: Path) -> str:
    done = subprocess.run(
        words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words[:6])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def first_verdicts(bench: Bench, stacks: Sequence[str], warm: int) -> dict[str, dict[str, float]]:
    cold = {}
    for stack in stacks:
        cold[stack] = bench.tried(stack)
        print(f"{stack:18}  cold  {cold[stack].verdict:6.1f} s to the verdict", flush=True)
    waits: dict[str, list[Wait]] = defaultdict(list)
    for _ in range(warm):
        for stack in stacks:  # in turn, so that what else the machine does meets all of them
            waits[stack].append(bench.tried(stack))
    rows = {}
    base = median(one.verdict for one in waits[stacks[0]])
    for stack in stacks:
        verdict, trial = median(one.verdict for one in waits[stack]), median(one.trial for one in waits[stack])
        rows[stack] = _row(cold_s=cold[stack].verdict, first_verdict_s=verdict, trial_s=trial, ratio=verdict / base)
        print(
            f"{stack:18}  warm  {verdict:6.2f} s to the verdict, {trial:.2f} s of it the trial; x{verdict / base:.2f}"
        )
    return rows


def _row(*, ratio: float, **seconds: float) -> dict[str, float]:
    return {**{name: round(value, 2) for name, value in seconds.items()}, "to_first": round(ratio, 2)}


# --- dependencies ---------------------------------------------------------------------------------------


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    into.append(time.monotonic() - began)


def by_uv(requirements: Path, folder: Path, cache: Path) -> None:
    """As `environment.build` does: resolve, make, install what was resolved, compile."""
    environment = {**os.environ, "UV_CACHE_DIR": str(cache)}
    uv = [sys.executable, "-m", "uv"]
    lock = folder.with_suffix(".txt")
    for words in (
        [*uv, "pip", "compile", "-q", str(requirements), "-o", str(lock)],
        [*uv, "venv", "-q", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "-q", "--no-deps", "--compile-bytecode", "--python", str(folder), "-r", str(lock)],
    ):
        _run(words, environment, requirements.parent)


def by_pip(requirements: Path, folder: Path, cache: Path) -> None:
    environment = {**os.environ, "PIP_CACHE_DIR": str(cache), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for words in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(requirements)],
    ):
        _run(words, environment, requirements.parent)


def environments(scratch: Path, requirements: Path) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, build in (("uv", by_uv), ("pip", by_pip)):
        for turn in ("cold", "warm"):
            with _timed(seconds[turn]):
                build(requirements, scratch / f"{name}-{turn}", scratch / f"{name}-cache")
    rows = {turn: {"uv_s": uv, "pip_s": pip, "uv_to_pip": uv / pip} for turn, (uv, pip) in seconds.items()}
    for turn, row in rows.items():
        print(f"environment, {turn}: uv {row['uv_s']:.1f} s, venv + pip {row['pip_s']:.1f} s; x{row['uv_to_pip']:.2f}")
    return {turn: {name: round(value, 2) for name, value in row.items()} for turn, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--stack", action="append", choices=STACKS)
    parser.add_argument("--no-environments", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bisect-celery-stacks-") as name:
        bench = Bench(Path(name))
        try:
            stacks = first_verdicts(bench, asked.stack or STACKS, asked.warm)
            built = {} if asked.no_environments else environments(Path(name), Path(name, "shop", "requirements.txt"))
        finally:
            bench.remove_volumes()
    print(json.dumps({"stacks": stacks, "environments": built, "load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
