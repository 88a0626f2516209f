"""Frozen dataclasses to JSON and back, driven by their type hints. Pure.

What is written today must be read by a later version and, where possible, by an earlier one: unknown
fields are ignored, missing ones take the field's default. Everything else that does not fit its type
raises `CodecError`: facts that were misread are worse than facts that are missing.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import functools
import math
import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")

# JSON has no words for these, and a time that was never measured must not break a whole trial.
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class CodecError(ValueError):
    """A value that does not fit its type; the message says where."""


def encode(value: object) -> Json:
    """The JSON of a value made of dataclasses, tuples, enums, paths, bytes and plain values.

    Raises CodecError for anything else.
    """
    if isinstance(value, enum.Enum):
        return encode(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Path):
        return os.fspath(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    raise CodecError(f"{type(value).__name__} has no JSON form")


def decode(kind: type[T], data: Json) -> T:
    """The value of type `kind` that `encode` turned into `data`. Raises CodecError when it does not fit."""
    return typing.cast(T, _decode(kind, data, kind.__name__))


def each_text(value: T, change: Callable[[str], str]) -> T:
    """The same value with every plain text in it changed; enums, paths and bytes stay what they are."""
    return typing.cast(T, _each_text(value, change))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if type(value) is str:
        return change(value)
    if isinstance(value, tuple):
        return tuple(_each_text(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {name: _each_text(getattr(value, name), change) for name in _hints(type(value))}
        return dataclasses.replace(value, **changed)
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _decode(kind: Any, data: Json, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_optional(kind, data, where)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), data, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), data, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _attempt(kind, data, where)
    return _decode_plain(kind, data, where)


def _decode_optional(kind: Any, data: Json, where: str) -> Any:
    others = [arm for arm in typing.get_args(kind) if arm is not types.NoneType]
    if len(others) != 1:
        raise CodecError(f"{where}: a union of more than one type and None cannot be told apart")
    return None if data is None else _decode(others[0], data, where)


def _decode_tuple(arms: tuple[Any, ...], data: Json, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise CodecError(f"{where}: expected a list, found {type(data).__name__}")
    if len(arms) == 2 and arms[1] is Ellipsis:
        return tuple(_decode(arms[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if len(arms) != len(data):
        raise CodecError(f"{where}: expected {len(arms)} items, found {len(data)}")
    return tuple(
        _decode(arm, item, f"{where}[{index}]") for index, (arm, item) in enumerate(zip(arms, data, strict=True))
    )


def _decode_dataclass(kind: type, data: Json, where: str) -> Any:
    if not isinstance(data, dict):
        raise CodecError(f"{where}: expected an object, found {type(data).__name__}")
    known = {name: _decode(hint, data[name], f"{where}.{name}") for name, hint in _hints(kind).items() if name in data}
    try:
        return kind(**known)
    except TypeError as error:
        raise CodecError(f"{where}: {error}") from error


def _decode_plain(kind: Any, data: Json, where: str) -> Any:
    if kind is float:
        return _decode_float(data, where)
    if kind is bytes and isinstance(data, str):
        return _attempt(functools.partial(base64.b64decode, validate=True), data, where)
    if kind is Path and isinstance(data, str):
        return Path(data)
    # bool is an int to Python, and no count is ever True
    if kind in (str, int, bool) and type(data) is kind:
        return data
    raise CodecError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {type(data).__name__}")


def _decode_float(data: Json, where: str) -> float:
    if isinstance(data, str) and data in NOT_FINITE:
        return NOT_FINITE[data]
    if isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    raise CodecError(f"{where}: expected a number, found {data!r}")


def _attempt(make: Callable[[Any], Any], data: Json, where: str) -> Any:
    try:
        return make(data)
    except (ValueError, TypeError) as error:
        raise CodecError(f"{where}: {error}") from error
