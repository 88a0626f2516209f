"""What merging two commits gives when nobody helps: the base on which a merge's own changes are told apart.

`git merge-tree --write-tree` would say it too, but whatever git writes it first looks for in the store that is borrowed
from the user, and finding it there it touches that file. So the paths are merged here, and git merges the contents.
Renames are not followed: where one side renamed what the other changed, a merge needs help.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bisect_celery.core.atoms import REGULAR, Entry
from bisect_celery.repo.trees import Trees

_Sides = tuple[Entry | None, Entry | None, Entry | None]


def merged(trees: Trees, base: str, first: str, second: str) -> str | None:
    """The tree that three-way merging makes of two trees and their common one; None when it needs help."""
    paths = {path for side in (first, second) for path in trees.changed_paths(base, side)}
    known = [trees.entries(tree) for tree in (base, first, second)]
    files: dict[str, Entry | None] = {}
    both: dict[str, _Sides] = {}
    for path in sorted(paths):
        old, ours, theirs = (entries.get(path) for entries in known)
        if ours == theirs or theirs == old:
            files[path] = ours
        elif ours == old:
            files[path] = theirs
        else:
            both[path] = (old, ours, theirs)
    contents = _contents(trees, list(both.values()))
    if contents is None:
        return None
    for (path, (_, ours, _)), sha in zip(both.items(), trees.written(contents), strict=True):
        assert ours is not None
        files[path] = Entry(ours.mode, sha)
    return trees.having(first, files)


def _contents(trees: Trees, both: Sequence[_Sides]) -> list[bytes] | None:
    """The merged contents of files that both sides changed; None when one cannot be merged."""
    found = []
    for sides in both:
        if any(side is None or side.mode not in REGULAR for side in sides):
            return None
        old, ours, theirs = (side for side in sides if side is not None)
        if len({old.mode, ours.mode, theirs.mode}) > 1:
            return None
        content = _content(trees, old, ours, theirs)
        if content is None:
            return None
        found.append(content)
    return found


def _content(trees: Trees, old: Entry, ours: Entry, theirs: Entry) -> bytes | None:
    blobs = trees.blobs((old.sha, ours.sha, theirs.sha))
    with TemporaryDirectory(prefix="merge-", dir=trees.scratch) as folder:
        for name, side in (("old", old), ("ours", ours), ("theirs", theirs)):
            Path(folder, name).write_bytes(blobs[side.sha])
        words = ("merge-file", "-p", "--quiet", *(str(Path(folder, name)) for name in ("ours", "old", "theirs")))
        done = trees.writer.run(*words, check=False)  # its status is the number of conflicts, or an error's
    return done.out if done.code == 0 else None
