"""The belief search: plain Bayes on any small history, no order in the evidence, bisection where nothing is noisy."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisect_celery.core.ancestry import Ancestry, members
from bisect_celery.core.belief import DEFAULT_RATES, NO_CULPRIT, UNDECIDED, Belief
from bisect_celery.core.rates import Rates

Parents = Mapping[str, tuple[str, ...]]
Start = tuple[str, bool]
SURE = Rates(never=1.0, always=1.0)


@st.composite
def histories(draw: st.DrawFn, most: int = 7) -> Parents:
    """Parents by commit, in an order that need not be theirs; some have one outside, as GOOD is."""
    count = draw(st.integers(1, most))
    names = [f"c{k}" for k in range(count)]
    parents = {}
    for k, name in enumerate(names):
        mine = draw(st.lists(st.sampled_from(names[:k]), max_size=3, unique=True)) if k else []
        parents[name] = (*mine, "good") if draw(st.booleans()) else tuple(mine)
    return dict(draw(st.permutations(list(parents.items()))))


@st.composite
def evidence(draw: st.DrawFn) -> tuple[Parents, list[Start]]:
    parents = draw(histories())
    commits = st.sampled_from([*parents, "good"])
    return parents, draw(st.lists(st.tuples(commits, st.booleans()), max_size=8))


def line(count: int) -> tuple[list[str], dict[str, list[str]]]:
    names = [f"c{k}" for k in range(count)]
    return names, {name: [before] for before, name in itertools.pairwise(names)}


def told(belief: Belief, starts: list[Start]) -> Belief:
    for commit, failed in starts:
        belief = belief.tell(commit, failed)
    return belief


def ancestors(commit: str, parents: Parents) -> set[str]:
    """The commit and all before it, by the plainest means."""
    return {commit}.union(*(ancestors(parent, parents) for parent in parents.get(commit, ())))


def plain_bayes(parents: Parents, starts: list[Start], rates: Rates, none: float) -> dict[str | None, float]:
    """By the definition: every culprit, its starts sorted into those with and without it."""
    weights: dict[str | None, float] = {}
    for culprit in parents:
        counts = {True: [0, 0], False: [0, 0]}
        for commit, failed in starts:
            counts[culprit in ancestors(commit, parents)][not failed] += 1
        like = rates.likelihood((counts[False][0], counts[False][1]), (counts[True][0], counts[True][1]))
        weights[culprit] = (1 - none) / len(parents) * math.exp(like.log)
    failures = sum(failed for _, failed in starts)
    weights[None] = none * math.exp(rates.alone((failures, len(starts) - failures)).log)
    whole = sum(weights.values())
    return {culprit: weight / whole for culprit, weight in weights.items()}


def entropy(posterior: Mapping[str | None, float]) -> float:
    return -sum(p * math.log2(p) for p in posterior.values() if p > 0)


@given(evidence())
@settings(deadline=None, max_examples=30)
def test_it_is_bayes_over_any_history(case: tuple[Parents, list[Start]]) -> None:
    parents, starts = case
    belief = told(Belief(list(parents), parents, good="good"), starts)
    posterior = belief.posterior()
    assert sum(posterior.values()) == pytest.approx(1)
    assert posterior == pytest.approx(plain_bayes(parents, starts, DEFAULT_RATES, NO_CULPRIT))
    assert belief.entropy() == pytest.approx(entropy(posterior))
    assert belief.starts == (sum(failed for _, failed in starts), len(starts))
    assert [p for _, p in belief.ranking()] == sorted(posterior.values(), reverse=True)


@given(evidence(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_evidence_says_nothing(case: tuple[Parents, list[Start]], rng: random.Random) -> None:
    parents, starts = case
    mixed = rng.sample(starts, len(starts))
    belief = Belief(list(parents), parents, good="good")
    assert told(belief, starts).posterior() == told(belief, mixed).posterior()
    assert told(belief, starts).ask() == told(belief, mixed).ask()


@given(evidence(), st.data())
@settings(deadline=None, max_examples=30)
def test_the_commit_that_is_asked_leaves_the_least_entropy_to_be_expected(
    case: tuple[Parents, list[Start]], data: st.DataObject
) -> None:
    parents, starts = case
    belief = told(Belief(list(parents), parents, good="good"), starts)
    waiting = data.draw(st.lists(st.sampled_from([*parents, "good"]), max_size=2))
    futures = [(1.0, belief)]
    for commit in waiting:
        futures = _outcomes(futures, commit)
    left = {
        commit: sum(chance * b.entropy() for chance, b in _outcomes(futures, commit)) for commit in [*parents, "good"]
    }
    asked = belief.ask(pending=waiting)
    now = sum(chance * b.entropy() for chance, b in futures)
    if asked:
        assert left[asked[0]] == pytest.approx(min(left.values()), abs=1e-9)
    else:
        assert min(left.values()) == pytest.approx(now, abs=1e-9)


def _outcomes(futures: list[tuple[float, Belief]], commit: str) -> list[tuple[float, Belief]]:
    """Both outcomes of a start, with their chances: the mean over the culprits of what each predicts."""
    after = []
    for chance, belief in futures:
        failing, passing = belief.tell(commit, True), belief.tell(commit, False)
        odds = _evidence(failing) / (_evidence(failing) + _evidence(passing))
        after += [(chance * odds, failing), (chance * (1 - odds), passing)]
    return after


def _evidence(belief: Belief) -> float:
    return math.exp(belief._evidence)


@pytest.mark.parametrize("count", [2, 3, 16, 100, 128, 1000])
def test_without_noise_it_is_bisection(count: int) -> None:
    names, parents = line(count)
    for culprit in {0, 1, count // 3, count - 1}:
        belief = Belief(names, parents, none=0.0, rates=SURE)
        while belief.settled() is UNDECIDED:
            (asked,) = belief.ask()
            belief = belief.tell(asked, failed=int(asked[1:]) >= culprit)
        assert belief.settled() == names[culprit]
        assert belief.starts[1] <= math.ceil(math.log2(count))


@pytest.mark.parametrize(("slots", "rounds"), [(1, 7), (3, 4)])
def test_more_slots_take_fewer_rounds(slots: int, rounds: int) -> None:
    names, parents = line(128)
    for culprit in range(0, 128, 25):
        belief, taken = Belief(names, parents, none=0.0, rates=SURE), 0
        while belief.settled() is UNDECIDED:
            taken += 1
            for asked in belief.ask(slots):
                belief = belief.tell(asked, failed=int(asked[1:]) >= culprit)
        assert taken <= rounds


def test_what_runs_is_not_asked_again_where_one_answer_is_enough() -> None:
    names, parents = line(64)
    belief = Belief(names, parents, none=0.0, rates=SURE)
    (first,) = belief.ask()
    assert belief.ask(2, pending=[first]) == belief.ask(3)[1:]
    assert len(set(belief.ask(3))) == 3


def test_a_pass_on_one_side_of_a_merge_says_nothing_of_the_other() -> None:
    parents = {"left": ["good"], "right": ["good"], "merge": ["left", "right"]}
    belief = Belief(list(parents), parents).tell_bad(True)
    for _ in range(6):
        belief = belief.tell_good(False).tell("left", False).tell("merge", True)
    posterior = belief.posterior()
    assert posterior["left"] < 0.02
    assert posterior["right"] == pytest.approx(posterior["merge"])


def test_a_commit_between_suspects_carries_ancestry_and_can_be_told_of() -> None:
    parents = {"old": ["good"], "between": ["old"], "new": ["between"]}
    belief = Belief(["old", "new"], parents)
    for _ in range(8):
        belief = belief.tell("between", True).tell_good(False)
    assert belief.settled() == "old"
    with pytest.raises(KeyError):
        belief.tell("unheard of", True)


def test_the_same_rate_everywhere_is_no_culprit() -> None:
    names, parents = line(32)
    rng = random.Random(7)
    belief = Belief(names, parents, good="good").tell_bad(True).tell_good(True)
    for _ in range(400):
        if belief.settled() is not UNDECIDED:
            break
        for asked in belief.ask():
            belief = belief.tell(asked, rng.random() < 0.4)
    assert belief.settled() is None
    assert belief.ranking()[0][0] is None


def test_skipped_commits_are_not_asked_and_stay_suspects() -> None:
    names, parents = line(16)
    belief = Belief(names, parents)
    for name in names[4:9]:
        belief = belief.skip(name)
    for _ in range(60):
        if belief.settled() is not UNDECIDED or belief.inseparable():
            break
        (asked,) = belief.ask()
        assert asked not in names[4:9]
        belief = belief.tell(asked, int(asked[1:]) >= 6)
    assert belief.settled() is UNDECIDED
    assert belief.inseparable() == tuple(names[4:10])
    assert sum(belief.posterior()[name] for name in names[4:10]) > 0.95


def test_nothing_can_be_asked_where_everything_is_skipped() -> None:
    names, parents = line(3)
    belief = Belief(names, parents)
    for name in names:
        belief = belief.skip(name)
    assert belief.ask(3) == ()


def test_prior_weights_are_a_head_start() -> None:
    names, parents = line(4)
    posterior = Belief(names, parents, prior={"c2": 5.0}, none=0.2).posterior()
    assert posterior["c2"] == pytest.approx(0.5)
    assert posterior[None] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="weights"):
        Belief(names, parents, prior={"c1": -1.0})


def test_a_history_in_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        Belief(["a", "b"], {"a": ["b"], "b": ["a"]})
    with pytest.raises(ValueError, match="suspects"):
        Belief([], {})


@pytest.mark.parametrize(("bad", "good"), [(0.5, 0.0), (0.9, 0.1)])
def test_what_it_is_sure_of_is_true_about_as_often_as_it_says(bad: float, good: float) -> None:
    names, parents = line(32)
    rng = random.Random(f"{bad} {good}")
    right, histories = 0, 30
    for _ in range(histories):
        culprit = rng.randrange(32)
        belief = Belief(names, parents, good="good")
        while belief.starts[0] == 0:
            belief = belief.tell_bad(rng.random() < bad).tell_good(rng.random() < good)
        while belief.settled() is UNDECIDED and belief.starts[1] < 500:
            (asked,) = belief.ask()
            at = -1 if asked == "good" else int(asked[1:])
            belief = belief.tell(asked, rng.random() < (bad if at >= culprit else good))
        right += belief.settled() == names[culprit]
    assert right >= 0.9 * histories


@given(histories(9))
@settings(deadline=None, max_examples=30)
def test_what_a_commit_holds_and_its_sums_and_classes(parents: Parents) -> None:
    names = list(parents)
    ancestry = Ancestry(names, parents)
    held = {name: {names[k] for k in members(ancestry.held(name))} for name in names}
    assert held == {name: ancestors(name, parents) - {"good"} for name in names}
    values = [float(2**k) for k in range(len(names))]
    assert ancestry.sums(values) == [sum(values[names.index(one)] for one in held[name]) for name in names]
    tried = names[: len(names) // 2]
    bits = sum(1 << names.index(name) for name in tried)
    alike: dict[frozenset[str], set[str]] = {}
    for name in names:
        alike.setdefault(frozenset(one for one in tried if name in held[one]), set()).add(name)
    classes = [{names[k] for k in members(part)} for part in ancestry.classes(bits)]
    assert sorted(map(sorted, classes)) == sorted(map(sorted, alike.values()))


def test_two_thousand_suspects_with_merges_are_quick() -> None:
    """Half of them on topic branches of ten: one sum costs what their number does, not its square."""
    parents: dict[str, list[str]] = {}
    main = "good"
    for merge in range(100):
        tip = main
        for step in range(19):
            parents[f"t{merge}.{step}"] = [tip]
            tip = f"t{merge}.{step}"
        parents[f"m{merge}"] = [main, tip]
        main = f"m{merge}"
    ancestry = Ancestry(list(parents), parents)
    assert sum(len(more) for _, more in ancestry._steps) <= 2 * len(parents)
    belief = Belief(list(parents), parents).tell_bad(True).tell_good(False)
    assert len(belief.ask(4)) == 4
