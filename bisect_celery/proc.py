"""The one door to other programs: deadline, own process group, captured output, stop, label.

Every program we start carries our label in its environment (`LABEL`), so that a guardian or a later
sweep finds it and its children even when they left the process group, and never anybody else's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Owner

LABEL = "BISECT_CELERY_OWNER"
POLL = 0.01
KILL_GRACE = 5.0
# How long the pipes of a program that ended may stay open: what it left behind may hold them for ever.
PIPE_GRACE = 1.0
_SLICE = 0.1
_CHUNK = 1 << 16

# What a program of ours may see of the caller's environment; everything else must be named (DESIGN 6).
ALLOWED = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM")


class CommandFailed(InfraError):
    """A program ended with a status that its caller did not expect; carries all that is needed to see why."""

    def __init__(self, finished: Finished) -> None:
        tail = "\n".join(finished.error_text().splitlines()[-8:])
        super().__init__(f"`{' '.join(finished.argv)}` ended with status {finished.code}: {tail}")
        self.finished = finished


class DeadlinePassed(InfraError):
    """A program did not end in time and was killed."""


@dataclass(frozen=True)
class Finished:
    """A program that ended: its words, exit status (negative: the signal), and what it wrote."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    def text(self) -> str:
        return self.out.decode("utf-8", "surrogateescape")

    def error_text(self) -> str:
        return self.err.decode("utf-8", "replace")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The allow-listed part of our own environment, plus `extra`."""
    kept = {name: os.environ[name] for name in ALLOWED if name in os.environ}
    kept.setdefault("PATH", os.defpath)
    kept.update(extra or {})
    return kept


def run(
    argv: Sequence[str],
    *,
    deadline: float,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    check: bool = True,
    cancel: Cancel | None = None,
) -> Finished:
    """Run a program to its end and capture what it writes.

    `deadline` is in seconds from now. `env` is the whole environment (default: `clean_environment()`). What it
    leaves running in its process group is killed; what left the group may run on, but is not waited for.
    Raises DeadlinePassed when it took longer, CommandFailed when `check` and the status is not 0,
    InfraError when it cannot be started, Cancelled when `cancel` was set meanwhile.
    """
    process = _popen(argv, cwd, env, subprocess.PIPE if input is not None else subprocess.DEVNULL,
                     subprocess.PIPE, subprocess.PIPE)  # fmt: skip
    try:
        out, err = _communicate(process, argv, deadline, input, cancel)
    except BaseException:
        kill_group(process.pid)
        _let_go(process)
        raise
    kill_group(process.pid)
    finished = Finished(tuple(argv), process.returncode, out, err)
    if check and finished.code != 0:
        raise CommandFailed(finished)
    return finished


def _communicate(
    process: subprocess.Popen[bytes], argv: Sequence[str], deadline: float, input: bytes | None, cancel: Cancel | None
) -> tuple[bytes, bytes]:
    end = time.monotonic() + deadline
    ended = False
    with _Pipes(process, input) as pipes:
        while pipes.open or process.poll() is None:
            left = end - time.monotonic()
            if left <= 0 and not ended:
                raise DeadlinePassed(f"`{' '.join(argv)}` did not end within {deadline:g} s and was stopped.")
            if left <= 0:
                break
            pipes.step(min(left, _SLICE))
            if cancel is not None:
                cancel.check()
            if not ended and process.poll() is not None:
                # From here on only somebody else can hold its pipes: what it wrote itself is there already.
                ended, end = True, time.monotonic() + PIPE_GRACE
        _let_go(process)
        return bytes(pipes.out), bytes(pipes.err)


class _Pipes:
    """What goes through a program's pipes, a step at a time.

    `Popen.communicate` does not go on with its input once a call of it has timed out (CPython before 3.14).
    """

    def __init__(self, process: subprocess.Popen[bytes], input: bytes | None) -> None:
        self.out, self.err = bytearray(), bytearray()
        self._process = process
        self._left = memoryview(input or b"")
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> _Pipes:
        for pipe, taken in ((self._process.stdout, self.out), (self._process.stderr, self.err)):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, taken)
        if self._process.stdin is not None:
            self._selector.register(self._process.stdin, selectors.EVENT_WRITE)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    @property
    def open(self) -> bool:
        return bool(self._selector.get_map())

    def step(self, seconds: float) -> None:
        """Move what can be moved; wait up to `seconds` for that, or without open pipes for the program's end."""
        if not self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return
        for key, _ in self._selector.select(seconds):
            if not (self._write(key.fd) if key.data is None else self._read(key.fd, key.data)):
                self._selector.unregister(key.fileobj)
                cast(IO[bytes], key.fileobj).close()

    def _write(self, pipe: int) -> bool:
        """Whether there is more to write; as much as a pipe that can be written to takes without blocking."""
        try:
            self._left = self._left[os.write(pipe, self._left[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            return False
        return len(self._left) > 0

    @staticmethod
    def _read(pipe: int, taken: bytearray) -> bool:
        chunk = os.read(pipe, _CHUNK)
        taken += chunk
        return bool(chunk)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Close our ends of its pipes, whoever holds the others, and take its exit status if it has one by then."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_GRACE)


class Process:
    """A program that runs beside us, in a process group of its own. Thread-safe to stop; stop is idempotent."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll()

    def write(self, data: bytes) -> None:
        """Write to its standard input. Silently nothing when it already went away: its exit tells the story."""
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._popen.stdin.write(data)
                self._popen.stdin.flush()

    def close_input(self) -> None:
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._popen.stdin.close()

    def ask_to_end(self) -> None:
        """SIGTERM to the program itself, which may tell its children; nothing when it has ended."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def stop(self, grace: float = 0.0) -> None:
        """End the whole process group: SIGTERM and `grace` seconds first if asked for, then SIGKILL."""
        if grace > 0 and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        kill_group(self.pid)
        self.close_input()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(KILL_GRACE)


def start(
    argv: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bool = False,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a program in its own session and process group; the caller owns its stop.

    With `stdin` its standard input is a pipe for `Process.write`. Raises InfraError when it cannot be started.
    """
    return Process(_popen(argv, cwd, env, subprocess.PIPE if stdin else subprocess.DEVNULL, stdout, stderr, pass_fds))


def _popen(
    argv: Sequence[str],
    cwd: Path | str | None,
    env: Mapping[str, str] | None,
    stdin: int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    environment = dict(env) if env is not None else clean_environment()
    if _owner is not None:
        environment[LABEL] = _owner.label()
    try:
        return subprocess.Popen(
            list(argv), cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True, pass_fds=tuple(pass_fds),
        )  # fmt: skip
    except OSError as error:
        raise InfraError(f"`{argv[0]}` cannot be started: {error.strerror}.") from error


def kill_group(pid: int) -> None:
    """SIGKILL a process group that we started; nothing when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


# --- who we are, and what is provably ours -----------------------------------------------------------

_owner: Owner | None = None


def own(session: str) -> Owner:
    """Declare that this process owns what it starts from now on, for `session`; returns the label's content."""
    global _owner
    _owner = Owner(machine_id(), boot_id(), os.getpid(), start_time(os.getpid()) or 0, session)
    return _owner


def owner() -> Owner | None:
    return _owner


@functools.cache
def machine_id() -> str:
    """This machine and, after a colon, this view of its processes: two containers may share an engine, a kernel and
    a baked-in machine id, and yet a pid of one means nothing in the other."""
    return f"{_host_id()}:{_pid_namespace()}"


def same_machine(owner: Owner) -> bool:
    """Whether an owner is, or was, of this machine, in whichever view of its processes."""
    return owner.machine.partition(":")[0] == _host_id()


def _pid_namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid").removeprefix("pid:").strip("[]")
    return ""


@functools.cache
def _host_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            if text := Path(path).read_text().strip():
                return text
    return os.uname().nodename


@functools.cache
def boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which `pid` started: with the pid it names one process for ever. None: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def descendants(pid: int) -> tuple[int, ...]:
    """Children of `pid`, and theirs, nearest first; empty where the system does not tell."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = sorted(parents.get(waiting.pop(0), ()))
        found += children
        waiting += children
    return tuple(found)


def ancestors() -> Iterator[tuple[str, ...]]:
    """The command lines of what started us, and of what started that; nothing where the system does not tell."""
    pid = os.getppid()
    while pid > 1:
        words = command_line(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        yield words
        pid = int(fields[1])


def command_line(pid: int) -> tuple[str, ...]:
    """The words that a program was started with; none when it is gone, or the system does not tell."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(word.decode("utf-8", "replace") for word in words.split(b"\0")[:-1])


def is_alive(owner: Owner) -> bool:
    """Whether the process that owns something still runs; True also where that cannot be known."""
    if not same_machine(owner):
        return True
    if boot_id() and owner.boot != boot_id():
        return False
    if owner.machine != machine_id():
        return True
    if not Path("/proc/self/stat").exists():
        return _exists(owner.pid)
    return start_time(owner.pid) == owner.started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def labelled(wanted: Owner | None = None) -> Iterator[tuple[int, Owner]]:
    """Processes of this machine that carry our label (`wanted`: only that owner's), as (pid, owner)."""
    for pid, environ in _environments():
        found = _label_in(environ)
        if found is not None and (wanted is None or found == wanted):
            yield pid, found


def marked(name: str, value: str) -> Iterator[int]:
    """Processes of this owner that carry `value` under `name` in their environment."""
    mark = f"{name}={value}".encode()
    for pid, environ in _environments():
        if mark in environ.split(b"\0") and _label_in(environ) == _owner:
            yield pid


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(entry.name), (entry / "environ").read_bytes()


def _label_in(environ: bytes) -> Owner | None:
    prefix = LABEL.encode() + b"="
    for item in environ.split(b"\0"):
        if item.startswith(prefix):
            return Owner.parse(item[len(prefix) :].decode("utf-8", "replace"))
    return None


def kill_labelled(owner: Owner, deadline: float = KILL_GRACE, spare: int | None = None) -> int:
    """SIGKILL every process labelled with `owner` until none is left; returns how many were killed.

    What was started with an environment of its own has no label: it goes with the session (setsid(2)) it is in,
    which is the one of a program that we started.
    """
    return _kill_all(lambda: _with_sessions({pid for pid, _ in labelled(owner)}, spare), deadline, spare)


def _with_sessions(pids: set[int], spare: int | None) -> set[int]:
    """`pids` and all that is in their sessions, but for sessions whose living leader is none of `pids`."""
    sessions = _sessions()
    theirs = {sessions[pid] for pid in pids & sessions.keys() if pid != spare}
    theirs = {leader for leader in theirs if leader in pids or leader not in sessions}
    return pids | {pid for pid, leader in sessions.items() if leader in theirs}


def _sessions() -> dict[int, int]:
    """The session's leader of every living process, by pid; see proc(5)."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, leader = entry.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                found[int(entry.parent.name)] = int(leader)
    return found


def kill_marked(name: str, value: str, deadline: float = KILL_GRACE) -> int:
    """SIGKILL every process of this owner that is `marked` until none is left; returns how many were killed."""
    return _kill_all(lambda: marked(name, value), deadline)


def _kill_all(find: Callable[[], Iterable[int]], deadline: float, spare: int | None = None) -> int:
    killed: set[int] = set()
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        pids = [pid for pid in find() if pid not in (os.getpid(), spare) and start_time(pid)]
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(POLL)
    return len(killed)
