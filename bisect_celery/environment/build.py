"""A project's dependencies, built once for each resolved content, through the Runner a stack hands us."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.environment import locks, uv, virtualenv
from bisect_celery.environment.caller import for_pip, installation_environment
from bisect_celery.environment.dependencies import LOOKED_FOR, Dependencies, Kind, detect_dependencies
from bisect_celery.environment.identity import Identity, identities
from bisect_celery.environment.interpreter import choose_python
from bisect_celery.environment.library import joined
from bisect_celery.environment.plan import WISHES, Plan, best_match, plan
from bisect_celery.environment.requirements import find_links, normalise
from bisect_celery.environment.resolve import (
    MARKER,
    SCHEMA,
    Bench,
    EnvironmentFailed,
    Resolved,
    old_tool,
    raise_trouble,
    resolve,
)
from bisect_celery.environment.tree import Folder
from bisect_celery.environment.user_files import with_pip_conf
from bisect_celery.environment.wheel import put_built
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Environment, Failure, Runner, RunResult, Stage

INSTALL_DEADLINE = 1800.0
Progress = Callable[[str], None]


def build(
    layout: Path,
    *,
    subfolder: str,
    python: str | None,
    as_of: str,
    runner: Runner,
    cancel: Cancel,
    on_progress: Progress | None = None,
    caller: Mapping[str, str] | None = None,
    library: str = "",
) -> Environment:
    """The environment that the tree at `layout` asks for, from the cache or built.

    `as_of` is an ISO date-time: without a lock everything is resolved as if it were then. `python` is a version
    the user chose, None to ask the project's files. `caller` is the environment whose package index settings
    are used (default: this process's), and the user's pip.conf where it says nothing. `library` is the folder of a
    library's revision that joins the app; what has to be built of it is put beside it. Raises EnvironmentFailed when
    the project's requirements cannot be had, UserError when there is no such Python, InfraError when the index or the
    machine fails.
    """
    say = on_progress or (lambda text: None)
    folder = Folder(layout)
    found = detect_dependencies(folder, subfolder)
    if found is None:
        raise EnvironmentFailed(_nothing(subfolder))
    path, version = runner.interpreter(python) if python else choose_python(folder, subfolder, runner)[:2]
    caller = with_pip_conf(os.environ if caller is None else caller)
    environment = installation_environment(caller)
    environment.setdefault("UV_CACHE_DIR", f"{runner.root}/cache")
    bench = Bench(runner, path, version, as_of, environment, cancel)
    if virtualenv.is_needed(version):
        bench = _old_bench(bench, caller)
    if library:
        put_built(bench, folder, library, say)
    try:
        planned = plan(folder, found)
        resolved = joined(bench, folder, found, library) if library else resolve(bench, folder, planned)
    except locks.UnreadableLock as error:
        reason = f"{found.files[0]} cannot be read: {error}."
        raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason)) from None
    resolved = _with_setuptools(bench, folder, found, resolved)
    order = Order(planned, resolved, identities(folder, found, resolved.local))
    if not order.is_celery and "celery" not in resolved.names():
        raise EnvironmentFailed(_no_celery(planned))
    return _installed(bench, folder, order, say)


def _old_bench(bench: Bench, caller: Mapping[str, str]) -> Bench:
    """For an interpreter that uv refuses: pip is told where packages are as well, and another Python runs our steps."""
    environment = {**bench.environment, **for_pip(caller), "PIP_CACHE_DIR": f"{bench.runner.root}/cache/pip"}
    return replace(bench, environment=environment, helper=bench.runner.interpreter(None)[0])


@dataclass(frozen=True)
class Order:
    """What to install: the plan it came from, the exact versions, and what the tree itself is called."""

    planned: Plan
    resolved: Resolved
    identities: tuple[Identity, ...]

    @property
    def is_celery(self) -> bool:
        """Whether the tree is Celery itself: then no package brings it, and none should."""
        return any(normalise(one.name) == "celery" for one in self.identities)

    def metadata(self) -> dict[str, str]:
        return {path: text for one in self.identities for path, text in one.files().items()}


def _nothing(subfolder: str) -> Failure:
    where = f" in {subfolder} or above it" if subfolder else ""
    return Failure(Stage.ENVIRONMENT, f"No file{where} says what the project depends on (looked for {LOOKED_FOR}).")


def _no_celery(planned: Plan, where: str = "") -> Failure:
    reason = f"{planned.files[0]} does not lead to Celery{where}, so no worker can start from it."
    return Failure(Stage.ENVIRONMENT, reason, missing=(("package", "celery"),))


# What a new virtual environment held before Python 3.12, and what older libraries import `pkg_resources` from.
_SEED = "setuptools<66"


def _with_setuptools(bench: Bench, folder: Folder, found: Dependencies, resolved: Resolved) -> Resolved:
    """Add setuptools where the project's own installer would have found it: `venv` and `virtualenv` put it there."""
    minor = tuple(int(part) for part in bench.version.split(".")[:2])
    brought = bench.helper or minor >= (3, 12)  # by virtualenv, or by nobody
    if found.kind is Kind.UV_LOCK or brought or "setuptools" in resolved.names():
        return resolved
    wishes = {WISHES: f"{_SEED}\n".encode()}
    words = ("pip", "compile", WISHES, "--no-deps")
    seed = resolve(bench, folder, Plan(found.files, "", command=words, inputs=wishes))
    return Resolved((*resolved.lines, *seed.lines), resolved.options, resolved.archives, resolved.local)


def _installed(bench: Bench, folder: Folder, order: Order, say: Progress) -> Environment:
    resolved = order.resolved
    key = environment_key(bench, order)
    target = f"{bench.runner.root}/environments/{key}"
    known = bench.runner.read(f"{target}/{MARKER}")
    if known is None:
        say(f"Installing {len(resolved.lines)} packages for Python {bench.version}")
        _install(bench, folder, order, target)
        known = bench.runner.read(f"{target}/{MARKER}")
    if known is None:
        raise InfraError(f"The environment at {target} went away.", "Is something cleaning that folder?")
    packages = tuple((str(name), str(number)) for name, number in json.loads(known)["packages"])
    if not order.is_celery and not any(normalise(name) == "celery" for name, _ in packages):
        raise EnvironmentFailed(_no_celery(order.planned, f" for Python {bench.version}"))
    return Environment(key, f"{target}/bin/python", f"{target}/bin", packages, resolved.text)


def environment_key(bench: Bench, order: Order) -> str:
    """The digest of all that an environment is made of: resolved set, archives' content, interpreter, platform."""
    made_of = [SCHEMA, order.resolved.text, order.resolved.archives, order.metadata()]
    made_of += [bench.python, bench.version, bench.runner.platform]
    made_of += [virtualenv.PIN] if bench.helper else []
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]


def _install(bench: Bench, folder: Folder, order: Order, target: str) -> None:
    """Install; a lock as written that is newer than the date we resolve as of is installed without that date."""
    with _archives(folder, order.resolved) as source:
        result = bench.step(_job(bench, order, target, source), source, INSTALL_DEADLINE)
        if result.code != 0 and _date_may_be_why(bench, order.planned, result):
            bench = bench.undated()
            result = bench.step(_job(bench, order, target, source), source, INSTALL_DEADLINE)
    if result.code != 0:
        raise_trouble(bench, result, order.planned.files)


def _date_may_be_why(bench: Bench, planned: Plan, result: RunResult) -> bool:
    project = not bench.helper and uv.whose(result.code, result.text) is uv.Trouble.PROJECT
    return project and (not planned.dated or uv.without_upload_dates(result.text))


# As uv does it: what some package brings for another Python need not compile.
_COMPILE = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, force=True)"


def _job(bench: Bench, order: Order, target: str, source: Path | None) -> dict[str, object]:
    words = bench.runner.uv()
    python = f"{target}/bin/python"
    common = bench.common()[2:]
    extra = [*(order.planned.indexes or best_match(order.resolved.options))]
    compiled_by_uv = uv.compiles(bench.version)
    job = {
        "step": "install",
        "target": target,
        "marker": MARKER,
        "lock": order.resolved.text,
        "metadata": order.metadata(),
        "beside_tree": source is not None,
        "commands": [
            [*words, "venv", "--quiet", "--no-project", "--no-python-downloads", "--python", bench.python, target],
            [*words, "pip", "install", "--no-deps", *(["--compile-bytecode"] if compiled_by_uv else []),
             "--python", python, *common, *extra, "-r", "{lock}"],
            *([] if compiled_by_uv else [[python, "-I", "-c", _COMPILE, f"{target}/lib"]]),
        ],
        "list": [*words, "pip", "list", "--quiet", "--format", "json", "--python", python],
    }  # fmt: skip
    return job | virtualenv.installation(old_tool(bench), bench.python, target) if bench.helper else job


@contextmanager
def _archives(folder: Folder, resolved: Resolved) -> Iterator[Path | None]:
    """A folder with the tree's own archives to install from, None when there are none."""
    if any(find_links(line) for line in resolved.options):
        yield folder.layout
        return
    if not resolved.archives:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bisect-celery-") as scratch:
        for path, _ in resolved.archives:
            target = Path(scratch) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            real = folder.inside(path)
            assert real is not None
            shutil.copyfile(real, target)
        yield Path(scratch)
