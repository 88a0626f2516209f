"""From what was typed, and where, to a Request: settings from their layers, the rest detected in the BAD revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery import config
from bisect_celery.config.listing import Cached, FolderListing, Listing
from bisect_celery.flow import composed
from bisect_celery.home import Home
from bisect_celery.lab.workload import need_folder
from bisect_celery.model import Request
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import UserRepository, open_repository

WORKING_TREE = "."


@dataclass(frozen=True)
class Typed:
    """What was typed on the command line, and around it. `good` and `bad` as typed; `flags` by key. `compose_at` is the
    revision whose compose file counts, where that is not BAD's."""

    flags: Mapping[str, object]
    folder: Path
    caller: Mapping[str, str]
    good: str
    bad: str
    paths: tuple[str, ...] = ()
    compose_at: str | None = None


class TreeListing:
    """A `config.Listing` of a git tree."""

    def __init__(self, repository: PrivateRepository, tree: str) -> None:
        self._repository, self._tree = repository, tree

    def paths(self) -> Sequence[str]:
        return self._repository.files(self._tree)

    def read(self, path: str) -> bytes | None:
        return self._repository.read(self._tree, path)

    def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        return self._repository.read_many(self._tree, paths)


def request(typed: Typed, home: Home) -> Request:
    """Resolve everything once. Raises UserError in words for whatever cannot be resolved."""
    user = open_repository(typed.folder)
    loaded = config.load(typed.flags, typed_in=typed.folder, root=user.root, caller_environment=typed.caller)
    repository, tree = _tree(typed, home.make(), user)
    workload, said = loaded.settings.get("workload"), None
    ours = TreeListing(repository, tree)
    listing: Listing = ours
    if isinstance(workload, Path):
        listing, typed_in = FolderListing(need_folder(workload)), ""
    else:
        typed_in, said = user.subfolder, _composed(typed, home, loaded, repository, ours)
    started = said.commands if said is not None else ()
    detected = config.detect(listing, typed_in=typed_in, app=loaded.text("app"), started=started)
    found = config.to_request(
        loaded,
        detected,
        good=typed.good,
        bad=typed.bad,
        paths=user.pathspecs(typed.paths),
        repository=user.root,
        composed=said,
    )
    found = replace(found, fallback=config.fallback(listing, detected.subfolder))
    return config.with_image(found, loaded, ours, typed.caller)


def _composed(
    typed: Typed, home: Home, loaded: config.Loaded, repository: PrivateRepository, listing: TreeListing
) -> config.Composed | None:
    """What the project's compose file says at BAD, and whether it says something else at GOOD."""
    if typed.compose_at is not None:
        listing = TreeListing(repository, repository.resolve(typed.compose_at).tree)
    found = composed.composed(loaded, Cached(listing), home.cache / "compose")
    if found is None or not found.contents or typed.good in (WORKING_TREE, typed.bad):
        return found
    at_good = Cached(TreeListing(repository, repository.resolve(typed.good).tree))
    if not composed.differs(found, at_good):
        return found
    note = f"at {typed.good} it is another one: every trial has that of {typed.bad}"
    return replace(found, notes=(*found.notes, note))


def _tree(typed: Typed, home: Home, user: UserRepository) -> tuple[PrivateRepository, str]:
    """The tree in which app and start line are looked for: BAD's, or the working tree."""
    repository = PrivateRepository.create(home.repository_folder(user.common_dir), user)
    if typed.bad == WORKING_TREE:
        return repository, repository.working_tree().sha
    tree = repository.resolve(typed.bad).tree
    repository.resolve(typed.good)
    return repository, tree


def split_range(good: str, bad: str | None) -> tuple[str, str]:
    """`GOOD..BAD` is GOOD and BAD; a BAD of its own wins nothing and is HEAD when it is not said."""
    if bad is None and ".." in good and "..." not in good:
        first, _, last = good.partition("..")
        return first or "HEAD", last or "HEAD"
    return good, bad or "HEAD"
