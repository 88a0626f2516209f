"""From a plan to the list of exact versions, asked of uv once and kept by everything it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from bisect_celery.environment import uv, virtualenv
from bisect_celery.environment.plan import Plan
from bisect_celery.environment.requirements import is_archive, is_local, local_path, logical_lines, name_of
from bisect_celery.environment.tree import Folder, join
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Failure, Runner, RunResult

RESOLVE_DEADLINE = 600.0
REACH_DEADLINE = 120.0
SCHEMA = "1"
MARKER = "bisect-celery.json"


class EnvironmentFailed(Exception):
    """The project's own requirements cannot be had: a fact about the tree, a SKIP for the judge."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass(frozen=True)
class Resolved:
    """Exact versions to install. `lines` go to uv as they are; `archives` are files of the tree among them.

    `local` are folders of the tree that are required as packages: code under test, never installed.
    """

    lines: tuple[str, ...]
    options: tuple[str, ...] = ()
    archives: tuple[tuple[str, str], ...] = ()
    local: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([*self.options, *self.lines, ""])

    def names(self) -> frozenset[str]:
        return frozenset(name for line in self.lines if (name := name_of(line)) is not None)


@dataclass(frozen=True)
class Bench:
    """What every step of building needs: where it runs, with which interpreter, as of when, and how to stop it.

    `helper` is another, newer interpreter where `python` is too old for uv and for our own steps ("": it is not).
    """

    runner: Runner
    python: str
    version: str
    as_of: str | None
    environment: Mapping[str, str]
    cancel: Cancel
    helper: str = ""

    def step(self, job: Mapping[str, object], source: Path | None, deadline: float) -> RunResult:
        """Run one locked step of `builder.py` there."""
        program = resources.files(__package__).joinpath("builder.py").read_text()
        argv = [self.helper or self.python, "-I", "-c", program, json.dumps(job)]
        return self.runner.run(argv, env=self.environment, source=source, deadline=deadline, cancel=self.cancel)

    def undated(self) -> Bench:
        return replace(self, as_of=None)

    def common(self) -> list[str]:
        """Words for every uv command that looks into an index."""
        dated = ["--exclude-newer", self.as_of] if self.as_of else []
        python = self.helper or self.python
        return ["--python", python, "--no-python-downloads", "--no-progress", "--color=never", *dated]


def resolve(bench: Bench, folder: Folder, plan: Plan) -> Resolved:
    """The exact versions of a plan. Raises EnvironmentFailed (the project's), InfraError (the machine's)."""
    if plan.lines is not None:
        return _settled(folder, plan, plan.lines)
    first = plan.ambiguous
    while True:
        try:
            return _settled(folder, plan, tuple(logical_lines(_asked(bench, folder, plan, first))))
        except EnvironmentFailed as failed:
            following = _next_versions(first, failed.failure)
            if following is None:
                raise
            first = following


def _next_versions(
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...], failure: Failure
) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    """A lock with two versions of a package: after the newer one did not fit, the other. None: all were tried."""
    said = "\n".join(failure.lines)
    for index, (name, versions) in enumerate(ambiguous):
        if len(versions) > 1 and name in said:
            return (*ambiguous[:index], (name, versions[1:]), *ambiguous[index + 1 :])
    return None


def _asked(bench: Bench, folder: Folder, plan: Plan, ambiguous: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    pins = [f"{name}=={versions[0]}" for name, versions in ambiguous]
    date = "" if bench.helper else str(plan.dated and bench.as_of)  # pip knows no dates
    also = (SCHEMA, bench.python, bench.version, bench.runner.platform, date, *pins)
    target = f"{bench.runner.root}/resolutions/{plan.digest(folder, *also)}.txt"
    known = bench.runner.read(target)
    if known is None:
        with _source(folder, plan, pins) as source:
            _ask(bench, plan, source, target)
        known = bench.runner.read(target)
    if known is None:
        raise InfraError(f"uv's answer is not at {target}.", "Is something cleaning that folder?")
    return known.decode()


def _ask(bench: Bench, plan: Plan, source: Path, target: str) -> None:
    """Ask uv; where an index tells no upload dates, ask again without a date rather than find nothing at all."""
    job = {"step": "resolve", "target": target, "folder": plan.folder}
    if bench.helper:
        how = virtualenv.resolution(old_tool(bench), bench.python, plan.command)
        result = bench.step({**job, **how}, source, RESOLVE_DEADLINE)
        if result.code != 0:
            raise_trouble(bench, result, plan.files)
        return
    result = bench.step({**job, "command": _command(bench, plan)}, source, RESOLVE_DEADLINE)
    if result.code != 0 and bench.as_of and uv.without_upload_dates(result.text):
        bench = bench.undated()
        result = bench.step({**job, "command": _command(bench, plan)}, source, RESOLVE_DEADLINE)
    if result.code != 0:
        raise_trouble(bench, result, plan.files)


def _command(bench: Bench, plan: Plan) -> list[str]:
    common = bench.common() if plan.dated else bench.undated().common()
    compiled = ["--no-header", "--no-annotate"] if plan.command[0] == "pip" else []
    return [*bench.runner.uv(), *plan.command, *compiled, *common, *(plan.indexes if compiled else ())]


@contextmanager
def _source(folder: Folder, plan: Plan, pins: Sequence[str]) -> Iterator[Path]:
    """A tree with what the plan reads and no more; the whole tree where a backend of the project's must run."""
    with tempfile.TemporaryDirectory(prefix="bisect-celery-") as scratch:
        root = Path(scratch) / "tree"
        if plan.whole:
            shutil.copytree(folder.layout, root, symlinks=True, ignore=_uncounted(folder, plan))
        for path, content in plan.inputs.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            extra = "".join(f"{pin}\n" for pin in pins) if path.endswith("-pins.txt") else ""
            target.write_bytes(content + extra.encode())
        yield root


def _uncounted(folder: Folder, plan: Plan) -> Callable[[str, list[str]], set[str]]:
    def ignored(place: str, names: list[str]) -> set[str]:
        inside = Path(place).relative_to(folder.layout)
        return {name for name in names if not plan.counts((inside / name).as_posix())}

    return ignored


def _settled(folder: Folder, plan: Plan, lines: tuple[str, ...]) -> Resolved:
    """Take the tree's own folders out, and note the content of its own archives."""
    kept: list[str] = []
    archives: list[tuple[str, str]] = []
    local: list[str] = []
    for line in lines:
        if not is_local(line):
            kept.append(line)
            continue
        path = join(plan.folder, local_path(line) or ".")
        if is_archive(path) and (content := folder.read(path)) is not None:
            kept.append(f"./{path}")
            archives.append((path, hashlib.sha256(content).hexdigest()))
        else:
            local.append(path)
    options = tuple(line for line in plan.options if line not in kept)
    return Resolved(tuple(line for line in kept if not line.startswith("-")), options, tuple(archives), tuple(local))


def raise_trouble(bench: Bench, result: RunResult, files: tuple[str, ...]) -> None:
    """Say whose failure a uv command's is. Raises EnvironmentFailed or InfraError, always."""
    reader = virtualenv if bench.helper else uv
    trouble = reader.whose(result.code, result.text)
    lines = "\n".join(uv.last_lines(result.text, 4))
    if trouble is uv.Trouble.DISK:
        raise InfraError("The disk is full where environments are built.", f"Make room in {bench.runner.root}.")
    if trouble is uv.Trouble.CREDENTIALS:
        hint = "Give uv its credentials (UV_INDEX_URL, or ~/.netrc), then resume."
        raise InfraError(f"The package index asks for credentials: {lines}", hint)
    if trouble is uv.Trouble.UNREACHABLE or (trouble is uv.Trouble.PROJECT and not reachable(bench)):
        hint = "Check the network or the proxy, then resume."
        what = "A repository that a package comes from" if "git fetch" in lines else "The package index"
        raise InfraError(f"{what} cannot be reached: {lines}", hint)
    if trouble is uv.Trouble.MACHINE:
        raise InfraError(f"uv could not work here (status {result.code}): {lines}", "Is there memory, and a uv?")
    raise EnvironmentFailed(reader.failure(result.text, files, bench.as_of))


def old_tool(bench: Bench) -> str:
    """The Python that has virtualenv, for interpreters that uv refuses; installed once. Raises InfraError."""
    target = f"{bench.runner.root}/tools/{virtualenv.PIN.replace('==', '-')}"
    if bench.runner.read(f"{target}/{MARKER}") is None:
        job = virtualenv.tool(bench.runner.uv(), bench.undated().common(), target, MARKER)
        result = bench.step(job, None, RESOLVE_DEADLINE)
        if result.code != 0:
            lines = "\n".join(uv.last_lines(result.text, 4))
            raise InfraError(
                f"{virtualenv.PIN}, which Python {bench.version} needs, cannot be installed: {lines}",
                "Check the network or the proxy, then resume.",
            )
    return f"{target}/bin/python"


def reachable(bench: Bench) -> bool:
    """Whether the index answers at all, asked for what every project here needs, past every cache."""
    words = ["pip", "compile", "-", "--no-deps", "--quiet", "--no-cache", "--no-header", "--no-annotate"]
    command = [*bench.runner.uv(), *words, *bench.undated().common()]
    argv = [bench.helper or bench.python, "-I", "-c", _ASK_FOR_CELERY, json.dumps(command)]
    result = bench.runner.run(argv, env=bench.environment, source=None, deadline=REACH_DEADLINE, cancel=bench.cancel)
    return result.code == 0 or uv.whose(result.code, result.text) is uv.Trouble.PROJECT


_ASK_FOR_CELERY = """
import json, subprocess, sys
process = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE)
process.communicate(b"celery\\n")
sys.exit(process.returncode)
"""
