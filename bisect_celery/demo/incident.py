"""Write the demo incident as a fresh git repository: the same commits, with the same names, on every machine.

Everything that a commit's name depends on comes from the patches; nothing of the caller's environment or git
configuration (names, clocks, signing, line ends, templates, hooks) can get in.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.demo.history import Chapter, chapters
from bisect_celery.errors import UserError
from bisect_celery.model import Probe

GOOD = 8
CULPRIT = 25
BRANCH = "main"
GIT_DEADLINE = 60.0

APP = "shop"
WORKER = ("-c", "2", "-l", "INFO")
PROBE = Probe(
    task="billing.tasks.render_invoice",
    args='[17, "Ada Archer", [["Teapot, blue", 1, "18.50"], ["Cup", 4, "4.20"]]]',
    expect='"invoice-00017.txt"',
    done_log=r"invoice \d+ written to ",
)


@dataclass(frozen=True)
class Incident:
    """Where the demo incident was written, and all that is to be known of it, the answer included.

    `worker` are the words after `celery -A APP worker`. `culprit_line` is the removed import (without a line
    end) that alone makes the difference; it stands in `culprit_path` of the culprit's parent.
    """

    folder: Path
    good: str
    bad: str
    culprit: str
    culprit_path: str = "notifications/tasks.py"
    culprit_line: str = "from shipping.tariffs import delivery_days"
    app: str = APP
    worker: tuple[str, ...] = WORKER
    probe: Probe = PROBE


def write_incident(folder: Path) -> Incident:
    """Write the repository into `folder`, which is made if it is not there, with the newest commit checked out.

    Raises UserError when `folder` holds something already, InfraError when git cannot be run.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be used: {error.strerror}.", "Name a folder that can be written.") from error
    if occupied:
        raise UserError(f"{folder} is not empty.", "Name a new folder for the demo.")
    told = chapters()
    with tempfile.TemporaryDirectory(prefix="bisect-celery-demo-") as scratch:
        _git(folder, scratch, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}", "--object-format=sha1")
        # A caller's own configuration must not make the fresh checkout look changed.
        _git(folder, scratch, "config", "core.autocrlf", "false")
        marks = Path(scratch, "marks")
        _git(folder, scratch, "fast-import", "--quiet", f"--export-marks={marks}", stream=_stream(told))
        _git(folder, scratch, "reset", "--quiet", "--hard")
        shas = dict(line.split() for line in marks.read_text().splitlines())
    return Incident(folder, good=shas[f":{GOOD}"], bad=shas[f":{len(told)}"], culprit=shas[f":{CULPRIT}"])


def _git(folder: Path, home: str, *words: str, stream: bytes | None = None) -> None:
    """Run git in `folder` with an empty home and no configuration but the repository's own."""
    nothing = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
    env = proc.clean_environment({"HOME": home, "XDG_CONFIG_HOME": home, **nothing})
    argv = ["git", "-c", "core.hooksPath=" + os.devnull, "-c", "commit.gpgSign=false", *words]
    proc.run(argv, deadline=GIT_DEADLINE, cwd=folder, env=env, input=stream)


def _stream(told: tuple[Chapter, ...]) -> bytes:
    """The history in the language of `git fast-import`; a commit's mark is its chapter's number."""
    return b"".join(part for chapter in told for part in _commit(chapter, told)) + b"done\n"


def _commit(chapter: Chapter, told: tuple[Chapter, ...]) -> list[bytes]:
    # A branch of the project's leaves no name behind: only its commits are reachable, from the merge.
    who = f"{chapter.author} {int(chapter.date.timestamp())} {chapter.date:%z}"
    parts = [f"commit refs/heads/{BRANCH}\nmark :{chapter.number}\nauthor {who}\ncommitter {who}\n".encode()]
    parts.append(_data(chapter.message))
    parts += [f"{word} :{parent}\n".encode() for word, parent in zip(_words(chapter), chapter.parents, strict=True)]
    before = told[chapter.parents[0] - 1].files if chapter.parents else {}
    parts += [f"D {path}\n".encode() for path in before.keys() - chapter.files.keys()]
    for path, file in chapter.files.items():
        if before.get(path) != file:
            parts += [f"M {file.mode} inline {path}\n".encode(), _data(file.text)]
    return [*parts, b"\n"]


def _words(chapter: Chapter) -> list[str]:
    return ["from", *["merge"] * (len(chapter.parents) - 1)][: len(chapter.parents)]


def _data(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"data %d\n%s\n" % (len(data), data)
