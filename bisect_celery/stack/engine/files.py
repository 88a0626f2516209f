"""Tar archives, which is how files go into containers and come out of them: the engine may be on another machine."""

from __future__ import annotations

import contextlib
import io
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from bisect_celery.errors import InfraError

# Nobody's user in every image: programs need a name for theirs (`getpass.getuser()`), and no rights.
NOBODY = 65534
_SPOOL = 8 << 20


def archive_of(files: Mapping[str, bytes | None], uid: int = 0, mode: int = 0o644) -> bytes:
    """A small archive: paths relative to where it is unpacked, with their content; None makes a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, files, uid, mode)
    return buffer.getvalue()


@contextlib.contextmanager
def tree_archive(
    trees: Mapping[str, Path], files: Mapping[str, bytes | None], spool: Path, uid: int = NOBODY
) -> Iterator[IO[bytes]]:
    """An archive of whole folders, each below its name, and of small files, all owned by `uid`.

    Kept in memory while small, then in the folder `spool`. Links stay links; sockets and the like are left out.
    Raises InfraError when it cannot be written.
    """

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = uid
        member.uname = member.gname = ""
        return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None

    with tempfile.SpooledTemporaryFile(_SPOOL, dir=str(spool)) as file:
        try:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name, folder in trees.items():
                    archive.add(folder, name, filter=owned)
                _add(archive, files, uid, 0o644)
            file.seek(0)
        except OSError as error:
            why = error.strerror or error
            raise InfraError(f"A tree cannot be packed for its container: {why}.", "Is the disk full?") from error
        yield file


@contextlib.contextmanager
def placed_archive(
    layout: Path, files: Sequence[tuple[str, str]], spool: Path, uid: int, root: str | None
) -> Iterator[IO[bytes]]:
    """An archive, to be unpacked at the top, of files of a folder at absolute paths of their own: (path in it, path).

    Folders below `root` belong to `uid` as the files do; all others are the image's. Raises InfraError when it cannot
    be written.
    """
    folders = sorted({one for _, target in files for one in _between(root, posixpath.dirname(target))} if root else ())
    with tempfile.SpooledTemporaryFile(_SPOOL, dir=str(spool)) as file:
        try:
            with tarfile.open(fileobj=file, mode="w") as archive:
                _add(archive, {folder.lstrip("/"): None for folder in folders}, uid, 0o644)
                for path, target in files:
                    member = archive.gettarinfo(layout / path, target.lstrip("/"))
                    member.uid = member.gid = uid
                    member.uname = member.gname = ""
                    if member.isreg():
                        with (layout / path).open("rb") as content:
                            archive.addfile(member, content)
                    else:
                        archive.addfile(member)
            file.seek(0)
        except OSError as error:
            why = error.strerror or error
            raise InfraError(f"A tree cannot be packed for its container: {why}.", "Is the disk full?") from error
        yield file


def _between(root: str, folder: str) -> Iterator[str]:
    while folder.startswith(f"{root}/"):
        yield folder
        folder = posixpath.dirname(folder)


def moved(source: IO[bytes], target: Path, folder: str) -> None:
    """Copy an archive whose members stand below `folder` into one at `target` where they stand at the top."""
    with tarfile.open(fileobj=source) as found, tarfile.open(target, "w") as archive:
        for member in found:
            name = member.name.removeprefix(folder).lstrip("/")
            if name:
                if member.islnk():
                    member.linkname = member.linkname.removeprefix(folder).lstrip("/")
                member.name = name
                archive.addfile(member, found.extractfile(member) if member.isfile() else None)


def _add(archive: tarfile.TarFile, files: Mapping[str, bytes | None], uid: int, mode: int) -> None:
    for path, content in files.items():
        member = tarfile.TarInfo(path)
        member.uid = member.gid = uid
        if content is None:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        else:
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))


def only_file(data: bytes) -> bytes | None:
    """The content of the one file of an archive; None when it is a folder."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.next()
        stream = archive.extractfile(member) if member is not None and member.isfile() else None
        return stream.read() if stream is not None else None
