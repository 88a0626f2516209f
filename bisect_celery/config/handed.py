"""Files that a compose file hands to its services by name: `secrets` and `configs`. Pure.

Compose mounts them; a trial's containers get their contents as files. A secret that nobody has here is a word of ours,
the same one in every service: so a server and its clients still agree on a password, and whoever needs the real one is
told how to give it. Where they belong is Compose's rule (https://docs.docker.com/reference/compose-file/services/).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bisect_celery.config import secret
from bisect_celery.config.example import own_word

SECRETS, CONFIGS = "secrets", "configs"
_FOLDERS = {SECRETS: "/run/secrets", CONFIGS: "/"}

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Handed:
    """The secrets and configs of a resolved file. `contents` are files of the repository by their paths, `variables`
    what variables say, `file` is the compose file."""

    document: Body
    root: str
    file: str
    contents: Mapping[str, bytes] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def files(self, body: Body) -> tuple[tuple[str, bytes], ...]:
        """(path in the container, content) of all that a service is handed, as far as it can be had."""
        named = ((target, self._content(kind, name)) for kind, name, target in _named(body))
        return tuple({target: content for target, content in named if content is not None}.items())

    def secrets(self, bodies: Iterable[Body]) -> Iterator[str]:
        """What must not be printed of all that these services are handed."""
        for kind, name in self._of(bodies):
            content = self._content(kind, name) or b""
            if kind == SECRETS:
                yield content.decode("utf-8", "replace").strip()
            yield from secret.of_file(name, content)

    def notes(self, bodies: Iterable[Body]) -> Iterator[str]:
        """What is not as the project has it, and how to give it."""
        for kind, name in self._of(bodies):
            if self._given(kind, name) is None:
                what = f"the secret {name} is a word of ours" if kind == SECRETS else f"without the config {name}"
                yield f"{what}: {self._why(kind, name)}"

    def _of(self, bodies: Iterable[Body]) -> Sequence[tuple[str, str]]:
        return list(dict.fromkeys((kind, name) for body in bodies for kind, name, _ in _named(body)))

    def _said(self, kind: str, name: str) -> Body:
        found: Body = (self.document.get(kind) or {}).get(name) or {}
        return found

    def _content(self, kind: str, name: str) -> bytes | None:
        given = self._given(kind, name)
        return own_word(f"secret {name}").encode() if given is None and kind == SECRETS else given

    def _given(self, kind: str, name: str) -> bytes | None:
        said = self._said(kind, name)
        if said.get("external"):
            return None
        if "content" in said:
            return str(said["content"]).encode()
        if "environment" in said:
            value = self.variables.get(str(said["environment"]))
            return value.encode() if value is not None else None
        return self.contents.get(inside(str(said.get("file") or ""), self.root) or "")

    def _why(self, kind: str, name: str) -> str:
        said = self._said(kind, name)
        if (variable := said.get("environment")) and not said.get("external"):
            return f"{variable} has no value (`--env {variable}=VALUE`, `--pass {variable}`)"
        path = inside(str(said.get("file") or ""), self.root)
        if path and not said.get("external"):
            return f"{path} is neither committed nor in your folder (`--overlay FILE:{path}`)"
        where = "it is external" if said.get("external") else "its file is not in the repository"
        more = f"{kind}: {{{name}: {{external: false, file: ./FILE}}}}"
        return f"{where} (`--compose {self.file} --compose MINE.yml`, with `{more}` in MINE.yml)"


def handed_paths(document: Body, root: str) -> tuple[str, ...]:
    """The files of the repository that are secrets or configs of a resolved file."""
    said = (one for kind in _FOLDERS for one in (document.get(kind) or {}).values())
    paths = (inside(str(one["file"]), root) for one in said if one and one.get("file"))
    return tuple(dict.fromkeys(path for path in paths if path))


def inside(path: str, root: str) -> str | None:
    """A path of the resolved file as seen from the repository's root, "" for the root; None where it lies outside."""
    clean = posixpath.normpath(path)
    if clean == root:
        return ""
    return clean[len(root) + 1 :] if clean.startswith(f"{root}/") else None


def _named(body: Body) -> Iterator[tuple[str, str, str]]:
    """(kind, name, path in the container) of each."""
    for kind, folder in _FOLDERS.items():
        for one in body.get(kind) or ():
            source, target = (one.get("source"), one.get("target")) if isinstance(one, Mapping) else (one, None)
            yield kind, str(source), posixpath.normpath(posixpath.join(folder, str(target or source)))
