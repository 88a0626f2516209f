"""Running the command line as a person does, in a home of its own, and looking at all that it leaves."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bisect_celery import proc
from bisect_celery.home import Home
from bisect_celery.model import Judged, Session
from bisect_celery.store.database import Store

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 240.0
GUARDIAN = "bisect_celery.lab.guardian"


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit status (negative: a signal) and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    def session(self) -> str:
        """The id that it says it can be resumed by."""
        found = re.search(r"bisect-celery resume (\d{8}-\d{6}-\w+)", self.text)
        assert found, self.text
        return found[1]


@dataclass
class Bench:
    """A user's machine: `folder` is where commands are typed, `state` what is kept, `caches` what is shared."""

    folder: Path
    state: Path
    caches: Path
    temporary: Path
    extra: dict[str, str] = field(default_factory=dict)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The caller's environment. Bytecode is kept apart, or each command would compile all that it imports."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.caches / "bytecode"),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.caches),
            "XDG_RUNTIME_DIR": str(self.state / "run"),
            "TMPDIR": str(self.temporary),
            **self.extra,
            **(more or {}),
        }

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`bisect-celery WORDS` in a process group of its own; its label names its pid."""
        return subprocess.Popen(
            [sys.executable, "-m", "bisect_celery", *words], cwd=self.folder, env=self.environment(env),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, *words: str, env: Mapping[str, str] | None = None, deadline: float = LONGEST) -> Ended:
        """`bisect-celery WORDS` to its end."""
        process = self.start(*words, env=env)
        try:
            return ended(process, deadline)
        finally:
            process.kill()

    # --- what is kept ---------------------------------------------------------------------------------

    @property
    def home(self) -> Home:
        return Home(self.environment())

    def session(self, name: str | None = None) -> Session:
        with Store.open(self.home.database) as store:
            return store.load(name)

    def sessions(self) -> tuple[str, ...]:
        """Ids of all sessions in the store, the latest first."""
        if not self.home.database.exists():
            return ()
        with Store.open(self.home.database) as store:
            return tuple(one.id for one in store.sessions())

    def trials(self) -> dict[tuple[str, int], Judged]:
        """Every trial that is kept, by session and number."""
        if not self.home.database.exists():
            return {}
        with Store.open(self.home.database) as store:
            return {
                (one.id, judged.trial.number): judged for one in store.sessions() for judged in store.trials(one.id)
            }

    def left(self) -> list[str]:
        """What no session may leave: scratch folders and temporary files."""
        scratch = [str(path) for path in self.home.sessions.glob("*/scratch*")]
        return scratch + [str(path) for path in self.temporary.iterdir()]


def ended(process: subprocess.Popen[str], deadline: float = LONGEST) -> Ended:
    out, err = process.communicate(timeout=deadline)
    return Ended(process.returncode, out, err)


# --- processes -----------------------------------------------------------------------------------------


def owned_by(pid: int) -> dict[int, str]:
    """Living processes that carry the label of the session process `pid`, with their command lines."""
    return {found: command(found) for found, owner in proc.labelled() if owner.pid == pid and proc.start_time(found)}


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def guardian_of(pid: int) -> int | None:
    return next((found for found, words in owned_by(pid).items() if GUARDIAN in words), None)


def becomes(condition: Callable[[], bool], deadline: float = 30.0) -> bool:
    """Wait until a condition holds; whether it came to hold in time (seconds)."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --- folders -------------------------------------------------------------------------------------------


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every entry below a folder with its mode, time of modification (ns) and content's hash."""
    return {str(path.relative_to(folder)): _seen(path) for path in sorted((folder, *folder.rglob("*")))}


def _seen(path: Path) -> tuple[int, int, str]:
    seen = path.lstat()
    content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return seen.st_mode, seen.st_mtime_ns, hashlib.sha256(content).hexdigest()
