"""The files that are resolved together with a project's compose file, wherever each of them is.

Most are the revision's. Those that git does not have (`.env`) are the user's; where nobody has them, as in a clean
checkout, the example that the project shows stands in, as everybody copies it, else they are empty.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import config
from bisect_celery.config.listing import Cached
from bisect_celery.errors import UserError

ENV = ".env"


@dataclass(frozen=True)
class Files:
    """The files that are resolved together: `paths` are the compose files, `contents` all, by their paths in the tree,
    `missing` the compose files that they name and nobody has, `source` who named them. `examples` are (path, what
    stands in for it; "": it is empty)."""

    paths: tuple[str, ...]
    contents: Mapping[str, bytes]
    missing: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    source: str

    def texts(self) -> dict[str, str]:
        return {path: content.decode("utf-8", "replace") for path, content in self.contents.items()}

    def variables(self) -> dict[str, str]:
        """What the project's `.env` says, by which Compose fills the files in."""
        return config.variables_of(self.texts().get(posixpath.join(posixpath.dirname(self.paths[0]), ENV), ""))

    def notes(self) -> Iterator[str]:
        """Which file was taken for which. Nobody asks for a `.env` that fills nothing in."""
        texts = self.texts()
        asked = {name for path in self.paths for name in config.files_named(path, texts[path])}
        idle = not config.filled_in(texts[path] for path in self.paths)[0]
        for path, example in self.examples:
            what = f"so {example} stands in" if example else f"and taken as empty (`--overlay FILE:{path}`)"
            if path in asked or (example and not idle):
                yield f"{path} is neither committed nor in your folder, {what}"


def found_files(loaded: config.Loaded, files: Cached) -> Files | None:
    """Those that the user named, else the usual ones; None where there are none, or they are to be left alone.

    Raises UserError for a file that was named and cannot be read.
    """
    if "workload" in loaded.settings:
        return None
    if "compose" in loaded.settings:
        given = loaded.get("compose", tuple, ())
        if not given:
            return None
        contents = dict(_named(path, loaded.root, files) for path in given)
        return _whole(tuple(contents), contents, loaded.sources["compose"], _Shelf(loaded, files))
    for folder in dict.fromkeys((loaded.folder, "")):
        shelf = _Shelf(loaded, files)
        paths = _of_env(folder, shelf) or config.usual_files(files.known, folder)
        if paths:
            contents = {path: files.content(path) or b"" for path in paths}
            return _whole(paths, contents, "found", shelf)
    return None


@dataclass(frozen=True)
class _Shelf:
    """Where files are looked for."""

    loaded: config.Loaded
    files: Cached

    def content(self, path: str) -> bytes | None:
        """A file by its path in the tree: an overlay, the revision's, what lies in the user's folder."""
        overlay = next((one.source for one in self.loaded.overlays if one.target == path), None)
        content = self.files.content(path) if overlay is None else _of_folder(overlay)
        return content if content is not None else _of_folder(self.loaded.root / path)

    def stand_in(self, path: str) -> tuple[bytes, str]:
        """The example that is shown for it, as everybody copies it; nothing where there is none."""
        example = config.stand_in(path, self.files)
        return (config.as_copied(self.files.text(example)).encode(), example) if example is not None else (b"", "")


def contents(paths: tuple[str, ...], loaded: config.Loaded, files: Cached) -> dict[str, bytes]:
    """Those of `paths` that somebody has."""
    shelf = _Shelf(loaded, files)
    return {path: content for path in paths if (content := shelf.content(path)) is not None}


def _of_folder(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _of_env(folder: str, shelf: _Shelf) -> tuple[str, ...]:
    """The files that the folder's `.env` names, in place of the usual ones."""
    path = posixpath.join(folder, ENV)
    content = shelf.content(path)
    said = config.variables_of((content if content is not None else shelf.stand_in(path)[0]).decode("utf-8", "replace"))
    names = re.split(re.escape(said.get("COMPOSE_PATH_SEPARATOR") or ":"), said.get("COMPOSE_FILE") or "")
    paths = tuple(posixpath.normpath(posixpath.join(folder, name)) for name in names if name)
    return paths if set(paths) <= shelf.files.known else ()


def _named(path: Path, root: Path, files: Cached) -> tuple[str, bytes]:
    """A file that the user named: the revision's, if it has it, else the one that lies there."""
    inside = config.relative(path, root)
    content = files.content(inside) if inside else None
    if content is not None and inside is not None:
        return inside, content
    try:
        return inside or path.name, path.read_bytes()
    except OSError as error:
        raise UserError(f"`--compose {path}` cannot be read: {error.strerror}.", f"Looked at {path}.") from None


def _whole(paths: tuple[str, ...], contents: dict[str, bytes], source: str, shelf: _Shelf) -> Files:
    """With all further files that they need, as far as they can be had."""
    waiting, missing, examples = list(paths), dict[str, None](), dict[str, str]()
    while waiting:
        path = waiting.pop()
        for other in config.files_beside(path, contents[path].decode("utf-8", "replace")):
            if other in contents:
                continue
            content, composes = shelf.content(other), other.endswith((".yml", ".yaml"))
            if content is None and composes:
                missing.setdefault(other)
                continue
            if content is None:
                content, examples[other] = shelf.stand_in(other)
            contents[other] = content
            if composes:
                waiting.append(other)
    return Files(paths, contents, tuple(missing), tuple(examples.items()), source)
