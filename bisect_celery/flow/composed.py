"""A project's own compose file, from where it lies in the revision to what it says: read once, from BAD's tree.

Its files (`flow.compose_files`) are written into a folder of ours and resolved there by the compose program of this
machine; what it prints is understood by `config.compose`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery import config
from bisect_celery.config.listing import Cached
from bisect_celery.errors import UserError
from bisect_celery.flow.compose_files import Files, contents, found_files
from bisect_celery.flow.moment import for_a_moment
from bisect_celery.stack.compose import project
from bisect_celery.stack.compose.project import HOW_TO_GET_IT, NotResolved, Program, Resolved

WITHOUT = "`--compose none` does without it."
# How the program of version 1 tells that a file knows more than it does.
_TOO_NEW = re.compile(
    r"Unsupported config option|does not match any of the regexes|contains an invalid type|is unsupported"
)


@dataclass(frozen=True)
class _Filled:
    """What fills the files in: all of it by name, `ours` those whose values are words of ours, `lacking` those that
    must have a value and have none."""

    variables: Mapping[str, str]
    ours: tuple[str, ...]
    lacking: tuple[str, ...]


def composed(loaded: config.Loaded, files: Cached, scratch: Path) -> config.Composed | None:
    """What the project's compose file says, None where it has none or is to be left alone. Below `scratch` its files,
    passwords among them, lie while it is read.

    Raises UserError where the user named a file that cannot be used; one that was only found is then left out, and
    that is told.
    """
    found = found_files(loaded, files)
    if found is None:
        return None
    named = "compose" in loaded.settings
    program = project.find()
    if program is None:
        return _unused(found, "no compose program is installed here", HOW_TO_GET_IT, named)
    filled = _filled(found, loaded)
    with for_a_moment(scratch) as made:
        root = made.resolve()
        folder = _written(found, root)
        try:
            resolved = _resolved(program, found, root, folder, _project(loaded.root), filled, files)
        except NotResolved as refused:
            why = str(refused).rstrip(".")
            return _unused(found, why, _how(found, filled, program, why), named)
        return _understood(found, resolved, str(root), filled, loaded, files)


def differs(found: config.Composed, other: Cached) -> bool:
    """Whether the file is another one, or none, in the tree of the other end."""
    return any(other.content(path) != content for path, content in found.contents)


def _filled(found: Files, loaded: config.Loaded) -> _Filled:
    """Passwords and keys that nobody set have a word of ours: all services get the same from the file."""
    said = {one.name: one.value for one in loaded.variables}
    known = {**found.variables(), **said}
    texts = found.texts()
    names, required = config.filled_in(texts[path] for path in found.paths)
    ours = {name: word for name in names if not known.get(name) and (word := config.our_word_for(name))}
    lacking = tuple(name for name in required if not known.get(name) and name not in ours)
    return _Filled({**known, **ours}, tuple(ours), lacking)


def _resolved(
    program: Program, found: Files, root: Path, folder: Path, name: str, filled: _Filled, files: Cached
) -> Resolved:
    """Version 1 looks whether the folders are there that images would be built from; they need hold nothing."""
    asked = [root / path for path in found.paths]
    try:
        return project.resolve(program, asked, folder, name, filled.variables)
    except NotResolved as refused:
        if not (program.first and "build path" in str(refused)):
            raise
    for place in {posixpath.dirname(path) for path in files.known}:
        (root / place).mkdir(parents=True, exist_ok=True)
    return project.resolve(program, asked, folder, name, filled.variables)


def _understood(
    found: Files, resolved: Resolved, root: str, filled: _Filled, loaded: config.Loaded, files: Cached
) -> config.Composed:
    texts, examples = found.texts(), dict(found.examples)
    handed = contents(config.handed_paths(resolved.document, root), loaded, files)
    read = config.ReadCompose(
        document=resolved.document,
        root=root,
        files=found.paths,
        source=found.paths[0],
        order=config.order_of(texts[path] for path in found.paths),
        private=tuple(text for path, text in texts.items() if path not in found.paths and path not in examples),
        shown=tuple(texts[path] for path in examples),
        handed=handed,
        variables=filled.variables,
    )
    said = config.understood(read, files, named=loaded.worker_services(), queue=loaded.text("queue"))
    read_all = {**found.contents, **handed}
    tracked = tuple((path, content) for path, content in read_all.items() if path in files.known)
    notes, stood_in = said.notes, (*found.notes(), *said.stood_in)
    if filled.ours:
        stood_in = (*stood_in, f"nobody set {', '.join(filled.ours)}: a word of ours (`--env NAME=VALUE`)")
    if resolved.unset:
        notes = (*notes, f"without a value there: {', '.join(resolved.unset)} (`--env NAME=VALUE`)")
    return replace(said, notes=notes, stood_in=stood_in, contents=tracked, named=found.source)


def _written(found: Files, root: Path) -> Path:
    for path, content in found.contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(project.readable(content) if path in found.paths else content)
    return root / posixpath.dirname(found.paths[0])


def _project(root: Path) -> str:
    return re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-") or "project"


# --- where it cannot be used -------------------------------------------------------------------------


def _unused(found: Files, why: str, how: str, named: bool) -> config.Composed:
    if named:
        raise UserError(f"{found.paths[0]} cannot be resolved: {why}.", f"{how} {WITHOUT}")
    return config.Composed(found.paths, found.paths[0], notes=(f"found, and not used: {why}. {how} {WITHOUT}",))


def _how(found: Files, filled: _Filled, program: Program, why: str) -> str:
    """What to do: give values that must be there, or files, or have a compose program that knows the format."""
    if filled.lacking and re.search(r"[Mm]issing mandatory|required variable", why):
        wanted = " ".join(f"--env {name}=VALUE" for name in filled.lacking)
        return f"{', '.join(filled.lacking)} must have a value: `{wanted}`, or `--env-file FILE`."
    if program.first and _TOO_NEW.search(why):
        return f"docker-compose {program.version} does not know all of this file. {HOW_TO_GET_IT}"
    if found.missing:
        given = " ".join(f"--overlay FILE:{path}" for path in found.missing)
        return f"Neither committed nor in your folder: {', '.join(found.missing)} (`{given}`)."
    return "`docker compose config` shows what is wrong."
