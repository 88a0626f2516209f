"""What went wrong with the database, as one of our two kinds of error."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bisect_celery.errors import InfraError

DISK_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what sqlite3 (or Django, in its name) raises inside as an InfraError about the store at `path`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise infra(path, error) from error
    except Exception as error:
        # Django wraps sqlite3's errors in its own; imported here it would cost half a second at start
        if isinstance(error.__cause__, sqlite3.Error):
            raise infra(path, error.__cause__) from error
        raise


def infra(path: Path, error: Exception) -> InfraError:
    """The InfraError for what sqlite3 or the file system said about the store at `path`."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return InfraError(
            f"The store {path} stayed locked by another program",
            "Another bisect-celery may be deleting or upgrading; let it end, then try again.",
        )
    if name in DISK_FULL:
        return InfraError(
            f"The store {path} cannot be written: the disk is full or refuses to write ({error})",
            "Free some space (`bisect-celery clean` lists what is ours), then `bisect-celery resume`.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return InfraError(
            f"The store {path} is damaged ({error})",
            f"Move it away to begin with an empty one: mv {path} {path}.damaged",
        )
    return InfraError(
        f"The store {path} cannot be used ({error})",
        "It must be a file of yours on a local disk; XDG_STATE_HOME chooses another place.",
    )
