"""What the stages of a Dockerfile take from the build's context, and where they put it. Pure.

The instructions are followed with their variables and folders, as far as that is possible without running anything;
`Unclear` is raised where it is not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bisect_celery.environment.images.dockerfile import (
    Dockerfile,
    Instruction,
    Stage,
    Unclear,
    assigned,
    joined,
    substituted,
)
from bisect_celery.environment.images.dockerignore import expression
from bisect_celery.environment.images.run_steps import Wants, wants
from bisect_celery.model import ImageFacts

_REMOTE = re.compile(r"^(?:https?://|git@|git://|ssh://)")
_ARCHIVE = re.compile(r"\.(?:tar|tar\.\w+|tgz|tbz2?|txz)$", re.I)
_GLOB = re.compile(r"[*?\[]")
_AUTOMATIC = re.compile(r"\$\{?(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)")
# What a copy may say besides which file lands where.
_PLAIN_FLAGS = frozenset({"chown", "link"})


Bases = Callable[[str], ImageFacts]


@dataclass(frozen=True)
class Copy:
    """A COPY or ADD out of the context: (path in the context, path in the image) of every file.

    `folder` is where its files land. `movable`: whether its files could as well be put there later.
    """

    instruction: Instruction
    files: tuple[tuple[str, str], ...]
    folder: str
    movable: bool


@dataclass(frozen=True)
class Run:
    """A RUN: what it reads of the code (None: perhaps anything), and what it has mounted of the context."""

    instruction: Instruction
    wants: Wants | None
    mounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Other:
    """A COPY from another stage or image into `folder`."""

    instruction: Instruction
    folder: str


Step = Copy | Run | Other


@dataclass(frozen=True)
class Followed:
    """A stage followed to its end: what it does that matters, and the folder it ends in."""

    stage: Stage
    steps: tuple[Step, ...]
    folder: str
    bases: tuple[tuple[str, str], ...]


@dataclass
class _State:
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=lambda: {"/"})

    @property
    def variables(self) -> dict[str, str]:
        return {**self.arguments, **self.environment}

    def make(self, folder: str) -> None:
        while folder not in self.known:
            self.known.add(folder)
            folder = posixpath.dirname(folder)


class Follower:
    """Follows stages. `files` are the context's files that are not ignored, `links` those that are links."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        arguments: Mapping[str, str],
        files: Sequence[str],
        links: Sequence[str],
        bases: Bases,
    ) -> None:
        self._dockerfile = dockerfile
        self._given = dict(arguments)
        self._files = tuple(sorted(files))
        self._links = frozenset(links)
        self._bases = bases
        self._global = self._globals()
        self._ends: dict[int, _State] = {}
        self._done: dict[int, Followed] = {}

    def _globals(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in self._dockerfile.before:
            if one.name == "ARG":
                for name, value in assigned(one):
                    default = self._put_in(value, found) if value is not None else ""
                    found[name] = self._given.get(name, default)
        return found

    def _put_in(self, text: str, variables: Mapping[str, str]) -> str:
        return substituted(text, variables, self._dockerfile.escape)

    def base(self, stage: Stage) -> Stage | str:
        """What a stage begins with: an earlier stage, or an image's reference."""
        name = self._put_in(stage.base, self._global)
        if not name:
            raise Unclear(f"{stage.begins.shown()} names no image without a build argument")
        earlier = [one for one in self._dockerfile.stages[: stage.number] if one.name and one.name == name.lower()]
        return earlier[-1] if earlier else name

    def source(self, stage: Stage, name: str) -> Stage | str:
        """What `--from=NAME` in a stage means: another stage, or an image."""
        earlier = [one for one in self._dockerfile.stages[: stage.number] if one.is_called(name)]
        return earlier[-1] if earlier else name

    def followed(self, stage: Stage) -> Followed:
        if stage.number in self._done:
            return self._done[stage.number]
        state, bases = self._begun(stage)
        steps: list[Step] = []
        for one in stage.instructions:
            try:
                step = self._step(stage, one, state)
            except Unclear as unclear:
                raise Unclear(f"{one.shown()}: {unclear}") from None
            if step is not None:
                steps.append(step)
            bases += [(name, self._bases(name).id) for name in self._images(stage, one)]
        self._ends[stage.number] = state
        self._done[stage.number] = Followed(stage, tuple(steps), state.folder, tuple(bases))
        return self._done[stage.number]

    def _begun(self, stage: Stage) -> tuple[_State, list[tuple[str, str]]]:
        base = self.base(stage)
        if isinstance(base, Stage):
            self.followed(base)
            before = self._ends[base.number]
            return _State(before.folder, dict(before.environment), {}, set(before.known)), []
        if base == "scratch":
            return _State(), []
        found = self._bases(base)
        if found.triggers:
            raise Unclear(f"{stage.begins.shown()}: that image copies by itself (ONBUILD)")
        state = _State(found.folder or "/", dict(found.environment))
        state.make(state.folder)
        return state, [(base, found.id)]

    def _images(self, stage: Stage, one: Instruction) -> Iterator[str]:
        """The images, other than stages, that an instruction takes files from."""
        for name in sources_of(one):
            if isinstance(found := self.source(stage, name), str):
                yield found

    def _step(self, stage: Stage, one: Instruction, state: _State) -> Step | None:
        if one.name == "ARG":
            for name, default in assigned(one):
                fallback = self._global.get(name)
                if default is not None:
                    fallback = self._put_in(default, state.variables)
                if name in self._given or fallback is not None:
                    state.arguments[name] = self._given.get(name, fallback or "")
        elif one.name == "ENV":
            values = {name: self._put_in(value or "", state.variables) for name, value in assigned(one)}
            state.environment.update(values)
        elif one.name == "WORKDIR":
            state.folder = joined(state.folder, self._put_in(one.rest.strip("\"'"), state.variables))
            state.make(state.folder)
        elif one.name == "RUN":
            return Run(one, wants(one, state.folder, state.variables), tuple(self._mounted(one)))
        elif one.name in ("COPY", "ADD"):
            return self._copy(one, state)
        return None

    def _mounted(self, one: Instruction) -> Iterator[str]:
        """The files of the context that a RUN sees by `--mount=type=bind`."""
        for name, value in one.flags:
            options = dict(part.partition("=")[::2] for part in value.split(","))
            if name == "mount" and options.get("type", "bind") == "bind" and "from" not in options:
                source = _clean(options.get("source", options.get("src", "")))
                yield from (path for path in self._files if not source or f"{path}/".startswith(f"{source}/"))

    # --- copies

    def _copy(self, one: Instruction, state: _State) -> Step | None:
        if _AUTOMATIC.search(one.rest):
            raise Unclear("it depends on the machine's kind")
        words = [self._put_in(word, state.variables) for word in one.words()]
        if len(words) < 2:
            raise Unclear("it names no target")
        *sources, last = words
        target = joined(state.folder, last)
        as_folder = last.endswith(("/", "/.", "/..")) or last in (".", "..") or target in state.known
        if one.flag("from") is not None:
            return Other(one, target)
        if {name for name, _ in one.flags} & {"parents", "exclude"}:
            raise Unclear("these flags are not understood")
        written = [word for word in sources if word.startswith("<<")]
        remote = [word for word in sources if one.name == "ADD" and _REMOTE.match(word)]
        named = [word for word in sources if word not in written and word not in remote]
        if not named:
            return None
        movable = not written and not remote and {name for name, _ in one.flags} <= _PLAIN_FLAGS
        movable = movable and not (one.name == "ADD" and any(_ARCHIVE.search(word) for word in named))
        several = len(sources) > 1 or any(_GLOB.search(word) for word in named)
        found: list[tuple[str, str]] = []
        for word in named:
            files, folder = self._found(_clean(word))
            if folder or as_folder or several:
                found += [(path, joined(target, inside)) for path, inside in files]
                state.make(target)
                as_folder = True
            else:
                found += [(path, target) for path, _ in files]
                movable = movable and all(_like(path, target) for path, _ in files)
            movable = movable and bool(files)
        return Copy(one, tuple(found), target if as_folder else posixpath.dirname(target), movable)

    def _found(self, source: str) -> tuple[list[tuple[str, str]], bool]:
        """(path, path below the target) of a source's files, and whether it is a folder."""
        self._refuse_links(source)
        if not source:
            return [(path, path) for path in self._files], True
        if source in self._files:
            return [(source, posixpath.basename(source))], False
        inside = [(path, path[len(source) + 1 :]) for path in self._files if path.startswith(f"{source}/")]
        if inside:
            return inside, True
        if not _GLOB.search(source):
            return [], False
        pattern, depth = re.compile(expression(source)), source.count("/") + 1
        found, folder = [], False
        for path in self._files:
            parts = path.split("/")
            if len(parts) >= depth and pattern.fullmatch("/".join(parts[:depth])):
                self._refuse_links("/".join(parts[:depth]))
                is_file = len(parts) == depth
                found.append((path, parts[-1] if is_file else "/".join(parts[depth:])))
                folder = folder or not is_file
        return found, folder

    def _refuse_links(self, source: str) -> None:
        """A source that is a link, or stands behind one, is followed by the engine; that is left to it."""
        parts = source.split("/")
        if any("/".join(parts[:depth]) in self._links for depth in range(1, len(parts) + 1)):
            raise Unclear(f"{source} is a link")


def sources_of(one: Instruction) -> Iterator[str]:
    """The names that an instruction takes files from: `--from=NAME`, and that of a mount."""
    for name, value in one.flags:
        if name == "from" and value:
            yield value
        elif name == "mount":
            options = dict(part.partition("=")[::2] for part in value.split(","))
            if options.get("from"):
                yield options["from"]


def _clean(source: str) -> str:
    clean = posixpath.normpath(source.lstrip("/") or ".")
    if clean.startswith(".."):
        raise Unclear(f"{source} leaves the context")
    return "" if clean == "." else clean


def _like(path: str, target: str) -> bool:
    """Whether a target is a file's name, and not that of a folder which is there already."""
    name, given = posixpath.basename(path), posixpath.basename(target)
    ending = posixpath.splitext(name)[1]
    return name == given or (bool(ending) and ending == posixpath.splitext(given)[1])
