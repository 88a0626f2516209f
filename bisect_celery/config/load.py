"""The settings of a run, each with its source: flags, environment, bisect-celery.toml, [tool.bisect-celery].

Files are read from where the command was typed, else from the repository's root, and never from a tree
under test: what a revision says about how to judge it is not evidence.
"""

from __future__ import annotations

import os
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bisect_celery.config import dotenv, secret, values
from bisect_celery.config.example import is_example
from bisect_celery.config.settings import KEYS, PARSERS
from bisect_celery.config.values import Given
from bisect_celery.errors import UserError
from bisect_celery.model import Overlay

FILE = "bisect-celery.toml"
TABLE = "[tool.bisect-celery]"
PREFIX = "BISECT_CELERY_"

# Variables of ours that are no setting of a run: a misspelt key is looked for among all others.
_OTHER_VARIABLES = re.compile(
    rf"{PREFIX}(?:HOME|OWNER|PLACE|VENV|NO_SKIPS|OFFLINE|COMPARISONS|PUBLISH|ENVIRONMENTS_VOLUME"
    r"|TEST_\w+|DEBIAN_\w+|\w*(?:IMAGE|MEMORY|CPUS)|DOCKER\w*)$"
)


@dataclass(frozen=True)
class Variable:
    """A variable for the programs of a trial, and who set it. `secrets` is what of its value must not be printed."""

    name: str
    value: str
    source: str
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """All that was said about a run, typed. `settings` holds the keys that were said; `sources` who said them.

    `typed_in` is the folder the command was typed in and `root` the repository's; `secrets` are to be redacted.
    """

    typed_in: Path
    root: Path
    settings: Mapping[str, object]
    sources: Mapping[str, str]
    variables: tuple[Variable, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where in the repository the command was typed, POSIX style, "" at its root."""
        return relative(self.typed_in, self.root) or ""

    def text(self, key: str) -> str | None:
        value = self.settings.get(key)
        return None if value is None else str(value)

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self.settings.get(key)
        return value if isinstance(value, kind) else default

    def worker_services(self) -> tuple[str, ...]:
        """The names in `--service` that are no kinds of ours: services of the project's compose file."""
        return tuple(name for name in self.get("service", tuple, ()) if name not in values.KINDS)


T = TypeVar("T")


def load(flags: Mapping[str, object], *, typed_in: Path, root: Path, caller_environment: Mapping[str, str]) -> Loaded:
    """Merge all layers. `flags` are by key (`env_file` or `env-file`); None, False and empty lists were not given.

    Single values are the highest layer's. Variables and overlays of all layers add up, by name and target,
    the higher layer's winning. Raises UserError.
    """
    typed_in, root = typed_in.absolute(), root.absolute()
    layers = [
        _from_flags(flags, typed_in),
        _from_environment(caller_environment, typed_in),
        _from_file(typed_in, root),
        _from_pyproject(typed_in, root),
    ]
    layers.append(_from_workload(layers))
    settings: dict[str, object] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for key, given in layer.items():
            if key in PARSERS and key not in settings:
                settings[key] = PARSERS[key](given)
                sources[key] = given.source
    variables: dict[str, Variable] = {}
    overlays: dict[str, Overlay] = {}
    for layer in reversed(layers):
        variables.update({one.name: one for one in _variables(layer, caller_environment)})
        found = _overlays(layer, typed_in, root)
        overlays.update({one.target: one for one in found})
        sources.update({f"overlay {one.target}": layer["overlay"].source for one in found})
    sources.update({f"env {one.name}": one.source for one in variables.values()})
    chosen = tuple(overlays.values())
    secrets = [text for one in variables.values() for text in one.secrets]
    secrets += [text for one in chosen for text in secret.of_file(one.target, _content(one.source))]
    return Loaded(typed_in, root, settings, sources, tuple(variables.values()), chosen, secret.unique(secrets))


# --- the layers --------------------------------------------------------------------------------------

Layer = Mapping[str, Given]


def _from_flags(flags: Mapping[str, object], typed_in: Path) -> Layer:
    layer = {}
    for name, raw in flags.items():
        key = name.replace("_", "-")
        if key not in KEYS:
            raise _unknown(key, "flag", "")
        if raw is not None and raw is not False and raw != [] and raw != ():
            layer[key] = Given(raw, f"--{key}", f"--{key}", typed_in, text=True)
    return layer


def _from_environment(environment: Mapping[str, str], typed_in: Path) -> Layer:
    layer = {}
    for name, raw in environment.items():
        if not name.startswith(PREFIX):
            continue
        key = name.removeprefix(PREFIX).replace("_", "-").lower()
        if key in KEYS:
            if raw.strip():
                layer[key] = Given(raw, name, name, typed_in, text=True)
        elif not _OTHER_VARIABLES.match(name) and (near := values.nearest(key, KEYS)):
            meant = PREFIX + near.replace("-", "_").upper()
            raise UserError(f"{name} is no setting of bisect-celery.", f"Did you mean {meant}? Else unset it.")
    return layer


def _from_file(typed_in: Path, root: Path) -> Layer:
    for folder in dict.fromkeys((typed_in, root)):
        if (path := folder / FILE).is_file():
            return _table(_toml(path), path, FILE)
    return {}


def _from_pyproject(typed_in: Path, root: Path) -> Layer:
    for folder in dict.fromkeys((typed_in, root)):
        if (path := folder / "pyproject.toml").is_file():
            table = _toml(path).get("tool", {}).get("bisect-celery")
            if table is not None:
                if not isinstance(table, dict):
                    raise UserError(f"{TABLE} in {path} is not a table.", "")
                return _table(table, path, f"{TABLE} of pyproject.toml")
    return {}


def _from_workload(layers: Sequence[Layer]) -> Layer:
    """What stands beside the app of a library under test; whatever is said where the library is, is said louder."""
    given = next((layer["workload"] for layer in layers if "workload" in layer), None)
    folder = values.path(given) if given is not None else None
    return _from_file(folder, folder) if folder is not None else {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}.", "Mend it, or move it away.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "") from None


def _table(table: Mapping[str, object], path: Path, source: str) -> Layer:
    layer: dict[str, Given] = {}
    for name, raw in table.items():
        key = name.replace("_", "-")
        if key not in KEYS:
            raise _unknown(name, "key", f" in {path}")
        if key in layer:
            raise UserError(f"`{key}` stands twice in {path}.", "")
        layer[key] = Given(raw, f"`{name}` in {path}", source, path.parent, text=False)
    return layer


def _unknown(name: str, what: str, where: str) -> UserError:
    near = values.nearest(name.replace("_", "-"), KEYS)
    hint = f"Did you mean `{near}`?" if near else f"There are: {', '.join(KEYS)}."
    return UserError(f"`{name}` is no {what} of bisect-celery{where}.", hint)


# --- variables and overlays --------------------------------------------------------------------------

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def _variables(layer: Layer, caller: Mapping[str, str]) -> Iterator[Variable]:
    """The variables of one layer; of one name a file's give way to the caller's, and those to what is spelt out."""
    if "env-file" in layer:
        yield from _from_env_files(layer["env-file"], caller)
    if "pass" in layer:
        given = layer["pass"]
        for name in (name for text in values.several(given) for name in re.split(r"[,\s]+", text) if name):
            if name not in caller:
                raise UserError(
                    f"{given.label} names {name}, which is not set here.",
                    f"Export it first, or give it by `--env {name}=...`.",
                )
            yield _variable(name, caller[name], f"{given.source}, from the caller's environment", private=True)
    if "env" in layer:
        for name, value in _pairs(layer["env"]):
            yield _variable(name, value, layer["env"].source)


def _variable(name: str, value: str, source: str, *, private: bool = False) -> Variable:
    return Variable(name, value, source, secret.unique(secret.of_variable(name, value, private=private)))


def _from_env_files(given: Given, caller: Mapping[str, str]) -> Iterator[Variable]:
    for text in values.several(given):
        path = (given.folder / Path(text).expanduser()).absolute()
        try:
            found = dotenv.parse(path.read_text("utf-8"))
        except OSError as error:
            raise UserError(f"{given.label} {text} cannot be read: {error.strerror}.", f"Looked at {path}.") from None
        except (dotenv.DotenvError, UnicodeDecodeError) as error:
            raise UserError(f"{given.label} {text} cannot be used: {error}.", "Its lines are NAME=value.") from None
        private = not is_example(text)  # what is made to be shown is private only where its name says so
        for name, value in found.items():
            if value is not None:
                yield _variable(name, value, f"{given.source} {text}", private=private)
            elif name in caller:
                yield _variable(
                    name, caller[name], f"{given.source} {text}, from the caller's environment", private=True
                )


def _pairs(given: Given) -> Iterator[tuple[str, str]]:
    if isinstance(given.raw, Mapping):
        for name, value in given.raw.items():
            if isinstance(value, (dict, list)) or not _VARIABLE.fullmatch(str(name)):
                raise UserError(f'{given.label} has a {name} that is not NAME = "value".', "")
            yield str(name), str(value).lower() if isinstance(value, bool) else str(value)
        return
    for text in values.several(given):
        name, equals, value = text.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            hint = f"Write --env {name}=VALUE; `--pass {name}` takes the value it has here." if name else ""
            raise UserError(f"{given.label} is NAME=VALUE, not {name or text}.", hint)
        yield name, value


def _overlays(layer: Layer, typed_in: Path, root: Path) -> list[Overlay]:
    given = layer.get("overlay")
    return [] if given is None else [_overlay(given, text, typed_in, root) for text in values.several(given)]


def _overlay(given: Given, text: str, typed_in: Path, root: Path) -> Overlay:
    """`FILE`, or `FILE:TARGET` with the target from the repository's root. A file in the repository keeps its place."""
    name, _, target = text.partition(":")
    source = (given.folder / Path(name).expanduser()).absolute()
    if not source.is_file():
        raise UserError(f"{given.label} {name} is not a file.", f"Looked at {source}.")
    if not target:
        inside = relative(source, root)
        target = inside or posixpath.join(relative(typed_in, root) or "", source.name)
    clean = posixpath.normpath(target)
    if clean.startswith(("/", "../")) or clean in ("..", ".") or clean.split("/")[0] == ".git":
        raise UserError(
            f"{given.label} {text} would leave the tree.", "Name a target in the repository: FILE:path/in/it."
        )
    return Overlay(source, clean)


def relative(path: Path, root: Path) -> str | None:
    """`path` from `root`, POSIX style ("" is the root); None when it stands outside."""
    try:
        found = Path(os.path.realpath(path.parent), path.name).relative_to(os.path.realpath(root))
    except ValueError:
        try:
            found = Path(os.path.realpath(path)).relative_to(os.path.realpath(root))
        except ValueError:
            return None
    return "" if found == Path() else found.as_posix()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"The overlay {path} cannot be read: {error.strerror}.", "") from None


def key_names() -> Sequence[str]:
    """All keys, as they are written in a file."""
    return KEYS
