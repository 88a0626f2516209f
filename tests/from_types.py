"""Random values of the model's types, built from their own hints: what a field may hold, some test has held."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**70), 2**70),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    Path: TEXT.map(Path),
}


def values(kind: Any, plain: dict[Any, st.SearchStrategy[Any]] = PLAIN) -> st.SearchStrategy[Any]:
    """Any value of a type that the model uses, nested as its hints say; `plain` has those of plain types."""
    if kind in plain:
        return plain[kind]
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(st.none() if arm is types.NoneType else values(arm, plain) for arm in arms))
    if origin is tuple and arms[-1] is Ellipsis:
        return st.lists(values(arms[0], plain), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(arm, plain) for arm in arms))
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name], plain) for field in dataclasses.fields(kind)})
