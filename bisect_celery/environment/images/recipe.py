"""From a Dockerfile and a tree to what a build is given: a context that holds no more than the image's key names.

Code that no step reads after it was copied need not be in the image: it is put into each trial instead. So a COPY of
the code is reduced to the files that later steps install from, and revisions that change none of them share an image.
An image can hold nothing of another revision, since its build never saw one. Where a later step may read anything, the
copy stays whole, and each content of it has an image of its own: what `docker build` makes.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.environment.images.dockerfile import Dockerfile, Instruction, Stage, Unclear, parse
from bisect_celery.environment.images.dockerignore import ignored
from bisect_celery.environment.images.run_steps import Wants, ancestors
from bisect_celery.environment.images.stages import Bases, Copy, Follower, Other, Run, sources_of
from bisect_celery.environment.requirements import find_links, read_chain
from bisect_celery.environment.tree import Folder, join
from bisect_celery.model import Build

SCHEMA = 1
OURS = ".bisect-celery"
_OF_BUILDKIT = frozenset({"mount", "network", "security", "link", "parents", "exclude", "checksum", "chmod"})
_PROJECTS = {
    "uv": ("pyproject.toml", "uv.lock", ".python-version", "uv.toml"),
    "poetry": ("pyproject.toml", "poetry.lock", "poetry.toml"),
    "pipenv": ("Pipfile", "Pipfile.lock"),
}


@dataclass(frozen=True)
class Recipe:
    """What a build is given. `context`: (path in the context, path in the tree; None: an empty folder).

    `laid` are (path in the tree, path in the image) of files that are put in at a trial, `placed` of all files of the
    tree that are in the image then. `whole` says why copies could not be reduced, `left_out` what commands are not run.
    `bases` are (reference, id) of the images that it begins with.
    """

    text: str
    target: str | None
    arguments: tuple[tuple[str, str], ...]
    context: tuple[tuple[str, str | None], ...]
    bases: tuple[tuple[str, str], ...] = ()
    laid: tuple[tuple[str, str], ...] = ()
    placed: tuple[tuple[str, str], ...] = ()
    whole: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def key(self, layout: Path, platform: str) -> str:
        """The digest of all that the image is made of."""
        made_of = [SCHEMA, self.text, self.target, self.arguments, self.bases, platform]
        content = hashlib.sha256(json.dumps(made_of).encode())
        for path, source in sorted(self.context, key=lambda one: one[0]):
            content.update(json.dumps([path, _content(layout, source)]).encode())
        return content.hexdigest()[:24]

    def folder_of(self, folder: str) -> str | None:
        """Where the image has what stands in a folder of the tree ("" is its root); None where that cannot be told."""
        inside = f"{folder}/" if folder else ""
        found: Counter[str] = Counter()
        for path, target in self.placed:
            rest = path.removeprefix(inside)
            if path.startswith(inside) and target.endswith(f"/{rest}"):
                found[target[: -len(rest) - 1] or "/"] += 1
        return found.most_common(1)[0][0] if found else None


def _content(layout: Path, source: str | None) -> list[object]:
    if source is None:
        return ["folder"]
    path = layout / source
    if path.is_symlink():
        return ["link", os.readlink(path)]
    return ["file", bool(path.stat().st_mode & 0o100), hashlib.sha256(path.read_bytes()).hexdigest()]


def needs_buildkit(text: str) -> str:
    """The first line that only BuildKit understands, in words; "" where any builder will do."""
    try:
        found = parse(text)
    except Unclear:
        return ""
    for stage in found.stages:
        for one in stage.instructions:
            names = {name for name, _ in one.flags}
            if one.heredocs or names & _OF_BUILDKIT:
                return one.shown()
    return ""


def recipe(layout: Path, build: Build, bases: Bases, overlays: frozenset[str] = frozenset()) -> Recipe:
    """The recipe for the tree at `layout`; `bases` tells of images. `overlays` are files that no `.dockerignore` hides.

    Raises FileNotFoundError where the tree has no such Dockerfile; what `bases` raises comes through.
    """
    folder = Folder(layout)
    text = folder.text(build.dockerfile)
    if text is None:
        raise FileNotFoundError(build.dockerfile)
    files, links = _files(layout, build, overlays)
    whole = tuple((path, join(build.context, path)) for path in files)
    try:
        dockerfile = parse(text)
        follower = Follower(dockerfile, dict(build.args), files, links, bases)
        return _Reduction(folder, build, dockerfile, follower).recipe()
    except Unclear as unclear:
        why = (f"{build.dockerfile} cannot be followed ({unclear})",)
        return Recipe(text, build.target, build.args, whole, tuple(_bases(text, bases)), whole=why)


def _bases(text: str, bases: Bases) -> Iterator[tuple[str, str]]:
    """The images that are named plainly."""
    for name in dict.fromkeys(re.findall(r"^\s*FROM\s+(?:--\S+\s+)*([^\s$]+)(?:\s|$)", text, re.I | re.M)):
        if name != "scratch" and not re.search(rf"\bAS\s+{re.escape(name)}\s*$", text, re.I | re.M):
            yield name, bases(name).id


def _files(layout: Path, build: Build, overlays: frozenset[str]) -> tuple[list[str], list[str]]:
    """The context's files that are not ignored, and those of them that are links."""
    folder = Folder(layout)
    own = folder.text(f"{build.dockerfile}.dockerignore")
    hidden = ignored(own if own is not None else folder.text(join(build.context, ".dockerignore")) or "")
    root = layout / build.context
    files, links = [], []
    for place, folders, names in os.walk(root):
        linked = [name for name in folders if Path(place, name).is_symlink()]
        for name in (*names, *linked):
            path = Path(place, name).relative_to(root).as_posix()
            if path == ".dockerignore" or (hidden(path) and join(build.context, path) not in overlays):
                continue
            files.append(path)
            if Path(place, name).is_symlink():
                links.append(path)
    return files, links


@dataclass(frozen=True)
class _Judged:
    """A copy: the files of it that must be in the image (None: all of them), and why all."""

    copy: Copy
    kept: frozenset[str] | None
    why: str = ""


class _Reduction:
    """Takes out of a Dockerfile what a trial can put in by itself."""

    def __init__(self, folder: Folder, build: Build, dockerfile: Dockerfile, follower: Follower) -> None:
        self._build, self._dockerfile, self._follower = build, dockerfile, follower
        self._context = Folder(folder.layout / build.context)
        self._target = self._wanted()
        self._needed = self._reachable()
        self._chain = self._chained()
        self._followed = {stage.number: follower.followed(stage) for stage in self._needed}
        self._steps = [step for stage in self._chain for step in self._followed[stage.number].steps]
        self._folders: set[str] = set()

    def _wanted(self) -> Stage:
        if self._build.target is None:
            return self._dockerfile.stages[-1]
        fitting = [stage for stage in self._dockerfile.stages if stage.is_called(self._build.target)]
        if not fitting:
            raise Unclear(f"it has no stage {self._build.target}")
        return fitting[-1]

    def _uses(self, stage: Stage) -> Iterator[Stage]:
        """The stages that a stage is made of, each as often as it is."""
        if isinstance(base := self._follower.base(stage), Stage):
            yield base
        for one in stage.instructions:
            for name in sources_of(one):
                if isinstance(source := self._follower.source(stage, name), Stage):
                    yield source

    def _reachable(self) -> tuple[Stage, ...]:
        """All stages up to the wanted one where any is called by its number, else those that it is made of."""
        until = self._dockerfile.stages[: self._target.number + 1]
        if any(name.isdigit() for stage in until for one in stage.instructions for name in sources_of(one)):
            return until
        seen, ahead = {self._target.number}, [self._target]
        while ahead:
            for stage in self._uses(ahead.pop()):
                if stage.number not in seen:
                    seen.add(stage.number)
                    ahead.append(stage)
        return tuple(stage for stage in until if stage.number in seen)

    def _chained(self) -> tuple[Stage, ...]:
        """The wanted stage, and before it those that it alone goes on from."""
        used = Counter(stage.number for one in self._needed for stage in self._uses(one))
        chain = [self._target]
        while isinstance(base := self._follower.base(chain[0]), Stage) and used[base.number] == 1:
            chain.insert(0, base)
        return tuple(chain)

    # --- what must be in the image

    def recipe(self) -> Recipe:
        judged = {id(step): self._judge(index) for index, step in enumerate(self._steps) if isinstance(step, Copy)}
        context: dict[str, str | None] = {}
        lines: dict[int, str] = {}
        reduced, left_out = 0, list[str]()
        for step in self._steps:
            if isinstance(step, Run) and reduced and step.wants is not None and step.wants.left_out:
                left_out += step.wants.left_out
                lines[id(step.instruction)] = _instead(step.instruction, step.wants)
            found = judged.get(id(step))
            if found is not None and found.kept is not None:
                reduced += 1
                lines[id(found.copy.instruction)] = self._reduced(found, reduced, context)
        for path in self._whole(judged):
            context[path] = join(self._build.context, path)
        return Recipe(
            self._text(lines),
            None,
            self._build.args,
            tuple(sorted(context.items())),
            tuple(dict.fromkeys(base for followed in self._followed.values() for base in followed.bases)),
            *self._placed(judged),
            tuple(dict.fromkeys(one.why for one in judged.values() if one.why)),
            tuple(left_out),
        )

    def _judge(self, index: int) -> _Judged:
        copy = self._steps[index]
        assert isinstance(copy, Copy)
        everything = {path for path, _ in copy.files}
        needed: set[str] = set()
        for later, step in enumerate(self._steps[index + 1 :], index + 1):
            if isinstance(step, Run):
                read = self._read_by(step, self._copied_before(later))
                if read is None:
                    return _Judged(copy, None, f"{step.instruction.shown()} may read all that was copied before it")
                needed |= read
            elif isinstance(step, Other) and any(_within(target, step.folder) for _, target in copy.files):
                return _Judged(copy, None, f"{step.instruction.shown()} puts files among the code")
        kept = frozenset(everything & needed)
        if not copy.movable or kept == everything:
            return _Judged(copy, None)
        return _Judged(copy, kept)

    def _copied_before(self, index: int) -> dict[str, str]:
        """Where a step finds what of the context: path in the image to path in the context."""
        return {target: path for step in self._steps[:index] if isinstance(step, Copy) for path, target in step.files}

    def _read_by(self, run: Run, at: Mapping[str, str]) -> set[str] | None:
        """The files of the context that a RUN reads where they were copied to (`at`); None: perhaps any."""
        if run.wants is None:
            return None
        found: set[str] = set()
        for path in run.wants.requirements:
            if path in at:
                chain = read_chain(self._context, at[path])
                if chain.local or any(find_links(line) for line in chain.options):
                    return None
                found.update(chain.files)
        for path in run.wants.files:
            if path in at:
                found.add(at[path])
            elif any(_within(target, path) for target in at):
                self._folders.add(path)
        for folder, words in run.wants.projects:
            project = self._project(folder, words, at)
            if project is None:
                return None
            found.update(project)
        return found

    def _project(self, folder: str, words: tuple[str, ...], at: Mapping[str, str]) -> list[str] | None:
        """The files of a project that a tool installs the locked dependencies of; None: it may read more."""
        tool, *flags = words
        here = [posixpath.join(folder, name) for name in _PROJECTS[tool]]
        if here[0] not in at or any(posixpath.join(above, "pyproject.toml") in at for above in ancestors(folder)):
            return None
        table = self._context.toml(at[here[0]])
        tools, reads_more = table.get("tool", {}), False
        if tool == "uv":
            uv = tools.get("uv", {})
            virtual = uv.get("package") is False or ("build-system" not in table and uv.get("package") is not True)
            reads_more = "workspace" in uv or _names(uv.get("sources"), "path", "workspace")
            alone = virtual or "--no-install-project" in flags
        elif tool == "poetry":
            poetry = tools.get("poetry", {})
            reads_more = _names(poetry, "path") or "file://" in str(table.get("project", ""))
            alone = "--no-root" in flags or poetry.get("package-mode") is False
        else:
            reads_more, alone = _names(table, "path", "editable"), True
        return None if reads_more or not alone else [at[path] for path in here if path in at]

    # --- what is written

    def _reduced(self, found: _Judged, number: int, context: dict[str, str | None]) -> str:
        """The line that puts a copy's kept files where they belong, and makes its folder."""
        copy, place = found.copy, f"{OURS}/copy-{number}"
        context[place] = None
        for path, target in copy.files:
            if found.kept is not None and path in found.kept:
                context[f"{place}/{posixpath.relpath(target, copy.folder)}"] = join(self._build.context, path)
        for folder in self._folders:
            if _within(folder, copy.folder) and folder != copy.folder:
                context[f"{place}/{posixpath.relpath(folder, copy.folder)}"] = None
        owner = [f"--chown={value}" for name, value in copy.instruction.flags if name == "chown"]
        words = json.dumps([f"{place}/", f"{copy.folder.rstrip('/')}/"])
        return " ".join(["COPY", *owner, words])

    def _whole(self, judged: Mapping[int, _Judged]) -> Iterator[str]:
        """The files of the context that instructions take as they are written."""
        for followed in self._followed.values():
            for step in followed.steps:
                if isinstance(step, Run):
                    yield from step.mounted
                elif isinstance(step, Copy) and (id(step) not in judged or judged[id(step)].kept is None):
                    yield from (path for path, _ in step.files)

    def _placed(self, judged: Mapping[int, _Judged]) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """What is put in at a trial, and all that is in the image then; who copies last has the last word."""
        last: dict[str, tuple[str, bool]] = {}
        for step in self._steps:
            if isinstance(step, Copy):
                kept = judged[id(step)].kept
                for path, target in step.files:
                    last[target] = (join(self._build.context, path), kept is not None and path not in kept)
        laid = tuple((path, target) for target, (path, later) in last.items() if later)
        return laid, tuple((path, target) for target, (path, _) in last.items())

    def _text(self, lines: Mapping[int, str]) -> str:
        def said(stage: Stage) -> Stage:
            kept = (replace(one, text=lines.get(id(one), one.text)) for one in stage.instructions)
            return replace(stage, instructions=tuple(one for one in kept if one.text))

        return replace(self._dockerfile, stages=tuple(said(stage) for stage in self._needed)).text


def _instead(one: Instruction, wants: Wants) -> str:
    flags = [f"--{name}={value}" for name, value in one.flags]
    return " ".join([one.name, *flags, wants.instead]) if wants.instead else ""


def _names(table: object, *keys: str) -> bool:
    """Whether one of these keys stands anywhere in a table."""
    if isinstance(table, dict):
        return any(key in keys or _names(value, *keys) for key, value in table.items())
    return isinstance(table, list) and any(_names(one, *keys) for one in table)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
