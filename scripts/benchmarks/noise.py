"""How many starts, and how often right, when trials are noisy: our belief search beside git_bayesect's.

Usage: scripts/benchmark noise [--histories N] [--only ROW | --rates BAD/GOOD...]

A row is a pair of failure rates (bad, good); a history has 128 commits, of which a random one is the culprit. Both
searches stop at 95 % and see the same draws: the k-th start at a commit of a history has one outcome, whoever asks for
it. Neither is told the rates. Ours begins as the tool does, with starts at both ends, which are counted: BAD until it
fails once (or 14 times, which exclude 20 %), GOOD as often. git_bayesect gets GOOD as one more commit, as in its own
`start --old`. The last line is the table as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from git_bayesect import Bisector

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bisect_celery.core.belief import UNDECIDED, Belief
from bisect_celery.core.rates import starts_to_exclude

COMMITS = 128
CONFIDENCE = 0.95
MOST_STARTS = 3000
ROWS = [(1.0, 0.0), (1.0, 0.05), (0.9, 0.1), (0.8, 0.2), (0.5, 0.0), (0.3, 0.0)]
GOOD, BAD = -1, COMMITS - 1
NAMES = {k: f"c{k}" for k in range(COMMITS)} | {GOOD: "good"}
NUMBERS = {name: k for k, name in NAMES.items()}
UNTOLD = Belief(
    [NAMES[k] for k in range(COMMITS)], {NAMES[k]: [NAMES[k - 1]] for k in range(COMMITS)}, good=NAMES[GOOD]
)


class History:
    """A culprit, and the outcome of every start that may ever be asked for."""

    def __init__(self, rates: tuple[float, float], number: int) -> None:
        self._bad, self._good = rates
        self._name = f"{rates} {number}"
        self.culprit = random.Random(self._name).randrange(COMMITS)
        self._starts: dict[int, int] = {}

    def fails(self, commit: int) -> bool:
        """The next start at a commit."""
        start = self._starts[commit] = self._starts.get(commit, 0) + 1
        rate = self._bad if commit >= self.culprit else self._good
        return random.Random(f"{self._name} {commit} {start}").random() < rate


@dataclass(frozen=True)
class Search:
    """What one search of one history took, and whether it named the culprit."""

    starts: int
    right: bool


def ours(history: History) -> Search:
    belief, tried = UNTOLD, 0
    most = starts_to_exclude(0.2)
    while belief.starts[0] == 0 and tried < most:
        belief, tried = belief.tell_bad(history.fails(BAD)), tried + 1
    for _ in range(tried):
        belief = belief.tell_good(history.fails(GOOD))
    answer = belief.settled(CONFIDENCE)
    while answer is UNDECIDED and belief.starts[1] < MOST_STARTS:
        for commit in belief.ask():
            belief = belief.tell(commit, history.fails(NUMBERS[commit]))
        answer = belief.settled(CONFIDENCE)
    return Search(belief.starts[1], answer == NAMES[history.culprit])


def bayesect(history: History) -> Search:
    """Its commits are numbered from the newest."""
    bisector, starts = Bisector([1.0] * (COMMITS + 1)), 0
    while bisector.distribution.max() < CONFIDENCE and starts < MOST_STARTS:
        asked = bisector.select()
        bisector.record(asked, history.fails(BAD - asked))
        starts += 1
    return Search(starts, bool(BAD - int(bisector.distribution.argmax()) == history.culprit))


@dataclass(frozen=True)
class Measured:
    """Means and their standard errors."""

    runs: float
    runs_error: float
    accuracy: float
    accuracy_error: float

    def __str__(self) -> str:
        return f"{self.runs:6.1f} ±{self.runs_error:4.1f}  {self.accuracy:6.1%} ±{self.accuracy_error:5.1%}"


def measured(searches: list[Search]) -> Measured:
    count, starts, right = len(searches), [s.starts for s in searches], mean(s.right for s in searches)
    return Measured(mean(starts), stdev(starts) / sqrt(count), right, sqrt(right * (1 - right) / count))


def row(pair: tuple[float, float], histories: int) -> dict[str, object]:
    def every(search: Callable[[History], Search]) -> Measured:
        return measured([search(History(pair, number)) for number in range(histories)])

    mine, theirs = every(ours), every(bayesect)
    behind = [
        what
        for what, worse, error in (
            ("runs", mine.runs - theirs.runs, sqrt(mine.runs_error**2 + theirs.runs_error**2)),
            (
                "accuracy",
                theirs.accuracy - mine.accuracy,
                sqrt(mine.accuracy_error**2 + theirs.accuracy_error**2),
            ),
        )
        if worse > 2 * error
    ]
    print(
        f"{pair[0]:4}/{pair[1]:<4}  {mine}   {theirs}  {'behind in ' + ' and '.join(behind) if behind else ''}",
        flush=True,
    )
    return {
        "rates": list(pair),
        "ours_runs": round(mine.runs, 2),
        "ours_accuracy": round(mine.accuracy, 4),
        "bayesect_runs": round(theirs.runs, 2),
        "bayesect_accuracy": round(theirs.accuracy, 4),
    }


def rates(typed: str) -> tuple[float, float]:
    bad, _, good = typed.partition("/")
    return float(bad), float(good)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts/benchmark noise", description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--histories", type=int, default=1000, help="per row (default: 1000; at least 2)")
    arguments.add_argument("--only", type=int, help="one row, counted from 0")
    arguments.add_argument("--rates", nargs="+", type=rates, metavar="BAD/GOOD", help="rows of these rates instead")
    chosen = arguments.parse_args()
    print(f"{COMMITS} commits, {chosen.histories} histories a row, stop at {CONFIDENCE:.0%}; ± one standard error")
    print("rates      ours: starts      right           git_bayesect: starts  right")
    rows = chosen.rates or (ROWS if chosen.only is None else [ROWS[chosen.only]])
    print(json.dumps([row(pair, chosen.histories) for pair in rows]))


if __name__ == "__main__":
    main()
