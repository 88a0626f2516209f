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


class _Values:
    """Strategies by type, each made once: a type stands in many others, and what is shared is looked at once."""

    def __init__(self, plain: dict[Any, st.SearchStrategy[Any]]) -> None:
        self._made = dict(plain)

    def of(self, kind: Any) -> st.SearchStrategy[Any]:
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: Any) -> st.SearchStrategy[Any]:
        origin, arms = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return st.one_of(*(st.none() if arm is types.NoneType else self.of(arm) for arm in arms))
        if origin is tuple and arms[-1] is Ellipsis:
            return st.lists(self.of(arms[0]), max_size=2).map(tuple)
        if origin is tuple:
            return st.tuples(*map(self.of, arms))
        if issubclass(kind, enum.Enum):
            return st.sampled_from(kind)
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: self.of(hints[field.name]) for field in dataclasses.fields(kind)})


def values(kind: Any, plain: dict[Any, st.SearchStrategy[Any]] = PLAIN) -> st.SearchStrategy[Any]:
    """Any value of a type that the model uses, nested as its hints say; `plain` has those of plain types."""
    return _Values(plain).of(kind)
