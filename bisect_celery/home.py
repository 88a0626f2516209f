"""Where bisect-celery keeps things on this machine, and how big they are. Paths and sizes; it deletes nothing.

The XDG base directories (https://specifications.freedesktop.org/basedir-spec/), each ours alone (mode 0700):
state is what a session found, cache what can be built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bisect_celery.errors import InfraError

NAME = "bisect-celery"


@dataclass(frozen=True)
class Kept:
    """Something of ours: `kind` is "session", "environment", "cache" ...; `size` in bytes.

    `path` is None for what is not a folder of ours: a container engine's volume.
    """

    kind: str
    name: str
    path: Path | None
    size: int
    modified: float


class Home:
    """The directories of one user. `environ` decides where they are; `BISECT_CELERY_HOME` puts both in one.

    Raises InfraError when a directory cannot be made or belongs to somebody else.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        values = os.environ if environ is None else environ
        own = values.get("BISECT_CELERY_HOME")
        user = Path(values.get("HOME") or "~").expanduser()
        if own:
            root = Path(own).expanduser().absolute()
            self.state, self.cache = root / "state", root / "cache"
        else:
            self.state = _base(values, "XDG_STATE_HOME", user / ".local" / "state") / NAME
            self.cache = _base(values, "XDG_CACHE_HOME", user / ".cache") / NAME

    def make(self) -> Home:
        """Make the directories, or take back what others may do in them. Returns itself."""
        for path in (self.state, self.cache, self.sessions, self.repositories):
            private_folder(path)
        return self

    @property
    def sessions(self) -> Path:
        """One folder for each session: artifacts, logs, reports."""
        return self.state / "sessions"

    @property
    def database(self) -> Path:
        """The store's SQLite file."""
        return self.state / "store.sqlite3"

    @property
    def repositories(self) -> Path:
        """Our private bare repositories, one for each repository under test."""
        return self.state / "repositories"

    @property
    def builds(self) -> Path:
        """The root of the local Runner: environments, resolutions, uv's cache, interpreters."""
        return self.cache / "builds"

    def session_folder(self, session: str) -> Path:
        """The folder of a session, made if need be. Raises ValueError for what is no session id."""
        return private_folder(self.sessions / _plain(session))

    def repository_folder(self, repository: Path) -> Path:
        """Where the private repository for `repository` (its common git directory) belongs; not made."""
        name = hashlib.sha256(os.fsencode(repository.resolve())).hexdigest()[:16]
        return self.repositories / f"{name}.git"

    def kept(self) -> tuple[Kept, ...]:
        """What `clean` may offer to delete, the newest first. The database is none of it: it is not big."""
        places = (
            ("session", self.sessions),
            ("repository", self.repositories),
            ("environment", self.builds / "environments"),
            ("cache", self.builds),
        )
        found = [one for kind, place in places for one in _entries(kind, place)]
        return tuple(sorted(found, key=lambda one: -one.modified))


def private_folder(path: Path) -> Path:
    """Make `path` with its parents, mode 0700 for itself; an existing one must be ours, and is closed to others.

    Raises InfraError when that cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        seen = path.stat()
        owners = {seen.st_uid, path.lstat().st_uid}
        if not stat.S_ISDIR(seen.st_mode) or owners != {os.geteuid()}:
            raise InfraError(f"{path} is not a folder of this user.", "Set BISECT_CELERY_HOME to a folder of your own.")
        if stat.S_IMODE(seen.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise InfraError(
            f"{path} cannot be made or used: {error.strerror}.", "Set BISECT_CELERY_HOME to a folder of your own."
        ) from error
    return path


def folder_size(path: Path) -> int:
    """Bytes that a file or folder takes on the disk; a file linked more than once below it counts once."""
    seen: set[tuple[int, int]] = set()
    return sum(_sizes(path, seen))


def _sizes(path: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield found.st_blocks * 512
        if stat.S_ISDIR(found.st_mode):
            for entry in os.scandir(path):
                yield from _sizes(Path(entry.path), seen)


def _entries(kind: str, place: Path) -> Iterator[Kept]:
    """The folders in `place`; of the builds' root only what is not listed one by one."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(place):
            listed = kind == "cache" and entry.name == "environments"
            if entry.is_dir(follow_symlinks=False) and not listed:
                modified = entry.stat(follow_symlinks=False).st_mtime
                yield Kept(kind, entry.name, Path(entry.path), folder_size(Path(entry.path)), modified)


def _base(values: Mapping[str, str], name: str, default: Path) -> Path:
    """A base directory; the specification says that a relative one is to be ignored."""
    said = values.get(name, "")
    return Path(said) if said.startswith("/") else default


def _plain(session: str) -> str:
    if not session or "/" in session or session.startswith("."):
        raise ValueError(f"not a session id: {session!r}")
    return session
