"""The one way git is called: nothing of the caller's git environment, no surprises from configuration.

The user's own configuration still counts where it must (safe.directory, filters such as LFS, credentials of a
partial clone's remote), so system and global files are read; what could run a program, write somewhere or
change an output is switched off by `-c`, which wins over every file. Plumbing with `-z` only, and git's
English is never read: it changes between versions.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Cancel

# Seconds. Git's own work is short; laying out a big tree or filling a partial clone is not.
DEADLINE = 120.0
LONG_DEADLINE = 1800.0

PARTIAL = (
    "Files are missing in this clone. A partial one (`--filter`) fetches them when they are wanted: its remote must be "
    "in reach. `git fetch --refetch` gets them all."
)

_OVERRIDES = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.sparseCheckout=false",
    "index.sparse=false",
    "core.pager=cat",
    "core.quotePath=true",
    "core.safecrlf=false",
    "core.logAllRefUpdates=false",
    "color.ui=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "log.showSignature=false",
    "log.mailmap=false",
    "i18n.logOutputEncoding=UTF-8",
    "submodule.recurse=false",
    "apply.whitespace=nowarn",
    "apply.ignoreWhitespace=no",
    "advice.graftFileDeprecated=false",
)

# What git may see of the caller's environment beside proc.ALLOWED: where its configuration and credentials are.
_KEPT = (
    "HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "TMPDIR",
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
    "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_LFS_SKIP_SMUDGE",
)  # fmt: skip

_FIXED = {
    "LC_ALL": "C",
    "LANGUAGE": "",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_EDITOR": "false",
    "GIT_PAGER": "cat",
}


@dataclass(frozen=True)
class Git:
    """Git with a repository (None: git finds it from `folder`), and where wanted a work tree and an index of ours.

    Pathspecs are literal unless `literal` is off, which is for the user's own pathspecs only.
    """

    git_dir: Path | None
    folder: Path
    work_tree: Path | None = None
    index: Path | None = None
    literal: bool = True
    settings: tuple[str, ...] = ()

    def having(
        self,
        *,
        work_tree: Path | None = None,
        index: Path | None = None,
        literal: bool = True,
        settings: tuple[str, ...] = (),
    ) -> Git:
        """The same repository with a work tree, an index or further `name=value` settings."""
        folder = work_tree or self.folder
        return replace(self, folder=folder, work_tree=work_tree, index=index, literal=literal, settings=settings)

    def argv(self, *words: str) -> tuple[str, ...]:
        """The whole command line of a git command."""
        settings = [word for setting in (*_OVERRIDES, *self.settings) for word in ("-c", setting)]
        place = [f"--git-dir={self.git_dir}"] if self.git_dir else []
        if self.work_tree:
            place.append(f"--work-tree={self.work_tree}")
        return ("git", *settings, *place, *words)

    def environment(self) -> dict[str, str]:
        """The whole environment of a git command: none of the caller's `GIT_DIR`, `GIT_INDEX_FILE` and their like."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        kept.update(_config_variables())
        env = proc.clean_environment({**kept, **_FIXED})
        if self.literal:
            env["GIT_LITERAL_PATHSPECS"] = "1"
        if self.index:
            env["GIT_INDEX_FILE"] = str(self.index)
        return env

    def run(
        self,
        *words: str,
        input: bytes | None = None,
        check: bool = True,
        deadline: float = DEADLINE,
        cancel: Cancel | None = None,
    ) -> proc.Finished:
        """Run a git command. Raises InfraError when `check` and the status is not 0, and what `proc.run` raises."""
        finished = proc.run(
            self.argv(*words), deadline=deadline, cwd=self.folder, env=self.environment(), input=input,
            check=False, cancel=cancel,
        )  # fmt: skip
        if check and finished.code != 0:
            raise failed(finished, f"do `git {' '.join(words)[:200]}`")
        return finished

    def line(self, *words: str) -> str | None:
        """The one line that a command prints, without its end; None when it ends with another status than 0."""
        finished = self.run(*words, check=False)
        return text(finished.out).removesuffix("\n") if finished.code == 0 else None

    def tokens(self, *words: str, input: bytes | None = None) -> list[str]:
        """What a `-z` command prints, cut at the NULs that end each token."""
        return text(self.run(*words, input=input).out).split("\0")[:-1]

    def lines(self, *words: str, input: bytes | None = None) -> list[str]:
        """What a command prints that prints one object name or number a line."""
        return text(self.run(*words, input=input).out).split("\n")[:-1]


def _config_variables() -> dict[str, str]:
    """Settings that CI hands to git in variables (`GIT_CONFIG_COUNT`): often safe.directory is one of them."""
    count = os.environ.get("GIT_CONFIG_COUNT", "")
    if not count.isdigit():
        return {}
    names = ["GIT_CONFIG_COUNT", *(f"GIT_CONFIG_{part}_{n}" for n in range(int(count)) for part in ("KEY", "VALUE"))]
    return {name: os.environ[name] for name in names if name in os.environ}


def text(raw: bytes) -> str:
    """Git's bytes as text; what is not UTF-8 survives as surrogates and comes back with `raw`."""
    return raw.decode("utf-8", "surrogateescape")


def raw(text: str) -> bytes:
    """The bytes of a text made by `text`."""
    return text.encode("utf-8", "surrogateescape")


def need_git() -> None:
    """Raise UserError when there is no git to call."""
    if shutil.which("git") is None:
        raise UserError("git is not installed here, or not on the PATH.", "Install git 2.31 or newer.")


def failed(finished: proc.Finished, what: str) -> InfraError:
    """The InfraError for a git command whose outcome cannot be used."""
    tail = " ".join(finished.error_text().split()[-60:])
    # Only a hint hangs on git's English.
    hint = PARTIAL if re.search(r"promisor|missing blob|unable to read [0-9a-f]{40}", tail) else ""
    return InfraError(f"git could not {what} (status {finished.code}): {tail}", hint)


def is_sha(name: str) -> bool:
    """Whether `name` is a whole object name, of either hash."""
    return len(name) in (40, 64) and all(digit in "0123456789abcdef" for digit in name)
