"""A library whose code is not what lies in its tree: it has compiled parts, or files that only its build makes.

Such a revision is built as whoever publishes it builds it: a wheel, by its own backend, apart from everything else,
once for each content of its tree. The wheel is unpacked beside the tree and takes its place on the path, so that a
trial never sees a source and a compiled part of two revisions. Compiling anew what did not change is the price;
libraries of nothing but Python, by backends that are known to copy it, are used as they lie there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.parser import HeaderParser
from pathlib import Path

from bisect_celery.environment import uv
from bisect_celery.environment.identity import identity
from bisect_celery.environment.resolve import SCHEMA, Bench, EnvironmentFailed, raise_trouble
from bisect_celery.environment.tree import Folder, join
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Failure, RunResult, Stage

BUILD_DEADLINE = 1800.0
# Backends that only copy Python files, unless something in `_signs` says more.
_COPYING = re.compile(r"(?:setuptools|flit|flit_core|hatchling|poetry|pdm|uv_build)(?:[.:]|$)")
_IN_SETUP = re.compile(
    r"\b(?:ext_modules|cffi_modules|rust_extensions|cythonize|build_ext|build_clib|cmake|mypycify)\b|"
    r"\b(?:use_scm_version|pbr)\b|"
    r"\bExtension\("
)
# Of what a build needs: compilers, and tools that take the version from a history, which no laid-out tree has.
_TOOLS = re.compile(
    r"cython|cffi|pybind11|nanobind|rust|maturin|scikit-build|cmake|meson|mypyc?\b|"
    r"setuptools[-_]scm|hatch-vcs|pbr|versioningit|versioneer|dynamic-versioning",
    re.I,
)
# Then every revision has this one: the same at all, so that no tag of the history's is taken for a commit's doing.
_VERSION = "0"
_VERSION_VARIABLES = ("SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION", "PBR_VERSION")
# What names are missing where there is no compiler: the machine's lack, whatever the revision.
_TOOLCHAIN = frozenset({"cc", "gcc", "g++", "c++", "clang", "Rust", "rustc", "cargo", "cmake", "ninja", "Python.h"})
_NO_COMPILER = re.compile(
    r"Unknown compiler\(s\)|No CMAKE_(?:C|CXX)_COMPILER|command '?(?P<name>[\w./+-]*(?:gcc|cc|clang|c\+\+|g\+\+))'? "
    r"failed: No such file|\b(?P<other>g?cc|clang|[gc]\+\+|cmake|rustc|cargo): (?:command )?not found"
)


def beside(library: str) -> str:
    """Where a built revision is unpacked in the tree."""
    return f"{library}-built"


def why_built(folder: Folder, library: str) -> str | None:
    """What in the revision says that its code has to be built, in a few words; None: it lies there ready."""
    return next(_signs(folder, library), None)


def _signs(folder: Folder, library: str) -> Iterator[str]:
    table = folder.toml(join(library, "pyproject.toml"))
    system = table.get("build-system", {})
    backend = str(system.get("build-backend") or "setuptools")
    if "backend-path" in system or not _COPYING.match(backend):
        yield f"built by {backend}"
    if match := _TOOLS.search(" ".join(map(str, system.get("requires", [])))):
        yield f"its build needs {match[0].lower()}"
    if match := _IN_SETUP.search(folder.text(join(library, "setup.py")) or ""):
        yield f"{match[0].rstrip('(')} in setup.py"
    tool = table.get("tool", {})
    if tool.get("setuptools", {}).get("ext-modules"):
        yield "ext-modules in pyproject.toml"
    for name, keys in _HOOKS.items():
        found = tool
        for key in name.split("."):
            found = found.get(key, {}) if isinstance(found, dict) else {}
        if any(key in found for key in keys) or (found and not keys):
            yield f"tool.{name} in pyproject.toml"
    if identity(folder, library) is None:
        yield "only its build says what it is called"


# Tables of a pyproject.toml that make a build write or compile something; with keys, only if it has one of them.
_HOOKS: dict[str, tuple[str, ...]] = {
    "setuptools_scm": ("write_to", "version_file"),
    "hatch.build.hooks": (),
    "hatch.build.targets.wheel.hooks": (),
    "poetry.build": (),
    "pdm.build": ("custom-hook", "run-setuptools"),
    "pdm.version": ("write_to",),
}


@dataclass(frozen=True)
class Metadata:
    """What a built revision says of itself: its name, version, and the lines that say what it requires."""

    name: str
    version: str
    requires: tuple[tuple[str, str], ...]

    @property
    def file(self) -> str:
        return f"{re.sub(r'[-_.]+', '_', self.name)}-{self.version}-py3-none-any.whl"

    def stub(self) -> bytes:
        """A wheel with nothing in it but this: what uv reads requirements from, the same for the same requirements."""
        info = f"{re.sub(r'[-_.]+', '_', self.name)}-{self.version}.dist-info"
        said = (("Metadata-Version", "2.1"), ("Name", self.name), ("Version", self.version), *self.requires)
        files = {
            f"{info}/METADATA": "".join(f"{key}: {value}\n" for key, value in said),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bisect-celery\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for path, text in files.items():
                archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
        return out.getvalue()


def metadata(folder: Folder, library: str) -> Metadata | None:
    """Of the revision that stands built in the tree; None where none was built."""
    place = beside(library)
    for name in folder.names(place):
        text = folder.text(f"{place}/{name}/METADATA") if name.endswith(".dist-info") else None
        if text is not None:
            said = HeaderParser().parsestr(text)
            keys = ("Requires-Python", "Provides-Extra", "Requires-Dist")
            requires = tuple((key, " ".join(line.split())) for key in keys for line in said.get_all(key, []))
            return Metadata(said["Name"], said["Version"], requires)
    return None


def put_built(bench: Bench, folder: Folder, library: str, say: Callable[[str], None]) -> None:
    """Unpack what is built from the revision beside it, where it has to be built; else nothing is there.

    Raises EnvironmentFailed where the revision does not build, InfraError where this machine cannot build it.
    """
    target = folder.layout / beside(library)
    shutil.rmtree(target, ignore_errors=True)
    why = why_built(folder, library)
    if why is None:
        return
    if bench.helper:
        raise UserError(
            f"The library has to be built ({why}), which is not done for Python {bench.version}.",
            "Search with Python 3.6 or later: --python.",
        )
    _unpack(_wheel(bench, folder, library, why, say), target)


def _wheel(bench: Bench, folder: Folder, library: str, why: str, say: Callable[[str], None]) -> bytes:
    source = folder.inside(library)
    assert source is not None
    target = f"{bench.runner.root}/libraries/{_digest(bench, source)}.whl"
    known = bench.runner.read(target)
    if known is None:
        say(f"Building the library's revision ({why})")
        _build(bench, source, target)
        known = bench.runner.read(target)
    if known is None:
        raise InfraError(f"The wheel at {target} went away.", "Is something cleaning that folder?")
    return known


def _digest(bench: Bench, source: Path) -> str:
    """Of the revision's whole tree and all else that its build may see."""
    made_of = [SCHEMA, bench.python, bench.version, bench.runner.platform, bench.as_of]
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink():
            made_of.append(f"{name}\0link\0{path.readlink()}")
        elif path.is_file():
            made_of.append(f"{name}\0{path.stat().st_mode & 0o111}\0{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]


def _build(bench: Bench, source: Path, target: str) -> None:
    versions = dict.fromkeys(_VERSION_VARIABLES, _VERSION)
    bench = replace(bench, environment={**bench.environment, **versions})
    result = bench.step(_job(bench, target), source, BUILD_DEADLINE)
    if result.code != 0 and bench.as_of and uv.without_upload_dates(result.text):
        result = bench.step(_job(bench.undated(), target), source, BUILD_DEADLINE)
    if result.code == 0:
        return
    missing = _toolchain(result.text)
    if missing is not None:
        raise InfraError(
            f"The library under test has compiled parts, and there is no compiler here ({missing} is missing).",
            "Install it (Debian: `apt-get install build-essential`, and `python3-dev` for Debian's Python); in "
            "containers name an image that has it: BISECT_CELERY_BUILDER_IMAGE=python:3.11.",
        )
    try:
        raise_trouble(bench, result, ("the library under test",))
    except EnvironmentFailed:
        raise EnvironmentFailed(_failure(result)) from None


def _job(bench: Bench, target: str) -> dict[str, object]:
    words = [*bench.runner.uv(), "build", "--wheel", "--no-create-gitignore", "--out-dir", "{scratch}", *bench.common()]
    return {"step": "wheel", "target": target, "command": [*words, "."]}


def _toolchain(text: str) -> str | None:
    lacking = next((name for _, name in uv.lacks(text) if name in _TOOLCHAIN or name.endswith("gcc")), None)
    if lacking is not None:
        return lacking
    match = _NO_COMPILER.search(text)
    return None if match is None else match["name"] or match["other"] or "a C compiler"


def _failure(result: RunResult) -> Failure:
    lacking = tuple(uv.lacks(result.text))
    why = f": {', '.join(f'{kind} {name}' for kind, name in lacking)} is missing" if lacking else ""
    said = next((line.strip() for line in result.text.splitlines() if re.search(r"\berror: ", line)), "")
    reason = f"This revision of the library does not build{why or (f': {said}' if said else '')}."
    return Failure(Stage.ENVIRONMENT, reason, missing=lacking, lines=uv.last_lines(result.text))


def _unpack(content: bytes, target: Path) -> None:
    """A wheel's files as an installer would put them beside one another; scripts and headers are nobody's here."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            moved = re.match(r"[^/]+\.data/(?P<where>[^/]+)/(?P<rest>.+)$", entry.filename)
            if moved is not None:
                if moved["where"] not in ("purelib", "platlib"):
                    continue
                entry.filename = moved["rest"]
            archive.extract(entry, target)
