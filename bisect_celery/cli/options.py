"""The flags of `run`, `try` and `reproduce`, made from the settings of `config.settings`: one is added there, once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer

from bisect_celery.config.settings import Setting, is_switch, taken_by

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Settings = dict[str, object]
"""What was said by flags, by the setting's name; None, False and empty lists were not said."""


def taking(command: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command the flags of all its settings, in the place of its parameter `settings`, which gets their values.

    Typer reads a function's signature, so the signature is what is made; values are checked in `config`, not here.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function, include_extras=True)
        names = [setting.name for setting in taken_by(command)]

        @functools.wraps(function)
        def taken(**given: Any) -> int:
            said = {name: given.pop(_parameter(name)) for name in names}
            return function(**given, settings=said)

        parameters = list(_parameters(function, hints, command))
        taken.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        taken.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        return taken

    return decorate


def _parameters(function: Callable[..., int], hints: dict[str, Any], command: str) -> Iterator[inspect.Parameter]:
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "settings":
            yield from map(_flag, taken_by(command))
        else:
            yield parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)


def _flag(setting: Setting) -> inspect.Parameter:
    several = setting.many or setting.parse is None
    kind: Any = bool if is_switch(setting) else list[str] | None if several else str | None
    return inspect.Parameter(
        _parameter(setting.name),
        inspect.Parameter.KEYWORD_ONLY,
        default=False if is_switch(setting) else None,
        annotation=Annotated[kind, typer.Option(f"--{setting.key}", help=setting.help)],
    )


def _parameter(name: str) -> str:
    """A parameter's name that is neither a keyword of Python's nor one of a command's own."""
    return f"{name}_"
