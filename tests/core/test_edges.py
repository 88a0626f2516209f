"""Closures and orders over what atoms require."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core.edges import closure, dependents, transitive, turned, units

Edges = dict[int, frozenset[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    size = draw(st.integers(1, 9))
    atoms = st.integers(1, size)
    return {a: draw(st.frozensets(atoms, max_size=3)) for a in range(1, size + 1)}


def reach(start: int, edges: Edges) -> frozenset[int]:
    """By walking in every round over everything, as no sensible program would."""
    found = frozenset([start])
    for _ in edges:
        found = found.union(*(edges[a] for a in found))
    return found


@given(graphs())
def test_transitive_and_turned(edges: Edges) -> None:
    far = transitive(edges, edges)
    assert far == {a: reach(a, edges) - {a} for a in edges}
    assert turned(turned(far)) == far
    assert transitive(edges, turned(edges)) == turned(far)


@given(graphs(), st.data())
def test_what_is_left_after_leaving_is_closed(edges: Edges, data: st.DataObject) -> None:
    far = transitive(edges, edges)
    within = closure(data.draw(st.frozensets(st.sampled_from(sorted(edges)))), far)
    gone = data.draw(st.frozensets(st.sampled_from(sorted(edges))))
    left = within - dependents(gone, within, far)
    assert closure(left, far) == left
    assert not left & gone
    assert dependents(frozenset(), within, far) == frozenset()


@given(graphs(), st.randoms())
def test_every_prefix_is_closed(edges: Edges, random: Random) -> None:
    far = transitive(edges, edges)
    order = sorted(edges)
    random.shuffle(order)
    row = units(order, far)
    assert sorted(a for unit in row for a in unit) == sorted(edges)
    moved: frozenset[int] = frozenset()
    for unit in row:
        moved |= unit
        assert closure(moved, far) == moved
        assert all(unit - {a} <= far[a] for a in unit)


@given(st.permutations(range(1, 9)))
def test_an_order_without_edges_stays(order: list[int]) -> None:
    assert units(order, transitive(order)) == [frozenset([a]) for a in order]
