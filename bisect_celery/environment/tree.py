"""Reading a laid-out tree, never through a link that leaves it.

A tree under test is somebody else's: a `requirements.txt` that is a link to `/etc/shadow` reads as absent.
"""

from __future__ import annotations

import contextlib
import posixpath
import tomllib
from pathlib import Path
from typing import Any


class Folder:
    """A laid-out tree, read by POSIX paths relative to its root."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout
        self._root = layout.resolve()
        self._tables: dict[str, dict[str, Any]] = {}

    def inside(self, path: str) -> Path | None:
        """The real path of `path`, None when it leaves the tree."""
        try:
            real = (self.layout / path).resolve()
        except (OSError, ValueError):
            return None
        return real if real == self._root or self._root in real.parents else None

    def read(self, path: str) -> bytes | None:
        real = self.inside(path)
        if real is None:
            return None
        try:
            return real.read_bytes()
        except OSError:
            return None

    def text(self, path: str) -> str | None:
        """The file as text, None if it is absent; what is not text is replaced rather than refused."""
        content = self.read(path)
        return None if content is None else decode(content)

    def toml(self, path: str) -> dict[str, Any]:
        """A TOML file's content; empty when it is absent or not TOML (uv will say so in its own words)."""
        if path not in self._tables:
            self._tables[path] = {}
            with contextlib.suppress(tomllib.TOMLDecodeError):
                self._tables[path] = tomllib.loads(self.text(path) or "")
        return self._tables[path]

    def is_folder(self, path: str) -> bool:
        real = self.inside(path)
        return real is not None and real.is_dir()

    def names(self, path: str) -> tuple[str, ...]:
        """The sorted names in a folder of the tree; none when there is no such folder."""
        real = self.inside(path)
        if real is None or not real.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in real.iterdir()))


def join(folder: str, path: str) -> str:
    """`path`, seen from `folder`, as a clean path from the tree's root ("" is the root itself)."""
    clean = posixpath.normpath(posixpath.join(folder, path))
    return "" if clean == "." else clean


def parents(folder: str) -> tuple[str, ...]:
    """`folder` and the folders above it, up to the tree's root, nearest first."""
    found = [folder]
    while folder:
        folder = posixpath.dirname(folder)
        found.append(folder)
    return tuple(found)


def decode(content: bytes) -> str:
    """Text of a requirements file: UTF-8, or UTF-16 as `pip freeze > file` writes it in PowerShell."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")
