"""How many trials narrowing takes, against plain ddmin on the same commits in the same run.

Usage: python scripts/benchmarks/narrow.py [COMMITS_PER_ROW]

Trials, not seconds: a trial is a worker that boots, so the search's own time does not matter. A row is a kind
of commit: its number of atoms, how many of them break it together, how many of its dependencies are known to
the search (each atom needs another with probability 0.2; a set that lacks one is UNRESOLVED). "cause" counts
up to the minimal cause, as ddmin does; "all" also the proof of it and of the fix.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bisect_celery.core.isolate import Outcome, isolate

Atoms = frozenset[int]
Oracle = Callable[[Atoms], Outcome]
ROWS = [  # atoms, culprits, chance of a dependency, part of the dependencies that is known
    (8, 1, 0.0, 1.0), (16, 1, 0.0, 1.0), (32, 1, 0.0, 1.0), (60, 1, 0.0, 1.0), (60, 2, 0.0, 1.0),
    (16, 1, 0.2, 1.0), (60, 1, 0.2, 1.0), (60, 1, 0.2, 0.8), (60, 1, 0.2, 0.0), (60, 2, 0.2, 0.8),
]  # fmt: skip


def commit(
    size: int, culprits: int, chance: float, known: float, rng: random.Random
) -> tuple[Oracle, dict[int, Atoms]]:
    """An oracle, and the dependencies that the search is told."""
    order = rng.sample(range(1, size + 1), size)
    needs = {a: frozenset({rng.choice(order[:k])}) for k, a in enumerate(order) if k and rng.random() < chance}
    guilty = frozenset(rng.sample(order, culprits))

    def oracle(applied: Atoms) -> Outcome:
        if any(not needs[a] <= applied for a in applied & needs.keys()):
            return Outcome.UNRESOLVED
        return Outcome.FAIL if guilty <= applied else Outcome.PASS

    return oracle, {a: others for a, others in needs.items() if rng.random() < known}


def ours(size: int, oracle: Oracle, requires: Mapping[int, Atoms], slots: int) -> tuple[int, int, int]:
    """(questions until the final cause had been seen to fail, questions, rounds)."""
    search = isolate(range(1, size + 1), requires, slots=slots)
    rounds = 0
    try:
        batch = next(search)
        while True:
            rounds += 1
            batch = search.send([oracle(question.applied) for question in batch])
    except StopIteration as end:
        result = end.value
    sets = [applied for applied, _ in result.outcomes]
    found = sets.index(result.cause) + 1 if result.cause in sets else 0
    return found, result.asked, rounds


def ddmin(size: int, oracle: Oracle) -> int:
    """Zeller and Hildebrandt's algorithm of 2002, memoised, ends free: the number of tests it takes."""
    seen = {frozenset[int](): Outcome.PASS, frozenset(range(1, size + 1)): Outcome.FAIL}
    free = len(seen)

    def fails(atoms: Atoms) -> bool:
        if atoms not in seen:
            seen[atoms] = oracle(atoms)
        return seen[atoms] is Outcome.FAIL

    left, parts = list(range(1, size + 1)), 2
    while len(left) > 1:
        chunks = [frozenset(left[k * len(left) // parts : (k + 1) * len(left) // parts]) for k in range(parts)]
        subset = next((chunk for chunk in chunks if fails(chunk)), None)
        rest = None if subset else next((chunk for chunk in chunks if fails(frozenset(left) - chunk)), None)
        if subset:
            left, parts = sorted(subset), 2
        elif rest:
            left, parts = sorted(frozenset(left) - rest), max(parts - 1, 2)
        elif parts < len(left):
            parts = min(2 * parts, len(left))
        else:
            break
    return len(seen) - free


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{count} random commits a row; trials one after the other, and rounds of four at a time")
    print("atoms guilty needs known   cause     all   p95  rounds   ddmin  ratio")
    for row in ROWS:
        rng = random.Random(repr(row))
        made = [commit(*row, rng) for _ in range(count)]
        single = [ours(row[0], oracle, requires, 1) for oracle, requires in made]
        four = [ours(row[0], oracle, requires, 4)[2] for oracle, requires in made]
        plain = mean(ddmin(row[0], oracle) for oracle, _ in made)
        found, asked = mean(s[0] for s in single), [s[1] for s in single]
        p95 = quantiles(asked, n=20)[-1]
        print(
            f"{row[0]:5} {row[1]:6} {row[2]:5.1f} {row[3]:5.1f} {found:7.1f} {mean(asked):7.1f} {p95:5.0f}"
            f" {mean(four):7.1f} {plain:7.1f} {mean(asked) / plain:6.2f}"
        )


if __name__ == "__main__":
    main()
