"""The search for a cause and a fix, against oracles that know the truth and hand it out one set at a time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from commits import Oracle, Trials, drive
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core.edges import transitive
from bisect_celery.core.isolate import Isolation, Outcome, Question, Static, isolate, moot, spell

Atoms = frozenset[int]
PASS, FAIL, UNRESOLVED = Outcome.PASS, Outcome.FAIL, Outcome.UNRESOLVED


def search(
    oracle: Oracle, size: int, requires: Mapping[int, Atoms] | None = None, cancel: bool = False, **options: Any
) -> tuple[Isolation, Trials]:
    atoms = range(1, size + 1)
    trials = Trials(oracle, frozenset(atoms), options.get("slots", 1), cancel)
    return drive(isolate(atoms, requires or {}, **options), trials), trials


def breaks(*causes: Iterable[int]) -> Oracle:
    """Fails as soon as one of `causes` is applied whole."""
    sets = [frozenset(cause) for cause in causes]
    return lambda applied: FAIL if any(cause <= applied for cause in sets) else PASS


def poisoned(oracle: Oracle, hidden: Mapping[int, Atoms]) -> Oracle:
    """UNRESOLVED whenever an atom lacks one that it depends on; the worst that dependencies can do."""
    return lambda applied: (
        UNRESOLVED if any(not hidden.get(a, frozenset()) <= applied for a in applied) else oracle(applied)
    )


def check(result: Isolation, trials: Trials) -> None:
    """Nothing is claimed that was not seen, and what is claimed minimal is."""
    everything = trials.everything
    seen = {**trials.outcomes, frozenset[int](): PASS, everything: FAIL}
    assert result.asked == len(trials.outcomes)
    assert dict(result.outcomes) == trials.outcomes
    assert result.cause
    assert result.fix
    assert seen[result.cause] is FAIL
    assert seen[everything - result.fix] is PASS
    assert result.cause_proven == (result.cause in trials.outcomes or len(everything) == 1)
    assert result.fix_proven == (everything - result.fix in trials.outcomes or len(everything) == 1)
    less = {a: seen.get(result.cause - {a}) for a in result.cause}
    more = {a: seen.get(everything - result.fix | {a}) for a in result.fix}
    if result.pruned == 0:
        assert result.cause_minimal == (FAIL not in less.values() and None not in less.values())
        assert result.fix_minimal == (PASS not in more.values() and None not in more.values())
        assert result.needed == {a for a in less if less[a] is UNRESOLVED}
    good, bad = result.pair
    assert good < bad
    assert (seen[good], seen[bad]) == (PASS, FAIL)
    assert result.interval == bad - good


@dataclass(frozen=True)
class Graph:
    """Dependencies among atoms."""

    edges: dict[int, Atoms]

    @classmethod
    def random(cls, size: int, chance: float, rng: random.Random) -> Graph:
        order = list(range(1, size + 1))
        rng.shuffle(order)
        return cls({a: frozenset(b for b in order[:k] if rng.random() < chance) for k, a in enumerate(order)})


def closed(atoms: Iterable[int], edges: Mapping[int, Atoms]) -> Atoms:
    chosen = frozenset(atoms)
    reach = transitive(edges, edges)
    return chosen.union(*(reach[a] for a in chosen))


# --- small commits, all of them ----------------------------------------------------------------------

SMALL = [(size, slots) for size in range(1, 7) for slots in (1, 2, 4)]


@pytest.mark.parametrize(("size", "slots"), SMALL)
def test_one_atom_is_found(size: int, slots: int) -> None:
    for guilty in range(1, size + 1):
        result, trials = search(breaks([guilty]), size, slots=slots)
        check(result, trials)
        assert result.cause == result.fix == {guilty}
        assert result.cause_minimal
        assert result.fix_minimal
        assert not result.caveats


@pytest.mark.parametrize(("size", "slots"), SMALL[3:])
def test_a_conjunction_is_found_and_either_half_cures(size: int, slots: int) -> None:
    for pair in itertools.combinations(range(1, size + 1), 2):
        result, trials = search(breaks(pair), size, slots=slots)
        check(result, trials)
        assert result.cause == set(pair)
        assert len(result.fix) == 1
        assert result.fix < set(pair)
        assert result.cause_minimal
        assert result.fix_minimal
        assert not result.needed
        assert not result.caveats


@pytest.mark.parametrize(("size", "slots"), SMALL[3:])
def test_a_disjunction_is_found_and_only_both_cure(size: int, slots: int) -> None:
    for one, two in itertools.combinations(range(1, size + 1), 2):
        result, trials = search(breaks([one], [two]), size, slots=slots)
        check(result, trials)
        assert result.cause in ({one}, {two})
        assert result.fix == {one, two}
        assert result.cause_minimal
        assert result.fix_minimal
        assert any("something else" in caveat for caveat in result.caveats)


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_every_monotone_pair_of_causes_ends_minimal(size: int, slots: int) -> None:
    """Two causes of up to two atoms, overlapping or not."""
    sets = [frozenset(c) for n in (1, 2) for c in itertools.combinations(range(1, size + 1), n)]
    for one, two in itertools.combinations(sets, 2):
        result, trials = search(breaks(one, two), size, slots=slots)
        check(result, trials)
        assert result.cause in (one, two)
        assert result.cause_minimal
        assert result.fix_minimal
        assert result.fix & one
        assert result.fix & two


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_dependencies_known_or_hidden(size: int, known: bool) -> None:
    """Any DAG, any single atom or pair guilty: the cause is the guilty atoms with what they cannot do without."""
    rng = random.Random(size)
    for _ in range(60):
        graph = Graph.random(size, rng.choice((0.2, 0.5)), rng)
        guilty = frozenset(rng.sample(range(1, size + 1), rng.choice((1, 2))))
        oracle = poisoned(breaks(guilty), graph.edges)
        result, trials = search(oracle, size, graph.edges if known else None, slots=rng.choice((1, 2, 4)))
        check(result, trials)
        assert result.cause_minimal
        assert result.fix_minimal
        assert guilty <= result.cause
        if known:
            assert result.cause == closed(guilty, graph.edges)


# --- larger commits, at random -----------------------------------------------------------------------


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, Oracle, dict[int, Atoms], dict[str, Any]]:
    """A commit with hidden dependencies of which some are known, up to three causes, and settings."""
    size = draw(st.integers(1, 24))
    atoms = st.integers(1, size)
    causes = draw(st.lists(st.frozensets(atoms, min_size=1, max_size=3), min_size=1, max_size=3))
    rng = random.Random(draw(st.integers(0, 2**32)))
    graph = Graph.random(size, draw(st.sampled_from((0.0, 0.03, 0.1))), rng)
    known = {a: frozenset(b for b in others if rng.random() < 0.8) for a, others in graph.edges.items()}
    options: dict[str, Any] = {
        "slots": draw(st.integers(1, 5)),
        "fail_cost": draw(st.sampled_from((1.0, 6.0))),
        "pass_cost": draw(st.sampled_from((1.0, 3.0))),
        "groups": {a: f"file{a // 4}" for a in range(1, size + 1)},
    }
    return size, poisoned(breaks(*causes), graph.edges), known, options


@settings(max_examples=300, deadline=None)
@given(worlds(), st.booleans())
def test_monotone_worlds_with_hidden_dependencies(
    world: tuple[int, Oracle, dict[int, Atoms], dict[str, Any]], cancel: bool
) -> None:
    size, oracle, known, options = world
    result, trials = search(oracle, size, known, cancel=cancel, **options)
    check(result, trials)
    assert result.cause_minimal
    assert result.fix_minimal
    assert len(trials.questions) <= size * size + 6 * size


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from((0.0, 0.3, 0.8)))
def test_lawless_worlds(size: int, slots: int, seed: int, unresolved: float) -> None:
    """Outcomes at random, each set's own: the search ends, asks each set once, and claims what it saw."""
    rng = random.Random(seed)
    table: dict[Atoms, Outcome] = {}

    def oracle(applied: Atoms) -> Outcome:
        roll = UNRESOLVED if rng.random() < unresolved else rng.choice((PASS, FAIL))
        return table.setdefault(applied, roll)

    result, trials = search(oracle, size, slots=slots)
    check(result, trials)
    assert result.cause_minimal
    assert result.fix_minimal


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 20))
def test_a_budget_is_kept_and_what_is_left_unproven_is_said(
    world: tuple[int, Oracle, dict[int, Atoms], dict[str, Any]], budget: int
) -> None:
    size, oracle, known, options = world
    result, trials = search(oracle, size, known, budget=budget, **options)
    check(result, trials)
    assert result.asked <= budget
    assert bool(result.caveats) or (result.cause_minimal and result.fix_minimal)
    if not result.cause_minimal:
        assert any("may not be minimal" in caveat for caveat in result.caveats)


def test_time_that_is_up_ends_the_search_with_what_there_is() -> None:
    class Clock(Trials):
        def answer(self, batch: Sequence[Question]) -> tuple[Outcome | None, ...]:
            return super().answer(batch) if self.rounds < 2 else (None,) * len(batch)

    trials = Clock(breaks([9]), frozenset(range(1, 31)), slots=2)
    result = drive(isolate(range(1, 31), {}, slots=2), trials)
    check(result, trials)
    assert result.asked == 4
    assert 9 in result.cause
    assert len(result.cause) < 30
    assert not result.cause_minimal
    assert "the search was cut short" in result.caveats


# --- static knowledge, hints, costs ------------------------------------------------------------------


def test_sets_that_are_no_program_are_never_asked() -> None:
    def static(applied: Atoms) -> Static:
        return Static.INVALID if len(applied & {4, 5, 6}) % 3 else Static.CLEAN

    for guilty in range(1, 13):
        trials = Trials(breaks([guilty]), frozenset(range(1, 13)))
        result = drive(isolate(range(1, 13), {}, static=static), trials)
        assert all(static(question.applied) is not Static.INVALID for question in trials.questions)
        assert result.cause == ({4, 5, 6} if guilty in (4, 5, 6) else {guilty})
        assert result.needed == (result.cause if guilty in (4, 5, 6) else set())
        assert result.fix == result.cause
        assert result.cause_minimal
        assert bool(result.pruned) == (guilty in (4, 5, 6))


def test_a_doubtful_cut_is_put_off_for_a_clean_one_nearby() -> None:
    def static(applied: Atoms) -> Static:
        return Static.DOUBTFUL if 15 <= len(applied) <= 16 else Static.CLEAN

    first = next(isolate(range(1, 33), {}, static=static))
    assert [len(question.applied) for question in first] in ([14], [17])


def test_cuts_fall_between_files() -> None:
    groups = {a: "one.py" if a <= 14 else "two.py" for a in range(1, 33)}
    (first,) = next(isolate(range(1, 33), {}, groups=groups))
    assert first.applied == frozenset(range(1, 15))


def test_a_likely_atom_is_reached_sooner() -> None:
    likely, plain = (search(breaks([23]), 60, weights=weights)[0].asked for weights in ({23: 200.0}, {}))
    assert likely < plain


def test_a_dependency_that_came_along_does_not_hide_the_culprit() -> None:
    """Atom 9 is said to require 2, 3 and 4, and does not: quilt-bisect's trap, and the other way round."""
    for guilty in (9, 3):
        result, trials = search(breaks([guilty]), 12, {9: frozenset({2, 3, 4})})
        check(result, trials)
        assert result.cause == {guilty}


def test_atoms_that_only_go_together_are_left_out_together() -> None:
    """9 is said to require 1 to 4 and only needs 1; 2 and 3 are no program without each other."""

    def static(applied: Atoms) -> Static:
        return Static.INVALID if len(applied & {2, 3}) == 1 else Static.CLEAN

    oracle = poisoned(breaks([9]), {9: frozenset({1})})
    needs = {9: frozenset({1, 2, 3, 4}), 2: frozenset({3}), 3: frozenset({2})}
    result, _ = search(oracle, 12, needs, static=static)
    assert result.cause == {1, 9}
    assert result.needed == {1}
    assert result.cause_minimal


def test_many_dependencies_that_came_along_go_in_few_questions() -> None:
    """40 is said to require sixteen others and only needs one of them."""
    along = frozenset(range(3, 35, 2))
    for needed in along:
        oracle = poisoned(breaks([40]), {40: frozenset({needed})})
        result, _ = search(oracle, 60, {40: along})
        assert result.cause == {needed, 40}
        assert result.asked <= 26


def test_exactly_the_cause_is_taken_back_where_its_dependents_do_not_let_it() -> None:
    """30 is said to require 9, and the culprit without both does not start."""

    def oracle(applied: Atoms) -> Outcome:
        return UNRESOLVED if 30 not in applied and len(applied) > 20 and 9 not in applied else breaks([9])(applied)

    result, trials = search(oracle, 40, {30: frozenset({9})})
    check(result, trials)
    assert result.fix == {9}
    assert result.asked <= 10


def test_of_a_small_budget_one_question_is_kept_for_the_culprit_without_the_cause() -> None:
    for budget in (2, 3, 5):
        result, trials = search(breaks([23]), 60, budget=budget)
        assert result.asked == budget
        assert trials.questions[-1].applied == trials.everything - result.cause
        assert result.fix == result.cause
        assert result.fix_proven


def test_dear_failures_are_cut_early() -> None:
    def price(fail_cost: float) -> float:
        total = 0.0
        for guilty in range(1, 61):
            _, trials = search(breaks([guilty]), 60, fail_cost=fail_cost, pass_cost=10.0)
            total += sum(60.0 if outcome is FAIL else 10.0 for outcome in trials.outcomes.values())
        return total / 60

    aware, unaware = price(60.0), price(10.0)
    assert aware < 0.9 * unaware
    (first,) = next(isolate(range(1, 61), {}, fail_cost=60.0, pass_cost=10.0))
    assert 13 <= len(first.applied) <= 16  # all equally good; test_cuts.py proves that nothing is better


def test_masking_is_said() -> None:
    """Atom 2 breaks, atom 5 hides it again, atom 7 breaks for good."""

    def oracle(applied: Atoms) -> Outcome:
        return FAIL if 7 in applied or (2 in applied and 5 not in applied) else PASS

    result, trials = search(oracle, 8, slots=2)
    check(result, trials)
    assert result.cause in ({7}, {2})


def test_cancelled_cuts_are_not_counted_and_not_needed() -> None:
    for guilty in range(1, 61):
        result, trials = search(breaks([guilty]), 60, slots=4, cancel=True)
        check(result, trials)
        assert result.cause == result.fix == {guilty}


def test_moot() -> None:
    cut = [Question(frozenset(range(n)), "", cut=True) for n in (2, 4, 6)]
    assert moot(cut[0], [(cut[1], PASS)])
    assert not moot(cut[2], [(cut[1], PASS)])
    assert moot(cut[2], [(cut[1], FAIL)])
    assert not moot(cut[0], [(cut[1], FAIL)])
    assert not moot(cut[0], [(cut[1], UNRESOLVED)])
    assert not moot(Question(frozenset({0}), ""), [(cut[1], PASS)])


def test_what_people_read() -> None:
    assert spell({7}) == "atom 7"
    assert spell({4, 1, 2, 3, 9}) == "atoms 1-4, 9"
    (first,) = next(isolate(range(1, 14), {}))
    assert first.why == "atoms 1-7 of 13 on the parent"


@pytest.mark.parametrize(("atoms", "slots"), [((), 1), ((1,), 0)])
def test_nonsense_is_refused(atoms: tuple[int, ...], slots: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(isolate(atoms, {}, slots=slots))


def test_answers_must_match_the_batch() -> None:
    running = isolate(range(1, 9), {}, slots=2)
    next(running)
    with pytest.raises(ValueError, match="2 questions"):
        running.send((PASS,))


# --- how many trials ---------------------------------------------------------------------------------

# research/delta-debugging.md, "Tests vs n", by simulation there: (size, one culprit, a pair). The culprit
# without the cause is one more here, and for a pair the two leave-one-outs and one half of the fix.
TABLE = [(8, 3.9, None), (16, 4.9, None), (32, 6.0, None), (60, 6.9, 13.1)]


@pytest.mark.parametrize(("size", "single", "pair"), TABLE)
def test_trials_against_the_table(size: int, single: float, pair: float | None) -> None:
    counts = [search(breaks([guilty]), size)[0].asked for guilty in range(1, size + 1)]
    assert sum(counts) / len(counts) <= 1.2 * (single + 1)
    if pair is not None:
        rng = random.Random(1)
        counts = [search(breaks(rng.sample(range(1, size + 1), 2)), size)[0].asked for _ in range(100)]
        assert sum(counts) / len(counts) <= 1.2 * (pair + 3)


def test_three_that_only_break_together_cost_three_searches() -> None:
    rng = random.Random(3)
    counts = [search(breaks(rng.sample(range(1, 61), 3)), 60)[0].asked for _ in range(100)]
    assert sum(counts) / len(counts) <= 23.5  # 23.9 when what is singled out is forgotten


def test_a_fix_that_is_more_than_the_cause_is_sought_from_the_end_of_the_diff() -> None:
    """So that what stays is a beginning of the diff, which later parts of a commit seldom break."""
    _, trials = search(breaks([10], [50]), 60)
    whole = frozenset(range(1, 61))
    fixes = [question for question in trials.questions if question.why.startswith("culprit without")]
    assert fixes[0].applied == whole - {10}
    cut = [question.applied for question in fixes if question.cut]
    assert len(cut) > 3
    assert all(applied == frozenset(range(1, max(applied) + 1)) - {10} for applied in cut)


@pytest.mark.parametrize(("size", "rounds"), [(8, 2.6), (16, 2.9), (32, 3.4), (60, 4.0)])
def test_rounds_of_four_against_the_table(size: int, rounds: float) -> None:
    counts = [search(breaks([guilty]), size, slots=4)[1].rounds for guilty in range(1, size + 1)]
    assert sum(counts) / len(counts) <= 1.2 * rounds


@pytest.mark.parametrize(("known", "limit"), [(1.0, 7.4), (0.8, 36.0), (0.0, 97.0)])
def test_trials_with_dependencies_against_the_table(known: float, limit: float) -> None:
    """n = 60, each atom needing another with p = 0.2; the table counts the cause alone."""
    rng, counts = random.Random(2), []
    for _ in range(60):
        order = rng.sample(range(1, 61), 60)
        edges = {a: frozenset({rng.choice(order[:k])}) for k, a in enumerate(order) if k and rng.random() < 0.2}
        told = {a: others for a, others in edges.items() if rng.random() < known}
        counts.append(search(poisoned(breaks([rng.randint(1, 60)]), edges), 60, told)[0].asked)
    assert sum(counts) / len(counts) <= 1.2 * (limit + 2)
