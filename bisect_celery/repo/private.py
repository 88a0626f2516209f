"""Our own bare repository beside the user's: it borrows their objects, and all that we write is in it.

Objects are borrowed through `objects/info/alternates` (gitrepository-layout(5)); what else decides how
history and files look (shallow boundaries, grafts, replace refs, a partial clone's remote, attributes, ignore
rules, settings) is copied each time it is opened. A second repository, `written`, borrows nothing and takes what
we write, because git touches (freshens) a borrowed object that it is asked to write again; the first borrows
from it as from the user.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bisect_celery.core.atoms import Entry, touched
from bisect_celery.errors import InfraError
from bisect_celery.model import Atom, Cancel, Revision, Tree, Verdict
from bisect_celery.repo import bisect, ends, layout, merging, revisions, worktree
from bisect_celery.repo.bisect import Answer, Found, OnStep
from bisect_celery.repo.config import config_text
from bisect_celery.repo.ends import Ends, Range
from bisect_celery.repo.git import Git, need_git, raw
from bisect_celery.repo.trees import Trees
from bisect_celery.repo.user import UserRepository


class PrivateRepository:
    """A bare repository of ours over the user's objects. Layouts and reads may run in several threads at once,
    one bisection at a time (also between processes; a second raises InfraError).
    """

    def __init__(self, path: Path, user: UserRepository) -> None:
        """Use `create`."""
        self.path = path
        self.user = user
        self._scratch = path / "tmp"
        self._git = Git(path, path)
        self._written = path / "written"
        self._asking: PrivateRepository | None = None
        self._modules: dict[Path, Trees] = {}
        self._opening = threading.Lock()
        self._trees = Trees(self._git, Git(self._written, self._written), self._scratch)

    @classmethod
    def create(cls, path: Path, user: UserRepository) -> PrivateRepository:
        """Make the repository at `path`, or open the one that is there, for `user`'s. Raises InfraError."""
        need_git()
        path = Path(os.path.abspath(path))
        made = cls(path, user)
        made._make()
        return made

    def close(self) -> None:
        """Remove temporary files. The repository stays, with the objects of composed trees; it can be reopened."""
        bisect.remove_noted(self._scratch / "socket-folder")
        shutil.rmtree(self._scratch, ignore_errors=True)

    # --- revisions ---

    def resolve(self, name: str) -> Revision:
        """The commit that a name (branch, tag, `HEAD~3`) means in the user's repository; `HEAD` is this working
        tree's. Raises UserError, with what is close to it or would fetch it, when it means none.
        """
        return self.revision(revisions.name_to_sha(self.user, name))

    def revision(self, sha: str) -> Revision:
        """The commit with this sha. Raises InfraError when there is none."""
        return revisions.read(self._git, [sha])[0]

    def parents(self, revision: Revision) -> tuple[Revision, ...]:
        """A commit's parents in their order; none at a root or where a shallow clone was cut."""
        return revisions.read(self._git, revision.parents)

    # --- searching ---

    def check_ends(
        self,
        good: Revision,
        bad: Revision,
        paths: Sequence[str] = (),
        first_parent: bool = False,
        named: tuple[str, str] | None = None,
    ) -> Ends:
        """How GOOD and BAD stand to each other. `paths` are pathspecs relative to the top
        (`UserRepository.pathspecs`), `named` the ends as the user typed them, for messages.

        Raises EndsError for ends that are swapped, the same or unrelated; UserError when the range is not in
        this clone, or touches none of the paths.
        """
        span = Range((good.sha,), bad.sha, tuple(paths), first_parent)
        return ends.check_ends(self._git, self.path / "shallow", span, named or (good.short, bad.short))

    def steps(
        self, good: Sequence[Revision], bad: Revision, paths: Sequence[str] = (), first_parent: bool = False
    ) -> tuple[int, int]:
        """(commits that can be the first bad one, about how many trials git will ask for)."""
        span = Range(tuple(one.sha for one in good), bad.sha, tuple(paths), first_parent)
        return ends.estimate(self._git, span)

    def suspects(
        self, good: Sequence[Revision], bad: Revision, paths: Sequence[str] = (), first_parent: bool = False
    ) -> tuple[Revision, ...]:
        """The commits that can be the first bad one, newest first: what BAD has and none of the good ones has."""
        span = Range(tuple(one.sha for one in good), bad.sha, tuple(paths), first_parent)
        return revisions.read(self._git, ends.commits(self._git, span))

    def bisect(
        self,
        good: Revision,
        bad: Revision,
        *,
        answer: Answer,
        cancel: Cancel,
        paths: Sequence[str] = (),
        first_parent: bool = False,
        on_step: OnStep | None = None,
    ) -> Found:
        """`git bisect run` from GOOD to BAD; `answer` is called in this thread for each commit git chooses.

        `on_step` is told before each answer how many commits are suspect and about how many trials are left,
        the next one included. If `answer` raises or `cancel` is set, the bisection is aborted, its state
        removed, and the exception goes on unchanged. Raises InfraError when git failed.
        """
        span = Range((good.sha,), bad.sha, tuple(paths), first_parent)
        with self._alone():
            return bisect.search(self._git, self._scratch, span, answer, cancel, on_step)

    def next_question(
        self,
        good: Revision,
        bad: Revision,
        answers: Sequence[tuple[str, Verdict]],
        paths: Sequence[str] = (),
        first_parent: bool = False,
    ) -> Revision | None:
        """The commit that `git bisect` would ask for after these answers; None when it would ask no more.

        Asked of git, on a bisection of its own in a repository beside this one, so it may be called while `bisect`
        runs: to try early, in a free slot, what git would ask next.
        """
        span = Range((good.sha,), bad.sha, tuple(paths), first_parent)
        if self._asking is None:
            self._asking = PrivateRepository.create(self.path / "asking", self.user)
        with self._asking._alone():
            sha = bisect.next_question(self._asking._git, span, tuple(answers))
        return self.revision(sha) if sha else None

    def between(self, good: Revision, bad: Revision, first_parent: bool = False) -> dict[str, tuple[str, ...]]:
        """The parents (shas) of every commit that BAD has and GOOD has not, also of those that no paths select."""
        return ends.parents_between(self._git, Range((good.sha,), bad.sha, (), first_parent))

    def bisect_log(
        self,
        good: Revision,
        bad: Revision,
        answers: Sequence[tuple[str, Verdict]],
        paths: Sequence[str] = (),
        first_parent: bool = False,
    ) -> str:
        """A log that `git bisect replay` takes, as git writes it for these answers: descendants' before ancestors'."""
        span = Range((good.sha,), bad.sha, tuple(paths), first_parent)
        with self._alone():
            return bisect.written(self._git, span, tuple(answers))

    # --- trees ---

    def files(self, tree: str) -> tuple[str, ...]:
        """The paths of a tree's files, symlinks and submodules. Bytes that are no UTF-8 are surrogates."""
        return tuple(self._trees.entries(tree))

    def read(self, tree: str, path: str) -> bytes | None:
        """A file's content as git keeps it (before filters); None when the tree has no such file."""
        return self._trees.read(tree, path)

    def read_many(self, tree: str, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of `paths` that are regular files, at the cost of one."""
        return self._trees.read_many(tree, paths)

    def changed_paths(self, old: str, new: str) -> tuple[str, ...]:
        """The paths that differ between two trees or commits; a renamed file counts under both names."""
        return self._trees.changed_paths(old, new)

    def working_tree(self, user: UserRepository | None = None) -> Tree:
        """The user's working tree, with uncommitted and untracked files, as a tree in our store. `user`: another
        working tree of the same repository. Raises UserError when there is none or it cannot be read.
        """
        return Tree(worktree.snapshot(self._trees, user or self.user), "working tree", "uncommitted changes included")

    def layout(self, tree: str, folder: Path, cancel: Cancel | None = None) -> tuple[str, ...]:
        """Lay a tree out in a fresh folder as a checkout would; returns notes about what is not there.

        Submodules come from the user's clones of them; nothing is fetched. Raises layout.LayoutFailed when a required
        filter fails on this tree, InfraError for anything else.
        """
        return layout.lay_out(self._trees, tree, folder, self.user, self._open_module, cancel)

    # --- narrowing ---

    def atoms(self, parent: Revision | None, culprit: Revision) -> tuple[Atom, ...]:
        """The atoms of `culprit` against `parent` (None: against nothing, for a root commit).

        Proven before they are returned: none of them make the parent's tree, all of them the culprit's;
        InfraError otherwise.
        """
        return self.atoms_between(parent.tree if parent else self._trees.empty(), culprit.tree)

    def atoms_between(self, old: str, new: str) -> tuple[Atom, ...]:
        """The atoms that lead from one tree to another, as proven as those of a commit."""
        return self._trees.atoms(old, new)

    def merged(self, merge: Revision) -> str | None:
        """The tree that merging a commit's two parents gives without anybody's help; None where it needs help."""
        if len(merge.parents) != 2:
            return None
        bases = self._git.lines("merge-base", "--all", *merge.parents)
        if len(bases) != 1:
            return None  # histories that crossed: git itself first merges the bases
        return merging.merged(self._trees, *(self.revision(sha).tree for sha in (*bases, *merge.parents)))

    def material(self, base: str, atoms: Sequence[Atom]) -> tuple[dict[str, Entry], dict[str, bytes]]:
        """What composing `atoms` in memory takes: the entries of the paths they touch, and all blobs by id."""
        paths = touched(atoms)
        entries = {path: entry for path, entry in self._trees.entries(base).items() if path in paths}
        shas = [entry.sha for entry in entries.values() if not entry.mode.startswith("160")]
        changes = [change for atom in atoms for _, change in atom.changes]
        shas += [c.new_sha for c in changes if c.new_sha and c.new_mode and not c.new_mode.startswith("160")]
        return entries, self._trees.blobs(shas)

    def empty_tree(self) -> str:
        """The tree without files, on which a root commit's atoms are composed."""
        return self._trees.empty()

    def compose(self, base: str, atoms: Sequence[Atom]) -> str:
        """The id of the tree that `atoms` make of the tree `base`; their order does not matter."""
        return self._trees.compose(base, atoms)

    def reverse_patch(self, culprit: Revision, fixed: str) -> str:
        """The patch that makes the tree `fixed` of the culprit, for `git apply`. Always UTF-8; write it as bytes."""
        return self._trees.patch(culprit.tree, fixed)

    def try_patch(self, revision: Revision, patch: str) -> str:
        """The id of the tree that the real `git apply` makes of a revision. Raises trees.PatchDoesNotApply."""
        return self._trees.apply(revision.tree, patch)

    # --- making ---

    def _make(self) -> None:
        try:
            for path in (self.path, self._written):
                self._init(path)
            self._replace("config", raw(config_text(self.user)))
            self._replace("written/config", raw(config_text(self.user, remotes=False)))
            stores = (self._written / "objects", self.user.objects)
            self._replace("objects/info/alternates", b"".join(_alternate(store) for store in stores))
            for name in ("shallow", "info/grafts", "info/attributes", "info/exclude"):
                self._carry(name)
        except OSError as error:
            raise InfraError(f"The private repository at `{self.path}` cannot be made: {error}.") from error
        self._carry_replaced()

    def _init(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (path / "HEAD").exists():
            words = ("init", "--quiet", "--bare", "--template=", f"--object-format={self.user.object_format}")
            settings = ("init.defaultRefFormat=files", "init.defaultBranch=none")
            Git(None, path).having(settings=settings).run(*words, str(path))
        for folder in ("info", "objects/info", "tmp"):
            (path / folder).mkdir(exist_ok=True)

    def _carry(self, name: str) -> None:
        source = self.user.common_dir / name
        content = source.read_bytes() if source.exists() else None
        for target in (name, f"written/{name}") if name in ("info/attributes", "info/exclude") else (name,):
            if content is None:
                (self.path / target).unlink(missing_ok=True)
            else:
                self._replace(target, content)

    def _carry_replaced(self) -> None:
        """Replace refs: with them the user joins or rewrites histories, and bisects what they show."""
        words = ("for-each-ref", "--format=%(refname) %(objectname)", "refs/replace/")
        theirs, ours = set(self.user.git.lines(*words)), set(self._git.lines(*words))
        commands = [f"delete {line.split()[0]}\n" for line in ours - theirs]
        commands += [f"update {line}\n" for line in theirs - ours]
        if commands:
            self._git.run("update-ref", "--stdin", input="".join(commands).encode())

    def _replace(self, name: str, content: bytes) -> None:
        """Put a whole file in place at once: threads and other sessions may be reading the one that is there."""
        path = self.path / name
        if path.exists() and path.read_bytes() == content:
            return
        with tempfile.NamedTemporaryFile(dir=self.path / "tmp", delete=False) as file:
            file.write(content)
        os.replace(file.name, path)

    def _open_module(self, module: UserRepository) -> Trees:
        """The trees of a submodule, in a repository of ours over the user's clone of it."""
        with self._opening:
            if module.git_dir not in self._modules:
                name = hashlib.sha256(os.fsencode(module.git_dir)).hexdigest()[:16]
                self._modules[module.git_dir] = PrivateRepository.create(self.path / "modules" / name, module)._trees
            return self._modules[module.git_dir]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self.path / "bisecting", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InfraError(f"Another bisection is running in `{self.path}`.", "Wait for it to end.") from error
            yield


def _alternate(objects: Path) -> bytes:
    """The alternates file's line for an object store. A path that the file's format would misread is C-quoted."""
    path = os.fsencode(objects)
    if re.search(rb'["\n\\]|^#', path) is None:
        return path + b"\n"
    quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + quoted + b'"\n'
