"""Which suspects a commit holds, over any history: bit sets, and sums over them for every commit at once.

A commit *holds* a suspect that is itself or one of its ancestors: only then can that suspect's change be in its tree.
A set of suspects is an `int` whose bit k stands for `suspects[k]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate


class Ancestry:
    """The suspects and what lies between them. Immutable.

    `suspects` keeps the given order. Raises ValueError for an empty or doubled list of suspects and for a cycle.
    """

    def __init__(self, suspects: Sequence[str], parents: Mapping[str, Sequence[str]]) -> None:
        self.suspects = tuple(suspects)
        self.position = {commit: k for k, commit in enumerate(self.suspects)}
        if not self.suspects or len(self.position) != len(self.suspects):
            raise ValueError("suspects: at least one, and none twice")
        order = _parents_first(self.suspects, parents)
        self._held: dict[str, int] = {}
        # A commit's sum is that of its largest parent and what only the others and itself add: on a history with
        # merges of topic branches that is linear in the number of commits, on a straight one a running sum.
        self._steps: list[tuple[int, tuple[int, ...]]] = []
        places = {commit: k for k, commit in enumerate(order)}
        for commit in order:
            known = [parent for parent in parents.get(commit, ()) if parent in places]
            largest = max(known, key=lambda parent: self._held[parent].bit_count(), default=None)
            held = 1 << self.position[commit] if commit in self.position else 0
            for parent in known:
                held |= self._held[parent]
            self._held[commit] = held
            base = self._held[largest] if largest is not None else 0
            self._steps.append((-1 if largest is None else places[largest], tuple(members(held & ~base))))
        self._places = [places[commit] for commit in self.suspects]
        self._holders = self._turned_round(order, parents)
        straight = [(k - 1, 1) for k in range(len(order))]
        self._straight = [(base, len(more)) for base, more in self._steps] == straight
        self._line = [more[0] for _, more in self._steps] if self._straight else []

    def _turned_round(self, order: list[str], parents: Mapping[str, Sequence[str]]) -> list[int]:
        """For each suspect, the suspects that hold it."""
        holders = {commit: 0 for commit in order}
        for commit in reversed(order):
            if commit in self.position:
                holders[commit] |= 1 << self.position[commit]
            for parent in parents.get(commit, ()):
                if parent in holders:
                    holders[parent] |= holders[commit]
        return [holders[commit] for commit in self.suspects]

    @property
    def everything(self) -> int:
        return (1 << len(self.suspects)) - 1

    def held(self, commit: str) -> int:
        """The suspects that `commit` holds. KeyError if it is neither a suspect nor between suspects."""
        return self._held[commit]

    def sums(self, values: Sequence[float]) -> list[float]:
        """For each suspect, in their order, the sum of `values` (one per suspect) over all it holds."""
        if self._straight:
            line = list(accumulate([values[k] for k in self._line]))
            return [line[place] for place in self._places]
        sums: list[float] = []
        for base, more in self._steps:
            total = sums[base] if base >= 0 else 0.0
            for k in more:
                total += values[k]
            sums.append(total)
        return [sums[place] for place in self._places]

    def classes(self, tried: int) -> list[int]:
        """The suspects, divided as finely as trials of the suspects in `tried` can divide them."""
        parts: dict[int, int] = {}
        for k, holders in enumerate(self._holders):
            parts[holders & tried] = parts.get(holders & tried, 0) | 1 << k
        return list(parts.values())


def members(bits: int) -> Iterator[int]:
    """The positions of the bits that are set, rising."""
    digits = bin(bits)[:1:-1]
    at = digits.find("1")
    while at >= 0:
        yield at
        at = digits.find("1", at + 1)


def _parents_first(suspects: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Everything that a suspect descends from and that `parents` or `suspects` knows; parents before children."""
    known = parents.keys() | set(suspects)
    order: list[str] = []
    state: dict[str, bool] = {}  # False: being visited, True: in the order
    stack = list(reversed(suspects))
    while stack:
        commit = stack[-1]
        if commit not in state:
            state[commit] = False
            waiting = [parent for parent in parents.get(commit, ()) if parent in known and not state.get(parent)]
            if any(parent in state for parent in waiting):
                raise ValueError(f"a cycle in the history at {commit}")
            stack += reversed(waiting)
            continue
        if not state[commit]:
            state[commit] = True
            order.append(commit)
        stack.pop()
    return order
