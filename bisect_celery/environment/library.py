"""A library under test: the exact versions of an app's environment with a revision of the library in it.

Nothing but what the revision itself requires may move from one revision to the next. So the app is resolved alone
first, without the library, and once: that is the set every revision joins. Then the revision is asked what it requires
beside that set, which pins it. Where the two contradict one another, the packages that the contradiction names are
free to follow the revision, if all others can stay as they are; else there is no environment, and the revision is
skipped. Which release of the library the others ask for plays no part: what is tried stands in its place, and whether
it works there is what the trial tells.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bisect_celery.environment import wheel
from bisect_celery.environment.dependencies import Dependencies, Kind, member_folder
from bisect_celery.environment.identity import identity
from bisect_celery.environment.plan import PINS, WISHES, Plan, best_match, plan
from bisect_celery.environment.requirements import is_local, local_path, logical_lines, name_of, normalise
from bisect_celery.environment.resolve import Bench, EnvironmentFailed, Resolved, resolve
from bisect_celery.environment.tree import Folder, join
from bisect_celery.errors import UserError
from bisect_celery.model import Failure

_OVERRIDES = ".bisect-celery-overrides.txt"
_ADDED = ".bisect-celery-added.txt"
_KEPT = ".bisect-celery-kept.txt"
# An override that is never true: whoever asks for the package is not given it.
_NEVER = "python_version < '0'"


@dataclass(frozen=True)
class Revision:
    """What joins the app: where it stands, its name, how it is required, and the files that say what it requires."""

    place: str
    name: str
    target: str
    inputs: tuple[tuple[str, bytes], ...] = ()
    built: bool = False

    def wish(self, extras: Iterable[str], folder: str = "") -> str:
        """It as a requirement, in a file that stands in `folder`."""
        wanted = ",".join(sorted(extras))
        return f"{self.name}{f'[{wanted}]' if wanted else ''} @ ./{posixpath.relpath(self.target, folder or '.')}"


def joined(bench: Bench, folder: Folder, found: Dependencies, library: str) -> Resolved:
    """The app's packages with those of the library's revision in the folder `library` of the tree.

    Raises as `resolve.resolve`.
    """
    if bench.helper:
        return resolve(bench, folder, _by_pip(folder, found, library))
    revision = _revision(folder, library)
    whole = _without_outsiders(replace(plan(folder, found), but=library))
    alone = _alone(whole, revision.name)
    base = resolve(bench, folder, alone)
    packages = [line for line in base.lines if name_of(line) != revision.name]
    asked = _Question(bench, folder, revision, _extras(bench, folder, whole, revision.name), base.options)
    lines = _beside(asked, alone, packages, _wished(folder, found))
    return replace(base, lines=lines, local=(*base.local, *(() if revision.built else (library,))))


def _revision(folder: Folder, library: str) -> Revision:
    """A library that was built says in its metadata what it requires; any other by its own files."""
    built = wheel.metadata(folder, library)
    if built is not None:
        return Revision(library, normalise(built.name), built.file, ((built.file, built.stub()),), built=True)
    said = identity(folder, library)
    assert said is not None, "what does not say its name is built"
    project = folder.toml(join(library, "pyproject.toml")).get("project", {})
    static = {"name", "version", "dependencies"} <= project.keys() and not project.get("dynamic")
    path = join(library, "pyproject.toml")
    inputs = ((path, folder.read(path) or b""),) if static else ()
    return Revision(library, normalise(said.name), library, inputs)


def _without_outsiders(planned: Plan) -> Plan:
    """Without what stands outside of the app's folder, which no copy of it can have: the library's usual place."""
    if planned.lines is None:
        inputs = {
            path: _inside(content, planned.folder) for path, content in planned.inputs.items() if path.endswith(".txt")
        }
        return replace(planned, inputs={**planned.inputs, **inputs})
    return replace(planned, lines=tuple(line for line in planned.lines if not _outside(line, planned.folder)))


def _inside(content: bytes, place: str) -> bytes:
    lines = content.decode("utf-8", "replace").splitlines()
    return "\n".join([*(line for line in lines if not _outside(line.strip(), place)), ""]).encode()


def _outside(line: str, place: str) -> bool:
    path = local_path(line)
    return path is not None and join(place, path).split("/")[0] == ".."


def _alone(planned: Plan, name: str) -> Plan:
    """The app without the library."""
    if planned.lines is not None:
        return replace(planned, lines=tuple(line for line in planned.lines if name_of(line) != name))
    if planned.command[0] == "export":
        return replace(planned, command=(*planned.command, "--no-emit-package", name))
    absent = {join(planned.folder, _OVERRIDES): f"{name} ; {_NEVER}\n".encode()}
    return replace(planned, command=(*planned.command, "--overrides", _OVERRIDES), inputs={**planned.inputs, **absent})


def _extras(bench: Bench, folder: Folder, planned: Plan, name: str) -> frozenset[str]:
    """The library's extras that the app, or a package of its, asks for. A lock holds what they bring already."""
    if planned.lines is not None or planned.command[0] == "export":
        return frozenset()
    texts = [content.decode("utf-8", "replace") for content in planned.inputs.values()]
    try:
        named = replace(planned, command=(*planned.command, "--no-strip-extras"))
        texts.append(resolve(bench, folder, named).text)
    except EnvironmentFailed:
        pass  # as where its releases are in no index: then only what the app itself says counts
    return frozenset(extra for text in texts for extra in _extras_in(text, name))


def _extras_in(text: str, name: str) -> Iterator[str]:
    for match in re.finditer(r"(?<![\w.-])([A-Za-z0-9][\w.-]*)\s*\[([\w\s,.-]+)\]", text):
        if normalise(match[1]) == name:
            yield from (extra.strip() for extra in match[2].split(",") if extra.strip())


def _pinned(planned: Plan, name: str) -> list[str]:
    """What a lock pins that nothing but the library may need."""
    content = planned.inputs.get(join(planned.folder, PINS), b"") if planned.lines is None else b""
    return [line for line in logical_lines(content.decode()) if name_of(line) != name]


def _wished(folder: Folder, found: Dependencies) -> frozenset[str]:
    """What the app of a lock asks for itself, by name: that stays as the lock has it, whatever a revision wants."""
    table = folder.toml(join(member_folder(folder, found), "pyproject.toml"))
    lines = list(map(str, table.get("project", {}).get("dependencies", [])))
    lines += table.get("tool", {}).get("poetry", {}).get("dependencies", {})
    lines += folder.toml(join(found.folder, "Pipfile")).get("packages", {})
    return frozenset(name for line in lines if (name := name_of(line)) is not None) | {"celery"}


@dataclass(frozen=True)
class _Question:
    """What a revision with these extras requires, asked of uv beside packages that stay."""

    bench: Bench
    folder: Folder
    revision: Revision
    extras: frozenset[str]
    options: tuple[str, ...]

    def ask(self, pins: Iterable[str], also: Iterable[str] = ()) -> tuple[str, ...]:
        """The exact versions, the revision itself left out. Raises EnvironmentFailed."""
        wish = self.revision.wish(self.extras)
        inputs = {WISHES: _file([*self.options, wish, *also]), PINS: _file(map(_bare, pins)), _OVERRIDES: _file([wish])}
        words = ("pip", "compile", WISHES, "--constraints", PINS, "--overrides", _OVERRIDES, *best_match(self.options))
        return self._asked(Plan((self.revision.place,), "", command=words, inputs=inputs))

    def ask_with(self, app: Plan, pins: Iterable[str]) -> tuple[str, ...]:
        """All packages: those of the revision, and of the app by its own wishes, from which nothing was pinned yet."""
        wish = self.revision.wish(self.extras, app.folder)
        inputs = {_ADDED: _file([wish]), _KEPT: _file(map(_bare, pins)), _OVERRIDES: _file([wish])}
        inputs = {**app.inputs, **{join(app.folder, path): content for path, content in inputs.items()}}
        words = (*app.command[:2], _ADDED, *app.command[2:], "--constraints", _KEPT)
        return self._asked(replace(app, command=words, inputs=inputs))

    def _asked(self, asked: Plan) -> tuple[str, ...]:
        revision = self.revision
        asked = replace(asked, inputs={**asked.inputs, **dict(revision.inputs)})
        if not revision.inputs:
            asked = replace(asked, whole=True, but=None, only=None if asked.whole else revision.place)
        return tuple(line for line in resolve(self.bench, self.folder, asked).lines if not is_local(line))


def _file(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _beside(question: _Question, app: Plan, packages: list[str], wished: frozenset[str]) -> tuple[str, ...]:
    """The exact versions of a revision and `packages`, which stay as far as it lets them. Raises EnvironmentFailed."""
    extra_pins = _pinned(app, question.revision.name)
    locked = app.lines is not None or app.command[0] == "export" or bool(extra_pins)
    pins = [*(line for line in packages if not is_local(line)), *extra_pins]
    free: set[str] = set()
    while True:
        kept = [line for line in pins if name_of(line) not in free]
        try:
            found = question.ask(kept)
            break
        except EnvironmentFailed as failed:
            named = set(_named(failed.failure, kept))
            if not named or (locked and named & wished):
                raise _contradiction(question.revision, failed.failure) from None
            free |= named
    if free and not locked:
        return question.ask_with(app, kept)
    if free:
        found = question.ask(kept, also=[line for line in kept if line in packages])
    new = {name_of(line) for line in found}
    return (*(line for line in packages if name_of(line) not in new), *found)


def _bare(pin: str) -> str:
    """Without extras, which no constraint may have."""
    return re.sub(r"^([\w.-]+)\s*\[[^\]]*\]", r"\1", pin)


def _named(failure: Failure, pins: list[str]) -> Iterator[str]:
    said = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", normalise("\n".join(failure.lines))))
    yield from (name for pin in pins if (name := name_of(pin)) in said and name is not None)


def _contradiction(revision: Revision, failure: Failure) -> EnvironmentFailed:
    reason = failure.reason.replace(
        f"that {revision.place} asks for", f"that this revision of {revision.name} asks for"
    )
    return EnvironmentFailed(replace(failure, reason=reason))


def _by_pip(folder: Folder, found: Dependencies, library: str) -> Plan:
    """For Pythons that uv refuses: pip knows neither overrides nor dates, so the revision is one line more."""
    if found.kind is not Kind.REQUIREMENTS:
        raise UserError(
            f"For this old Python the app's dependencies must be in a requirements file, not in {found.files[0]}.",
            "Write them into a requirements.txt: what the app needs beside the library, and celery.",
        )
    said = identity(folder, library)
    name = normalise(said.name) if said is not None else None
    planned = plan(folder, found)
    inputs = {
        path: "".join(f"{line}\n" for line in logical_lines(content.decode()) if name is None or name_of(line) != name)
        for path, content in planned.inputs.items()
    }
    first = found.files[0]
    up = "../" * len(found.folder.split("/")) if found.folder else "./"
    inputs[first] = inputs.get(first, "") + f"-e {up}{library}\n"
    return replace(planned, inputs={path: text.encode() for path, text in inputs.items()}, whole=True)
