"""What detection may know of a revision: its files, by name and content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Listing(Protocol):
    """The tree of one revision. Paths are POSIX style, relative to its root."""

    def paths(self) -> Sequence[str]:
        """All files' paths."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a file, None if there is none."""
        ...


class FolderListing:
    """A `Listing` of a folder on this machine, for the user's working tree; never through a link that leaves it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def paths(self) -> Sequence[str]:
        found = (path for path in self._root.rglob("*") if path.is_file() and ".git" not in path.parts)
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def read(self, path: str) -> bytes | None:
        real = (self._root / path).resolve()
        if self._root not in real.parents:
            return None
        try:
            return real.read_bytes()
        except OSError:
            return None


class Bulk(Protocol):
    """A `Listing` that reads many files at the cost of one, as git does: optional, for trees of thousands of files."""

    def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The contents of those of `paths` that are files."""
        ...


class Cached:
    """A `Listing` that reads each file once, as text, and leaves out those too big to be configuration."""

    MOST = 400_000

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.paths = tuple(listing.paths())
        self.known = frozenset(self.paths)
        self._texts: dict[str, str] = {}

    def prefetch(self, paths: Iterable[str]) -> None:
        """Read files that will be asked for, all at once where the listing can."""
        read_many = getattr(self._listing, "read_many", None)
        wanted = [path for path in paths if path in self.known and path not in self._texts]
        if read_many is not None and wanted:
            contents = read_many(wanted)
            self._texts.update({path: self._usable(contents.get(path)) for path in wanted})

    def text(self, path: str) -> str:
        """The file's text, "" when it is absent or too big."""
        if path not in self._texts:
            self._texts[path] = self._usable(self._listing.read(path) if path in self.known else None)
        return self._texts[path]

    def content(self, path: str) -> bytes | None:
        """The file as it is, whatever its size; None when it is absent."""
        return self._listing.read(path) if path in self.known else None

    def _usable(self, content: bytes | None) -> str:
        return content.decode("utf-8", "replace") if content is not None and len(content) <= self.MOST else ""
