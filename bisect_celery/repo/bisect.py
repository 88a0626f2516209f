"""`git bisect run` for real, in our repository: git chooses the commits, we answer.

Git starts the predicate, the predicate asks over a Unix socket, and the thread that called `search` answers.
What came out is read from git's refs, and every verdict that git recorded is checked against the one that
was given: if the predicate could not even start, git would have read its status as bad.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Revision, Verdict
from bisect_celery.repo import ends, revisions
from bisect_celery.repo.ends import Range
from bisect_celery.repo.git import DEADLINE, Git, failed, is_sha, text

Answer = Callable[[Revision], Verdict]
OnStep = Callable[[int, int], None]

PREDICATE = Path(__file__).with_name("predicate.py")
# A Unix socket's address has room for this many bytes (sun_path is 108 with its NUL on Linux, 104 on BSD).
LONGEST_SOCKET = 103
_STATE = ("START", "LOG", "NAMES", "TERMS", "RUN", "HEAD", "EXPECTED_REV", "ANCESTORS_OK", "FIRST_PARENT")
_REFS = "refs/bisect/"
_WORDS = {Verdict.GOOD: "good", Verdict.BAD: "bad", Verdict.SKIP: "skip"}


@dataclass(frozen=True)
class Found:
    """What a search came to.

    `first_bad`: the first bad commit; None when there is no single one, and then `candidates` are the commits
    that it can be (ancestors first), because only skipped ones are left, or, with `outside_paths`, because
    the bug came with a commit that touches none of the paths. `merge_base_bad`: GOOD is no ancestor of BAD
    and their merge base is bad already: the bug was fixed on GOOD's side. `tested` are the answers in
    order, `log` is git's own bisect log.
    """

    first_bad: Revision | None
    candidates: tuple[Revision, ...] = ()
    skipped: tuple[Revision, ...] = ()
    log: str = ""
    tested: tuple[tuple[str, Verdict], ...] = ()
    merge_base_bad: bool = False
    outside_paths: bool = False


@dataclass
class _State:
    """Git's bisect refs at one moment."""

    bad: str | None = None
    good: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)


def search(git: Git, scratch: Path, span: Range, answer: Answer, cancel: Cancel, on_step: OnStep | None) -> Found:
    """Search `span` in the bare repository of ours that `git` speaks to; the caller sees to it that nobody else does.

    `answer` is called in this thread. If it raises, or `cancel` is set, git is stopped, the bisection's
    state is removed and the exception goes on. Raises InfraError when git or the predicate failed.
    """
    clear(git)
    try:
        _start(git, span)
        tested: list[tuple[str, Verdict]] = []
        if _question(git) is not None:
            _run(git, scratch, span, answer, cancel, on_step, tested)
        return _outcome(git, span, tuple(tested))
    finally:
        clear(git)


def next_question(git: Git, span: Range, answers: tuple[tuple[str, Verdict], ...]) -> str | None:
    """The commit that git would ask for after these answers; None when it would ask no more.

    Replays the answers on git's own bisection, so it must be called on a repository where none is running.
    """
    clear(git)
    try:
        _start(git, span)
        for sha, verdict in answers:
            git.having(literal=False).run("bisect", _WORDS[verdict], sha, check=False)
        return _question(git)
    finally:
        clear(git)


def written(git: Git, span: Range, answers: tuple[tuple[str, Verdict], ...]) -> str:
    """The log, for `git bisect replay`, that git itself writes when it is given these answers, in this order.

    What git is told last to be bad is what it holds for bad: the descendants' answers come before their ancestors'.
    Must be called on a repository where no bisection is running.
    """
    clear(git)
    try:
        _start(git, span)
        for sha, verdict in answers:
            git.having(literal=False).run("bisect", _WORDS[verdict], sha, check=False)
        return text(git.run("bisect", "log", check=False).out)
    finally:
        clear(git)


def clear(git: Git) -> None:
    """Remove what a bisection, also a killed one, left in our repository."""
    assert git.git_dir is not None
    unlock(git)
    refs = git.lines("for-each-ref", "--format=%(refname)", _REFS)
    if refs:
        git.run("update-ref", "--stdin", input="".join(f"delete {ref}\n" for ref in refs).encode())
    for name in _STATE:
        (git.git_dir / f"BISECT_{name}").unlink(missing_ok=True)


def unlock(git: Git) -> None:
    """Remove the locks of a git that was killed; nobody else may be writing refs here."""
    assert git.git_dir is not None
    for lock in (*git.git_dir.glob("*.lock"), *(git.git_dir / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)


# --- starting and serving ----------------------------------------------------------------------------


def _start(git: Git, span: Range) -> None:
    git.run("update-ref", "--no-deref", "HEAD", span.bad)
    first_parent = ["--first-parent"] if span.first_parent else []
    words = ["bisect", "start", "--no-checkout", *first_parent, span.bad, *span.good, "--", *span.paths]
    started = git.having(literal=False).run(*words, check=False)
    state = _state(git)
    if state.bad != span.bad or state.good != set(span.good):
        raise failed(started, "start its bisection")


def _run(
    git: Git,
    scratch: Path,
    span: Range,
    answer: Answer,
    cancel: Cancel,
    on_step: OnStep | None,
    tested: list[tuple[str, Verdict]],
) -> None:
    with _listening(scratch) as (listener, address), tempfile.TemporaryFile(dir=scratch) as said:
        command = ["bisect", "run", sys.executable, "-I", "-S", str(PREDICATE), address]
        speaking = git.having(literal=False)
        running = proc.start(
            speaking.argv(*command), cwd=git.folder, env=speaking.environment(), stdout=said, stderr=said
        )
        try:
            while _asked(listener, running, cancel):
                _serve(git, span, listener, answer, on_step, tested)
        finally:
            running.stop()
        said.seek(0)
        _check_recorded(git, span, tested, proc.Finished(tuple(command), running.exit_code() or 0, b"", said.read()))


def _asked(listener: socket.socket, running: proc.Process, cancel: Cancel) -> bool:
    """Wait until the predicate asks (True) or git has ended (False)."""
    pending = False

    def ready() -> bool:
        nonlocal pending
        ended = not running.alive()  # looked at first: a predicate that asked before git ended is still heard
        pending = bool(select.select([listener], [], [], 0)[0])
        return pending or ended

    if not cancel.wait(ready, DEADLINE):
        raise InfraError(f"git did not choose the next commit within {DEADLINE:g} s.", "Is the disk or machine busy?")
    return pending


def _serve(
    git: Git,
    span: Range,
    listener: socket.socket,
    answer: Answer,
    on_step: OnStep | None,
    tested: list[tuple[str, Verdict]],
) -> None:
    connection, _ = listener.accept()
    with connection:
        sha = git.line("rev-parse", "--verify", "--quiet", "BISECT_HEAD")
        if sha is None or not is_sha(sha):
            raise InfraError("git asked for a verdict and named no commit.")
        if on_step is not None:
            on_step(*ends.estimate(git, _left(git, span)))
        (revision,) = revisions.read(git, [sha])
        verdict = Verdict(answer(revision))
        tested.append((sha, verdict))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # _check_recorded sees what came of it
            connection.sendall(f"{int(verdict)}\n".encode())


@contextlib.contextmanager
def _listening(scratch: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket whose address fits: below `scratch`, else in a short temporary folder noted there."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir=scratch))
    note = scratch / "socket-folder"
    remove_noted(note)
    if len(os.fsencode(folder / "a")) > LONGEST_SOCKET:
        short = next((at for at in (tempfile.gettempdir(), "/tmp") if len(os.fsencode(at)) < 70), "/tmp")
        folder = Path(short, f"bc-{secrets.token_hex(8)}")
        note.write_text(str(folder))  # before it is made: who finds the note knows all that there can be
        folder.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(folder / "a"))
            listener.listen(1)
            yield listener, str(folder / "a")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)


def remove_noted(note: Path) -> None:
    """Remove the short temporary folder that a killed session noted."""
    with contextlib.suppress(OSError):
        folder = Path(note.read_text())
        if folder.name.startswith("bc-"):
            shutil.rmtree(folder, ignore_errors=True)
        note.unlink()


# --- reading what came out ---------------------------------------------------------------------------


def _state(git: Git) -> _State:
    state = _State()
    for line in git.lines("for-each-ref", "--format=%(objectname) %(refname)", _REFS):
        sha, _, name = line.partition(" ")
        name = name.removeprefix(_REFS)
        if name == "bad":
            state.bad = sha
        elif name.startswith("good-"):
            state.good.add(sha)
        elif name.startswith("skip-"):
            state.skipped.add(sha)
    return state


def _left(git: Git, span: Range) -> Range:
    """The range that is still suspect."""
    state = _state(git)
    if state.bad is None:
        raise InfraError("git lost its bisection's state.")
    return replace(span, bad=state.bad, good=tuple(sorted(state.good)))


def _question(git: Git) -> str | None:
    """The commit that git waits to hear about; None when its bisection is over."""
    state = _state(git)
    expected = git.line("rev-parse", "--verify", "--quiet", "BISECT_EXPECTED_REV")
    return None if expected in {state.bad, *state.good, *state.skipped} else expected


def _check_recorded(git: Git, span: Range, tested: list[tuple[str, Verdict]], ended: proc.Finished) -> None:
    """A crash must never be a verdict: what git recorded is exactly what was answered."""
    state = _state(git)
    given = {verdict: [sha for sha, one in tested if one is verdict] for verdict in Verdict}
    bad = [span.bad, *given[Verdict.BAD]][-1]
    good = {*span.good, *given[Verdict.GOOD]}
    if (state.bad, state.good, state.skipped) != (bad, good, set(given[Verdict.SKIP])):
        raise failed(ended, "finish its bisection: the verdicts it recorded are not those it was given")


def _outcome(git: Git, span: Range, tested: tuple[tuple[str, Verdict], ...]) -> Found:
    state, left = _state(git), _left(git, span)
    suspects = ends.commits(git, left)
    log = text(git.run("bisect", "log", check=False).out)
    skipped = revisions.read(git, [sha for sha, verdict in tested if verdict is Verdict.SKIP])
    found = Found(None, (), skipped, log, tested)
    if any(left.bad in ends.merge_bases(git, good, span.bad) for good in span.good):
        return replace(found, merge_base_bad=True)
    if suspects == [left.bad]:
        return replace(found, first_bad=revisions.read(git, suspects)[0])
    if left.bad not in suspects and not set(suspects) - state.skipped:
        everywhere = replace(left, paths=())
        return replace(found, candidates=revisions.read(git, ends.commits(git, everywhere)), outside_paths=True)
    if not set(suspects) - {left.bad} - state.skipped:
        return replace(found, candidates=revisions.read(git, suspects))
    raise InfraError("git ended its bisection before it was over.", "`bisect-celery resume` starts it again.")
