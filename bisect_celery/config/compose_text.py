"""The text of a compose file, before anything is resolved: which files and folders it needs, what fills it in. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence

import yaml

# In the order in which Compose looks for them, each with those that it adds to it.
USUAL = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = ("{}.override.yml", "{}.override.yaml")


def usual_files(known: Iterable[str], folder: str) -> tuple[str, ...]:
    """The compose file that stands in a folder of a tree, and what overrides it; nothing where there is none."""
    names = set(known)
    for name in USUAL:
        path = posixpath.join(folder, name)
        if path in names:
            stem = posixpath.join(folder, name.rpartition(".")[0])
            return path, *(one for form in _OVERRIDES if (one := form.format(stem)) in names)
    return ()


def files_beside(path: str, text: str) -> tuple[str, ...]:
    """The paths of further files that a compose file needs to be resolved: `env_file`, `extends`, `include`, `.env`."""
    return tuple(dict.fromkeys((posixpath.join(posixpath.dirname(path), ".env"), *files_named(path, text))))


def files_named(path: str, text: str) -> tuple[str, ...]:
    """Those of them that the file itself names."""
    return _inside(path, (name for node in _nodes(text) for name in _named(node)))


def _nodes(text: str) -> list[yaml.Node]:
    try:
        return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError:
        return []


def _inside(path: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names as seen from a compose file, as paths of the repository; without those that lie outside of it."""
    found = [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in names]
    return tuple(dict.fromkeys(one for one in found if not one.startswith(("../", "/"))))


def _named(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _named(one)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value == "extends":
            yield from _texts(value, ("file",))
        elif key.value in ("env_file", "include"):
            yield from _texts(value, ("path", "env_file"))
        elif key.value != "environment":
            yield from _named(value)


def _texts(node: yaml.Node, keys: Sequence[str], plain: bool = True) -> Iterator[str]:
    if isinstance(node, yaml.ScalarNode) and plain:
        yield node.value
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _texts(one, keys)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value in keys:
                yield from _texts(value, keys)


_FILLED_IN = re.compile(r"\$\$|\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<how>:?[-?+])?)")


def filled_in(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variables that fill compose files in and have no default there, and those of them that must have a value."""
    plain: dict[str, None] = {}
    required: dict[str, None] = {}
    for match in (match for text in texts for match in _FILLED_IN.finditer(text)):
        name, how = match["plain"] or match["name"], match["how"] or ""
        if name and how.strip(":") in ("", "?"):
            (required if how else plain).setdefault(name)
    return tuple({**plain, **required}), tuple(required)


def order_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The services in the order in which a person wrote them down, which compose programs forget."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            top = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            continue
        for key, value in top.value if isinstance(top, yaml.MappingNode) else ():
            if key.value == "services" and isinstance(value, yaml.MappingNode):
                found.update(dict.fromkeys(str(name.value) for name, _ in value.value))
    return tuple(found)
