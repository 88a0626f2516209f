"""Which files of a tree say what it depends on.

The nearest folder wins, from the app's up to the tree's root; in a folder a lock comes before a list of
wishes, and a file that leads to Celery before one that does not: a `pyproject.toml` that only
configures a formatter must not hide the `requirements.txt` beside it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bisect_celery.environment.requirements import read_chain
from bisect_celery.environment.tree import Folder, join, parents


class Kind(enum.StrEnum):
    """How dependencies are written down, in the order in which we believe them."""

    UV_LOCK = "uv.lock"
    POETRY_LOCK = "poetry.lock"
    PDM_LOCK = "pdm.lock"
    PIPFILE_LOCK = "Pipfile.lock"
    PYLOCK = "pylock.toml"
    REQUIREMENTS = "requirements files"
    PROJECT = "pyproject.toml"
    POETRY = "pyproject.toml of Poetry"
    PIPFILE = "Pipfile"
    SETUP = "setup.py"


@dataclass(frozen=True)
class Dependencies:
    """Where a tree's dependencies are written: `files` from the tree's root, the one that decides first.

    `folder` is where they stand. `celery` says whether they lead to Celery by name; `extras` and `groups` are
    those optional sets that had to be taken in because only they do. `member` is the package's name in a
    uv workspace whose lock stands above it.
    """

    kind: Kind
    folder: str
    files: tuple[str, ...]
    celery: bool = False
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    member: str | None = None


LOOKED_FOR = (
    "uv.lock, poetry.lock, pdm.lock, Pipfile.lock, pylock.toml, requirements*.txt, requirements/*.txt, "
    "pyproject.toml, Pipfile, setup.py or setup.cfg"
)

# What production installs comes first, what only developers install last.
_STEMS = ("production", "prod", "requirements", "worker", "celery", "base", "common", "main", "default", "app")
_DEVELOPERS = re.compile(r"dev|test|doc|lint|local|typing|types|mypy|ci\b|build|tool|bench|example|minimum|ansible")
_FILE = re.compile(r"^(?:pip[-_])?(?:requirements?|reqs?)(?:[-_.](?P<stem>[\w.-]+?))?\.(?:txt|in|pip)$|"
                   r"^(?P<front>[\w-]+)[-_.]requirements?\.(?:txt|in|pip)$")  # fmt: skip


def detect_dependencies(folder: Folder, subfolder: str = "") -> Dependencies | None:
    """The dependencies of the app in `subfolder`; None when no file of the kinds in `LOOKED_FOR` is there."""
    fallback: Dependencies | None = None
    for place in parents(subfolder):
        for found in _in_folder(folder, place):
            if found.celery:
                return _under_workspace(folder, found) or found
            fallback = fallback or found
    return fallback


def _in_folder(folder: Folder, place: str) -> Iterator[Dependencies]:
    names = folder.names(place)
    for kind, reader in _READERS:
        if kind is Kind.REQUIREMENTS:
            yield from _requirements(folder, place)
        elif str(kind) in names or kind in (Kind.POETRY, Kind.SETUP):
            found = reader(folder, place)
            if found is not None:
                yield found


def _lock(kind: Kind) -> Callable[[Folder, str], Dependencies | None]:
    def read(folder: Folder, place: str) -> Dependencies | None:
        beside = "Pipfile" if kind is Kind.PIPFILE_LOCK else "pyproject.toml"
        lock = join(place, str(kind))
        files = (lock, *([join(place, beside)] if folder.read(join(place, beside)) is not None else []))
        if kind is Kind.UV_LOCK:
            files += tuple(path for path in workspace_projects(folder, place) if path not in files)
        extras, groups = optional_sets(folder.toml(join(place, "pyproject.toml")))
        return Dependencies(kind, place, files, _leads_to_celery(folder.text(lock)), extras, groups)

    return read


def _project(folder: Folder, place: str) -> Dependencies | None:
    path = join(place, "pyproject.toml")
    table = folder.toml(path)
    project = table.get("project")
    if not isinstance(project, dict) or not ("dependencies" in project or _dynamic(project)):
        return None
    extras, groups = optional_sets(table)
    celery = _leads_to_celery(str(project.get("dependencies"))) or bool(extras or groups)
    if _dynamic(project):
        celery = celery or _leads_to_celery(folder.text(join(place, "setup.py"))) or _dynamic_celery(folder, place)
    return Dependencies(Kind.PROJECT, place, (path,), celery, extras, groups)


def _dynamic(project: dict[str, object]) -> bool:
    dynamic = project.get("dynamic")
    return isinstance(dynamic, list) and "dependencies" in dynamic


def _dynamic_celery(folder: Folder, place: str) -> bool:
    """Dynamic dependencies that a backend reads from requirements files count as leading there when those do."""
    return any(found.celery for found in _requirements(folder, place))


def _poetry(folder: Folder, place: str) -> Dependencies | None:
    path = join(place, "pyproject.toml")
    table = folder.toml(path).get("tool", {}).get("poetry", {})
    if not isinstance(table, dict) or "dependencies" not in table:
        return None
    extras, groups = optional_sets(folder.toml(path))
    celery = _leads_to_celery(str(table["dependencies"])) or bool(groups)
    return Dependencies(Kind.POETRY, place, (path,), celery, extras, groups)


def _pipfile(folder: Folder, place: str) -> Dependencies | None:
    path = join(place, "Pipfile")
    return Dependencies(Kind.PIPFILE, place, (path,), _leads_to_celery(str(folder.toml(path).get("packages"))))


def _setup(folder: Folder, place: str) -> Dependencies | None:
    files = tuple(path for name in ("setup.py", "setup.cfg") if folder.read(path := join(place, name)) is not None)
    texts = [folder.text(path) or "" for path in files]
    if not any("install_requires" in text or "setup(" in text for text in texts):
        return None
    return Dependencies(Kind.SETUP, place, files, any(map(_leads_to_celery, texts)))


def _requirements(folder: Folder, place: str) -> Iterator[Dependencies]:
    candidates = [(_rank(name), join(place, name)) for name in folder.names(place) if _FILE.match(name)]
    for parent in ("requirements", "reqs", "requires", "deploy", "conf", "config"):
        for name in folder.names(join(place, parent)):
            inside = re.search(r"\.(?:txt|in|pip)$", name) if parent.startswith("req") else _FILE.match(name)
            if inside:
                candidates.append((_rank(name), join(place, f"{parent}/{name}")))
    for _, path in sorted(candidates):
        chain = read_chain(folder, path)
        if chain.lines:
            celery = _leads_to_celery(chain.text) or (chain.local and _project_celery(folder, place))
            yield Dependencies(Kind.REQUIREMENTS, place, chain.files, celery)


def _project_celery(folder: Folder, place: str) -> bool:
    """Whether the project itself, which a requirements file installs as `-e .`, leads to Celery."""
    names = ("pyproject.toml", "setup.py", "setup.cfg")
    return any(_leads_to_celery(folder.text(join(place, name))) for name in names)


def _rank(name: str) -> tuple[int, int, int, str]:
    """Production before developers, known names before others, compiled lists before what they came from."""
    base, _, ending = name.rpartition(".")
    match = _FILE.match(name)
    stem = (match["stem"] or match["front"] or "requirements") if match else base
    known = _STEMS.index(stem) if stem in _STEMS else len(_STEMS)
    return (1 if _DEVELOPERS.search(stem) else 0, known, 1 if ending == "in" else 0, name)


def optional_sets(table: dict[str, object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The extras and dependency groups to take in: those that name Celery, when the plain dependencies do not."""
    project = _dict(table.get("project"))
    poetry = _dict(_dict(table.get("tool")).get("poetry"))
    plain = f"{project.get('dependencies', '')} {_dict(poetry.get('dependencies'))}"
    if _leads_to_celery(plain) and not _optional_in_poetry(poetry):
        return (), ()
    extras = {**_dict(project.get("optional-dependencies")), **_dict(poetry.get("extras"))}
    groups = {**_dict(table.get("dependency-groups")), **_dict(poetry.get("group"))}
    return _naming_celery(extras), _naming_celery(groups)


def _optional_in_poetry(poetry: dict[str, object]) -> bool:
    celery = _dict(poetry.get("dependencies")).get("celery")
    return isinstance(celery, dict) and bool(celery.get("optional"))


def _naming_celery(sets: dict[str, object]) -> tuple[str, ...]:
    return tuple(sorted(name for name, content in sets.items() if _leads_to_celery(str(content))))


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _leads_to_celery(text: str | None) -> bool:
    return text is not None and "celery" in text.lower()


def workspace_folders(folder: Folder, place: str) -> tuple[str, ...]:
    """The folders of the packages that a uv.lock takes from the tree itself."""
    return tuple(join(place, path) for _, path in _members(folder, place))


def member_folder(folder: Folder, found: Dependencies) -> str:
    """The folder of the project that a uv.lock was found for: its own, or that of a member of its workspace."""
    places = (join(found.folder, path) for name, path in _members(folder, found.folder) if name == found.member)
    return next(places, found.folder)


def workspace_projects(folder: Folder, place: str) -> tuple[str, ...]:
    """The pyproject files of the packages that a uv.lock takes from the tree itself."""
    found = []
    for _, path in _members(folder, place):
        project = join(join(place, path), "pyproject.toml")
        if folder.read(project) is not None:
            found.append(project)
    return tuple(found)


def _members(folder: Folder, place: str) -> Iterator[tuple[str, str]]:
    """(name, path) of each package that a uv.lock takes from a folder of the tree."""
    packages = folder.toml(join(place, "uv.lock")).get("package", [])
    for package in packages if isinstance(packages, list) else []:
        source = _dict(_dict(package).get("source"))
        path = source.get("editable") or source.get("virtual") or source.get("directory")
        if isinstance(path, str) and isinstance(package.get("name"), str):
            yield package["name"], path


def _under_workspace(folder: Folder, found: Dependencies) -> Dependencies | None:
    """A package without a lock of its own, whose uv workspace has one above it: that lock, for this package."""
    if found.kind not in (Kind.PROJECT, Kind.SETUP):
        return None
    for place in parents(found.folder)[1:]:
        for name, path in _members(folder, place):
            if join(place, path) == found.folder:
                lock = _lock(Kind.UV_LOCK)(folder, place)
                assert lock is not None
                return Dependencies(lock.kind, place, lock.files, True, found.extras, found.groups, member=name)
    return None


_READERS: tuple[tuple[Kind, Callable[[Folder, str], Dependencies | None]], ...] = (
    (Kind.UV_LOCK, _lock(Kind.UV_LOCK)),
    (Kind.POETRY_LOCK, _lock(Kind.POETRY_LOCK)),
    (Kind.PDM_LOCK, _lock(Kind.PDM_LOCK)),
    (Kind.PIPFILE_LOCK, _lock(Kind.PIPFILE_LOCK)),
    (Kind.PYLOCK, _lock(Kind.PYLOCK)),
    (Kind.REQUIREMENTS, lambda folder, place: None),
    (Kind.PROJECT, _project),
    (Kind.POETRY, _poetry),
    (Kind.PIPFILE, _pipfile),
    (Kind.SETUP, _setup),
)
