"""Sessions for the store's tests: random ones built from the model's own types, and plain ones by hand."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from bisect_celery.model import Judged, Judgement, Kind, Observation, Request, Session, Symptom, Tree, Trial, Verdict

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**70), 2**70),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    Path: TEXT.map(Path),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the model uses, nested as its hints say."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(st.none() if arm is types.NoneType else values(arm) for arm in arms))
    if origin is tuple and arms[-1] is Ellipsis:
        return st.lists(values(arms[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arms))
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


def session(name: str = "s1", repository: Path = Path("/home/me/project"), **changes: Any) -> Session:
    request = Request(repository=repository, good="v1", bad="HEAD", app="mail.app")
    return dataclasses.replace(
        Session(id=name, command="bisect-celery run v1", request=request, started_at="2026-01-02T03:04:05+00:00"),
        **changes,
    )


def judged(number: int, tree: str = "a" * 40, **changes: Any) -> Judged:
    trial = Trial(number, Tree(tree, f"tree {tree[:7]}"), Observation(until=12.5), digest="d1", seconds=12.75)
    made = Judgement(Verdict.BAD, Symptom(Kind.EXECUTED_NOT_ACKED), "bodies ran, nothing was acknowledged", 0.9)
    return Judged(dataclasses.replace(trial, **changes), made)
