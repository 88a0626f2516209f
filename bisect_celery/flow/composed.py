"""A project's own compose file, from where it lies in the revision to what it says: read once, from BAD's tree.

Its files are written into a folder of ours, with those that the user has beside them and git has not (`.env`), and are
resolved there by the compose program of this machine; what it prints is understood by `config.compose`.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery import config
from bisect_celery.config.listing import Cached
from bisect_celery.errors import UserError
from bisect_celery.stack.compose import project
from bisect_celery.stack.compose.project import NotResolved, Resolved

WITHOUT = "`--compose none` does without it."
_EXAMPLE = re.compile(r"example|sample|dist|template|default", re.I)


@dataclass(frozen=True)
class _Files:
    """The files that are resolved together: `paths` are the compose files, `contents` all, by their paths in the tree,
    `missing` those that they name and nobody has, `source` who named them."""

    paths: tuple[str, ...]
    contents: Mapping[str, bytes]
    missing: tuple[str, ...]
    source: str


def composed(loaded: config.Loaded, files: Cached) -> config.Composed | None:
    """What the project's compose file says, None where it has none or is to be left alone.

    Raises UserError where the user named a file that cannot be used; one that was only found is then left out, and
    that is told.
    """
    found = _found(loaded, files)
    if found is None:
        return None
    named = "compose" in loaded.settings
    program = project.find()
    if program is None:
        return _unused(found, "no compose program is installed here", project.HOW_TO_GET_IT, named)
    variables = {one.name: one.value for one in loaded.variables}
    with tempfile.TemporaryDirectory(prefix="bisect-celery-compose-") as scratch:
        root = Path(scratch).resolve()
        folder = _written(found, root)
        try:
            resolved = project.resolve(
                program, [root / path for path in found.paths], folder, _project(loaded.root), variables
            )
        except NotResolved as refused:
            return _unused(found, str(refused).rstrip("."), _how(found, files), named)
        return _understood(found, resolved, str(root), loaded, files)


def differs(found: config.Composed, other: Cached) -> bool:
    """Whether the file is another one, or none, in the tree of the other end."""
    return any(other.content(path) != content for path, content in found.contents)


def _understood(found: _Files, resolved: Resolved, root: str, loaded: config.Loaded, files: Cached) -> config.Composed:
    texts = {path: content.decode("utf-8", "replace") for path, content in found.contents.items()}
    read = config.ReadCompose(
        document=resolved.document,
        root=root,
        files=found.paths,
        source=found.paths[0],
        order=config.order_of(texts[path] for path in found.paths),
        private=tuple(text for path, text in texts.items() if path not in found.paths),
    )
    said = config.understood(read, files, named=loaded.worker_services(), queue=loaded.text("queue"))
    tracked = tuple((path, content) for path, content in found.contents.items() if path in files.known)
    notes = said.notes
    if resolved.unset:
        notes = (*notes, f"without a value there: {', '.join(resolved.unset)} (`--env NAME=VALUE`)")
    return replace(said, notes=notes, contents=tracked, named=found.source)


# --- its files ---------------------------------------------------------------------------------------


def _found(loaded: config.Loaded, files: Cached) -> _Files | None:
    if "workload" in loaded.settings:
        return None
    if "compose" in loaded.settings:
        given = loaded.get("compose", tuple, ())
        if not given:
            return None
        contents = dict(_named(path, loaded.root, files) for path in given)
        return _whole(tuple(contents), contents, loaded.sources["compose"], loaded.root, files)
    for folder in dict.fromkeys((loaded.folder, "")):
        paths = config.usual_files(files.known, folder)
        if paths:
            contents = {path: files.content(path) or b"" for path in paths}
            return _whole(paths, contents, "found", loaded.root, files)
    return None


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


def _whole(
    paths: tuple[str, ...], contents: dict[str, bytes], source: str, root: Path, files: Cached
) -> _Files:  # fmt: skip
    """With all further files that they need, as far as somebody has them: the revision, else the user's folder."""
    waiting, missing = list(paths), []
    while waiting:
        path = waiting.pop()
        for other in config.files_beside(path, contents[path].decode("utf-8", "replace")):
            if other in contents:
                continue
            content = files.content(other)
            if content is None:
                content = _of_folder(root / other)
            if content is None:
                missing.append(other)
                continue
            contents[other] = content
            if other.endswith((".yml", ".yaml")):
                waiting.append(other)
    return _Files(paths, contents, tuple(dict.fromkeys(missing)), source)


def _of_folder(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _written(found: _Files, root: Path) -> Path:
    for path, content in found.contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root / posixpath.dirname(found.paths[0])


def _project(root: Path) -> str:
    return re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-") or "project"


# --- where it cannot be used -------------------------------------------------------------------------


def _unused(found: _Files, why: str, how: str, named: bool) -> config.Composed:
    if named:
        raise UserError(f"{found.paths[0]} cannot be resolved: {why}.", f"{how} {WITHOUT}")
    return config.Composed(found.paths, found.paths[0], notes=(f"found, and not used: {why}. {how} {WITHOUT}",))


def _how(found: _Files, files: Cached) -> str:
    """What to do, where a file that it names is missing: most often one that everybody makes from an example."""
    for path in found.missing:
        if (example := _example(path, files.paths)) is not None:
            return f"{path} is neither committed nor in your folder: `cp {example} {path}`."
    absent = [path for path in found.missing if posixpath.basename(path) != ".env"]
    return f"Missing: {', '.join(absent)}." if absent else "`docker compose config` shows what is wrong."


def _example(path: str, known: Iterable[str]) -> str | None:
    folder, name = posixpath.split(path)
    stem = name.strip(".").split(".")[0]
    beside = (one for one in known if posixpath.dirname(one) == folder)
    return next((one for one in beside if stem in one and _EXAMPLE.search(posixpath.basename(one))), None)
