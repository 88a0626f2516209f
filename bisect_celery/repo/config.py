"""What our repository takes over from the user's configuration: enough to lay out files as a checkout would.

Written anew each time the private repository is opened. An allow-list, because the rest could run programs,
write somewhere or change outputs; settings of all scopes are copied, because `includeIf` conditions that
held in the user's repository do not hold in ours.
"""

from __future__ import annotations

import re
from pathlib import Path

from bisect_celery.repo.user import UserRepository

_CORE = (
    "autocrlf", "eol", "symlinks", "ignorecase", "filemode", "precomposeunicode", "protecthfs", "protectntfs",
    "attributesfile", "excludesfile", "checkroundtripencoding", "bigfilethreshold",
)  # fmt: skip
_TAKEN = re.compile(rf"core\.(?:{'|'.join(_CORE)})|(?:filter|lfs)\..*", re.DOTALL)
# What fetching needs, which may hold credentials: taken only where files come from a remote when they are wanted.
_FETCHING = re.compile(r"core\.sshcommand|(?:remote|url|http|credential)\..*|extensions\.partialclone", re.DOTALL)
_PROMISED = re.compile(r"extensions\.partialclone|remote\..*\.promisor", re.DOTALL)
_LOCAL_PATH = re.compile(r"(?!/|~|[^/]*:)")


def config_text(user: UserRepository, remotes: bool = True) -> str:
    """The whole configuration file of a repository of ours for `user`; without `remotes` it never fetches."""
    entries: list[tuple[str, str | None]] = [
        ("core.bare", "true"),
        ("core.filemode", "true"),
        ("gc.auto", "0"),
    ]
    theirs = user_settings(user)
    fetches = remotes and (any(_PROMISED.fullmatch(key) for key, _ in theirs) or (user.common_dir / "lfs").is_dir())
    taken = [one for one in theirs if _TAKEN.fullmatch(one[0]) or (fetches and _FETCHING.fullmatch(one[0]))]
    entries += [(key, _absolute(user.root, key, value)) for key, value in taken]
    extended = user.object_format != "sha1" or any(key.startswith("extensions.") for key, _ in taken)
    entries.insert(0, ("core.repositoryformatversion", "1" if extended else "0"))
    if user.object_format != "sha1":
        entries.append(("extensions.objectformat", user.object_format))
    return "".join(_written(key, value) for key, value in entries)


def user_settings(user: UserRepository) -> list[tuple[str, str | None]]:
    """All settings as git sees them in the user's repository, (key, value); value None: a key without one."""
    found: list[tuple[str, str | None]] = []
    tokens = iter(user.git.tokens("config", "--list", "--includes", "-z", "--show-scope"))
    for scope, token in zip(tokens, tokens, strict=True):
        key, separator, value = token.partition("\n")
        if scope != "command":
            found.append((key, value if separator else None))
    return found


def _absolute(root: Path, key: str, value: str | None) -> str | None:
    """A remote given as a relative path is relative to the user's repository, not to ours."""
    if value and key.startswith("remote.") and key.endswith(".url") and _LOCAL_PATH.match(value):
        return str((root / value).resolve())
    return value


def _written(key: str, value: str | None) -> str:
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    title = f'[{section} "{_escaped(subsection)}"]' if subsection else f"[{section}]"
    if value is None:
        return f"{title}\n\t{name}\n"
    quoted = _escaped(value).replace("\n", "\\n").replace("\t", "\\t")
    return f'{title}\n\t{name} = "{quoted}"\n'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
