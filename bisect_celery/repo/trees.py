"""Trees read from, and written into, our object store: files, atoms, composed trees, patches.

The only module of this room that uses `core`: `core.atoms` decides and splices, git keeps the objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bisect_celery.core import atoms as core
from bisect_celery.errors import InfraError
from bisect_celery.model import Atom, FileChange
from bisect_celery.repo.git import Git, failed, raw, text

# Everything that configuration could change in a diff, said outright.
_DIFF = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--no-relative",
    "--diff-algorithm=myers", "--indent-heuristic", "--inter-hunk-context=0", "--ws-error-highlight=none",
    "--ignore-submodules=none", "--submodule=short",
)  # fmt: skip
_RENAMES = ("-M50%", "-l1000")
GITLINK = "160000"
_MOVED_FROM = re.compile(rb"^rename from (.*)$", re.MULTILINE)


class PatchDoesNotApply(InfraError):
    """`git apply` refused a patch for a revision."""


@dataclass(frozen=True)
class Trees:
    """The trees of one repository of ours. Temporary indexes stand below `scratch`.

    `git` reads: it also sees what is borrowed from the user. `writer` writes, to a store that `git` sees too and
    that borrows nothing: asked to write an object that a borrowed store has, git would touch that file there.
    """

    git: Git
    writer: Git
    scratch: Path

    # --- reading ---

    def entries(self, tree: str) -> dict[str, core.Entry]:
        """Every file, symlink and submodule of a tree by path."""
        found = {}
        for token in self.git.tokens("ls-tree", "-r", "-z", "--full-tree", tree):
            meta, _, path = token.partition("\t")
            mode, _, sha = meta.split(" ")
            found[path] = core.Entry(mode, sha)
        return found

    def read(self, tree: str, path: str) -> bytes | None:
        """A file's content as git keeps it, a symlink's target; None for anything else."""
        listed = self.git.tokens("ls-tree", "-z", "--full-tree", tree, "--", path) if path else ()
        for token in listed:
            meta, _, name = token.partition("\t")
            _, kind, sha = meta.split(" ")
            if name == path and kind == "blob":
                return self.blobs([sha])[sha]
        return None

    def read_many(self, tree: str, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of `paths` that are regular files, at the cost of one."""
        wanted = set(paths)
        regular = {p: e.sha for p, e in self.entries(tree).items() if p in wanted and e.mode.startswith("100")}
        contents = self.blobs(regular.values())
        return {path: contents[sha] for path, sha in regular.items()}

    def blobs(self, shas: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs. Raises InfraError when one cannot be had."""
        wanted = list(dict.fromkeys(shas))
        if not wanted:
            return {}
        out = self.git.run("cat-file", "--batch", input="".join(f"{sha}\n" for sha in wanted).encode()).out
        found, at = {}, 0
        for sha in wanted:
            end = out.index(b"\n", at)
            words = out[at:end].split()
            if len(words) != 3 or words[1] != b"blob":
                raise InfraError(f"The object {sha} is missing in this clone.", "git fsck")
            start, size = end + 1, int(words[2])
            found[sha] = out[start : start + size]
            at = start + size + 1
        return found

    def changed_paths(self, old: str, new: str) -> tuple[str, ...]:
        """Paths that differ between two trees; a renamed file counts twice."""
        options = ("-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none")
        return tuple(self.git.tokens("diff-tree", *options, old, new))

    def empty(self) -> str:
        """The id of the tree without anything, which depends on the repository's hash."""
        return text(self.writer.run("mktree", "-z", input=b"").out).strip()

    # --- atoms ---

    def atoms(self, old: str, new: str) -> tuple[Atom, ...]:
        """The atoms that lead from one tree to another. Raises InfraError unless they provably do."""
        found = core.take_apart(self._changes(old, new))
        for chosen, expected in (((), old), (found, new)):
            composed = self.compose(old, chosen)
            if composed != expected:
                raise InfraError(
                    f"Taking the commit apart is not exact: {len(chosen)} of {len(found)} atoms give the tree "
                    f"{composed[:10]}, not {expected[:10]}.",
                    "Please report this commit; the commit itself is still the answer.",
                )
        return found

    def compose(self, base: str, atoms: Sequence[Atom]) -> str:
        """The id of the tree that `atoms` make of `base`; its objects are written to our store.

        The order of `atoms` does not matter. Raises InfraError when one does not fit `base`.
        """
        try:
            entries = self.entries(base) if atoms else {}
            targets = core.plan(entries, atoms)
            edited = {path: target for path, target in targets.items() if target and target.edits}
            contents = self.blobs(target.sha for target in edited.values())
            spliced = [core.splice(contents[target.sha], target.edits) for target in edited.values()]
        except core.Mismatch as error:
            raise InfraError(f"Atoms do not fit the tree {base[:10]}: {error}") from error
        shas = dict(zip(edited, self.written(spliced), strict=True))
        files = {path: core.Entry(one.mode, shas.get(path, one.sha)) if one else None for path, one in targets.items()}
        return self.having(base, files)

    def _changes(self, old: str, new: str) -> list[core.PathChange]:
        tokens = iter(self.git.tokens("diff-tree", "-r", "-z", "--raw", "--no-abbrev", *_DIFF, *_RENAMES, old, new))
        changes: list[tuple[str, str | None, FileChange]] = []
        for token in tokens:
            old_mode, new_mode, old_sha, new_sha, status = token.removeprefix(":").split(" ")
            path = next(tokens)
            moved_to = next(tokens) if status.startswith("R") else None
            before = (old_mode, old_sha) if set(old_mode) != {"0"} else (None, None)
            after = (new_mode, new_sha) if set(new_mode) != {"0"} else (None, None)
            changes.append((path, moved_to, FileChange(*before, *after)))
        contents = self.blobs(sha for _, _, change in changes if _is_edit(change) for sha in _shas(change))
        return [self._change(*change, contents) for change in changes]

    def _change(
        self, path: str, moved_to: str | None, change: FileChange, contents: Mapping[str, bytes]
    ) -> core.PathChange:
        whole = core.PathChange(path, change, moved_to=moved_to)
        if not _is_edit(change):
            return whole
        before, after = (contents[sha] for sha in _shas(change))
        if not all(core.splits(name, change, before, after) for name in (path, moved_to or path)):
            return whole
        return core.PathChange(path, change, before, after, self._hunks(*_shas(change)), moved_to)

    def _hunks(self, old: str, new: str) -> tuple[core.Hunk, ...]:
        # Blobs have no path, so no attribute can hide a change; --text takes care of what applies to all paths.
        return core.parse_hunks(self.git.run("diff", *_DIFF, "--text", "-U0", old, new).out)

    def written(self, contents: Sequence[bytes]) -> list[str]:
        """The blobs with these contents, written to our store by one process."""
        if not contents:
            return []
        with TemporaryDirectory(prefix="blobs-", dir=self.scratch) as folder:
            for number, content in enumerate(contents):
                Path(folder, str(number)).write_bytes(content)
            near = os.path.relpath(folder, self.writer.folder)  # no newline in it, wherever we are
            names = "".join(f"{near}/{number}\n" for number in range(len(contents)))
            return self.writer.lines("hash-object", "-w", "--no-filters", "--stdin-paths", input=raw(names))

    def having(self, base: str, files: Mapping[str, core.Entry | None]) -> str:
        """`base` with these paths set or removed. Removals first: of paths that exclude each other git drops one."""
        nothing = "0" * len(base)
        removed = [f"0 {nothing}\t{path}\0" for path, entry in files.items() if entry is None]
        put = [f"{entry.mode} {entry.sha}\t{path}\0" for path, entry in files.items() if entry is not None]
        with self.index() as git:
            git.run("read-tree", base)
            if files:
                git.run("update-index", "-z", "--index-info", input=raw("".join(removed + put)))
            return self.write_tree(git)

    def write_tree(self, git: Git) -> str:
        """The id of the tree that the index of `git` holds, written to our store."""
        assert git.index is not None
        return text(self.writer.having(index=git.index).run("write-tree", "--missing-ok").out).strip()

    def carry(self, shas: Iterable[str]) -> None:
        """Copy objects into our store, for commands that write and must read them too."""
        names = "".join(f"{sha}\n" for sha in dict.fromkeys(shas)).encode()
        if names:
            pack = self.git.run("pack-objects", "--stdout", "-q", "--no-reuse-delta", "--window=0", input=names).out
            self.writer.run("unpack-objects", "-q", input=pack)

    # --- patches ---

    def patch(self, old: str, new: str) -> str:
        """The patch that makes `new` of `old`, for `git apply`: UTF-8 whatever the files are in.

        Files that are not UTF-8 are written as binary patches, so that the text survives files, databases
        and JSON.
        """
        words = ("diff-tree", "-p", "--binary", "--full-index", "-U3", *_DIFF, *_RENAMES, old, new)
        patch = self.git.run(*words).out
        try:
            return patch.decode("utf-8")
        except UnicodeDecodeError:
            with TemporaryDirectory(dir=self.scratch) as folder:
                attributes = Path(folder) / "attributes"
                attributes.write_text("* -diff\n")
                return self.git.having(settings=(f"core.attributesFile={attributes}",)).run(*words).out.decode("utf-8")

    def apply(self, tree: str, patch: str) -> str:
        """The id of the tree that `git apply` makes of `tree`. Raises PatchDoesNotApply."""
        if patch:
            self.carry(self._patched(tree, raw(patch)))
        with self.index() as git:
            git.run("read-tree", tree)
            if patch:
                words = ("apply", "--cached", "--whitespace=nowarn", "-")
                applied = self.writer.having(index=git.index).run(*words, input=raw(patch), check=False)
                if applied.code != 0:
                    raise PatchDoesNotApply(failed(applied, "apply the patch").message)
            return self.write_tree(git)

    def _patched(self, tree: str, patch: bytes) -> list[str]:
        """The blobs of `tree` that a patch is for: under the names it leaves, and those that it moves away from."""
        names = {token.split("\t", 2)[2] for token in self.writer.tokens("apply", "--numstat", "-z", "-", input=patch)}
        moved = {text(name) for name in _MOVED_FROM.findall(patch)}
        found = [entry.sha for path, entry in self.entries(tree).items() if path in names and entry.mode != GITLINK]
        if moved:  # git quotes these names as it does when it lists them without -z
            listed = (line.partition("\t") for line in self.git.lines("ls-tree", "-r", "--full-tree", tree))
            found += [meta.split(" ")[2] for meta, _, quoted in listed if quoted in moved]
        return found

    def index(self) -> _Index:
        """A context with an empty index of our own; yields git that uses it."""
        return _Index(self)


def _is_edit(change: FileChange) -> bool:
    """Whether a file stays a file and its content changes."""
    return change.old_mode in core.REGULAR and change.new_mode in core.REGULAR and change.old_sha != change.new_sha


def _shas(change: FileChange) -> tuple[str, str]:
    return change.old_sha or "", change.new_sha or ""


class _Index:
    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._folder = TemporaryDirectory(prefix="index-", dir=trees.scratch)

    def __enter__(self) -> Git:
        return self._trees.git.having(index=Path(self._folder.__enter__()) / "index")

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
