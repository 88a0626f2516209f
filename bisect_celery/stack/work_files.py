"""What a trial's work folder holds, as a tar archive: how state of one trial comes into another."""

from __future__ import annotations

import tarfile
from pathlib import Path

from bisect_celery.errors import InfraError


def pack(folder: Path, archive: Path) -> None:
    """The content of `folder`, names relative to it; sockets and the like are left out. Raises InfraError."""
    try:
        with tarfile.open(archive, "w") as tar:
            for entry in sorted(folder.iterdir()):
                tar.add(entry, entry.name, filter=_kept)
    except OSError as error:
        raise InfraError(
            f"The work folder cannot be packed: {error.strerror or error}.", "Is the disk full?"
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Put what `pack` took into `folder`, whoever owned it. Raises InfraError."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter=_within)
    except (OSError, tarfile.TarError) as error:
        raise InfraError(f"The earlier state cannot be unpacked: {error}.", "Is the disk full?") from error


def _within(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """What stays in the folder; a link that leads elsewhere is of the machine, and no state of the project's."""
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError:
        return None


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None
