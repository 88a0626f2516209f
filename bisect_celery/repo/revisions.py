"""Commits read from a repository: by sha with their metadata, and by the names that people type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from bisect_celery.errors import UserError
from bisect_celery.model import Revision
from bisect_celery.repo.git import Git, is_sha, raw
from bisect_celery.repo.user import UserRepository

_FORMAT = "--format=tformat:%H%x00%T%x00%P%x00%an%x00%cI%x00%s"
_FIELDS = 6


def read(git: Git, shas: Sequence[str]) -> tuple[Revision, ...]:
    """The commits with these shas, in the same order. Raises InfraError when one is not there."""
    if not shas:
        return ()
    names = "".join(f"{sha}\n" for sha in shas).encode()
    tokens = git.tokens(
        "log", "--stdin", "--no-walk=unsorted", "-z", "-s", _FORMAT, "--no-color", "--no-notes", input=names
    )
    found = {}
    for at in range(0, len(tokens), _FIELDS):
        sha, tree, parents, author, date, title = (_shown(token) for token in tokens[at : at + _FIELDS])
        found[sha] = Revision(sha, tree, title, author, date, tuple(parents.split()))
    return tuple(found[sha] for sha in shas)


def _shown(token: str) -> str:
    """Old commits hold bytes that are no UTF-8 and do not say so: these are shown, and must be storable."""
    return raw(token).decode("utf-8", "replace")


def name_to_sha(user: UserRepository, name: str) -> str:
    """The commit that a name means in the user's repository. Raises UserError when it means none."""
    git = user.git
    if not name or name.startswith(("-", "^")) or "\0" in name or "\n" in name:
        raise _unknown(user, name)
    # With `^{commit}` a short sha that a blob shares is still one commit; `:/text^{commit}` would be a text.
    for kind in ("", "^{commit}") if name.startswith(":") else ("^{commit}", ""):
        found = git.line("rev-parse", "--verify", "--quiet", name + kind)
        sha = git.line("rev-parse", "--verify", "--quiet", f"{found}^{{commit}}") if found else None
        if sha is not None and is_sha(sha):
            return sha
    if found and git.line("cat-file", "-t", found) is not None:
        raise UserError(f"`{name}` is not a commit.", "Name a commit, a tag or a branch.")
    raise _unknown(user, name)


def _unknown(user: UserRepository, name: str) -> UserError:
    return UserError(f"`{name}` is not a revision of this repository.", _unknown_hint(user, name))


def _unknown_hint(user: UserRepository, name: str) -> str:
    if 4 <= len(name) < 40 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        shas = user.git.lines("rev-parse", f"--disambiguate={name.lower()}")
        if len(shas) > 1:
            return f"It is short for {len(shas)} objects, {', '.join(sha[:12] for sha in shas[:4])}: give more digits."
    refs = user.git.lines("for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags", "refs/heads", "refs/remotes")
    close = difflib.get_close_matches(name, refs, n=3, cutoff=0.6) or _with_other_case(name, refs)
    if close:
        return "Did you mean " + " or ".join(f"`{ref}`" for ref in close) + "?"
    return "git fetch --unshallow --tags" if user.shallow else "git fetch --tags"


def _with_other_case(name: str, refs: Iterable[str]) -> list[str]:
    return [ref for ref in refs if name.lower() in ref.lower()][:3]
