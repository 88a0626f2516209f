"""Which atoms drag which along: closures and orders over `requires`.

`edges[a]` are the atoms that must be moved whenever `a` is. Seen from the parent, moving is applying; seen
from the culprit, moving is removing, and the edges are those of the parent's side turned round. Trying
closed subsets only is the evidenced win at every size above a handful (Why Programs Fail, ch. 13: on a build
error add the changes that the message's identifiers name).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Edges = Mapping[int, frozenset[int]]


def transitive(atoms: Iterable[int], *sources: Edges) -> dict[int, frozenset[int]]:
    """Everything each atom drags along, itself left out, by all `sources` together, within `atoms`."""
    inside = frozenset(atoms)
    direct = {a: frozenset().union(*(edges.get(a, ()) for edges in sources)) & inside - {a} for a in inside}
    return {a: frozenset(_reach(a, direct)) - {a} for a in inside}


def _reach(start: int, direct: Edges) -> set[int]:
    reached, todo = {start}, [start]
    while todo:
        for other in direct[todo.pop()]:
            if other not in reached:
                reached.add(other)
                todo.append(other)
    return reached


def turned(edges: Edges) -> dict[int, frozenset[int]]:
    """The same edges seen from the other end: whatever requires an atom must go when it goes."""
    back: dict[int, set[int]] = {a: set() for a in edges}
    for a, others in edges.items():
        for b in others:
            back.setdefault(b, set()).add(a)
    return {a: frozenset(others) for a, others in back.items()}


def closure(atoms: Iterable[int], edges: Edges) -> frozenset[int]:
    """`atoms` and all that they drag along; `edges` must be transitive."""
    chosen = frozenset(atoms)
    return chosen.union(*(edges[a] for a in chosen))


def dependents(gone: Iterable[int], within: frozenset[int], edges: Edges) -> frozenset[int]:
    """What leaves `within` when `gone` leaves it and the rest is to stay closed under transitive `edges`."""
    lost = frozenset(gone)
    return within & (lost | {a for a in within if edges[a] & lost})


def units(order: Sequence[int], edges: Edges) -> list[frozenset[int]]:
    """`order` as a list of inseparable groups, what is dragged along just before what drags it.

    Every prefix of the list is closed under transitive `edges`. Atoms that drag each other along make one
    unit. Otherwise the order stays: of 1,142 prefixes of Celery commits in the order of the diff 10 % are
    statically broken, in the reverse order 32 %, shuffled 43 %, with definitions moved before mentions 13 %.
    """
    placed: set[int] = set()
    result: list[frozenset[int]] = []
    rank = {atom: k for k, atom in enumerate(order)}
    for atom in order:
        # What requires more than another cannot be required by it: counting sorts dependencies first.
        for needed in sorted(edges[atom] | {atom}, key=lambda a: (len(edges[a]), rank[a])):
            if needed not in placed:
                unit = frozenset(a for a in edges[needed] if needed in edges[a]) | {needed}
                placed |= unit
                result.append(unit)
    return result
