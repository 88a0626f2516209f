"""Where the container stack builds environments: a container with a route to the package index, and one volume.

The volume holds environments, resolutions, interpreters and uv's cache on a single mount, so that uv can link instead
of copying; workers get the same volume at the same path, read-only. Each command runs in a fresh container: its
deadline and its cancelling are then a kill, and nothing of one build is seen by the next.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Cancel, Owner, RunResult
from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.files import NOBODY, archive_of, tree_archive
from bisect_celery.stack.engine.program import Watch

ROOT = "/bisect-celery"
BUILD = "/build"
AUTHORITIES = f"{BUILD}/authorities.pem"
ASK_DEADLINE = 60.0
DOWNLOAD_DEADLINE = 600.0

# uv and py-spy in the versions that we ourselves were installed with; what they resolve must not depend on the stack.
_TOOLS = ("uv", "py-spy")
_WHO = "import json, sys; print(json.dumps([sys.executable, '%d.%d.%d' % sys.version_info[:3]]))"
# Pythons that uv does not know are asked for by name, with what `-I` stands for.
_UV_BEGINS = (3, 6)
_APART_OF_OLD = ("-E", "-s")

# What tells pip and uv where packages are. What names a file or folder of this machine means nothing in there.
_INDEX = re.compile(
    r"PIP_(?:INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT|RETRIES|FIND_LINKS|NO_INDEX)|"
    r"UV_(?:INDEX|INDEX_URL|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|NATIVE_TLS|SYSTEM_CERTS|"
    r"INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|LINK_MODE|PYTHON_INSTALL_MIRROR|CONCURRENT_\w+)|"
    r"UV_INDEX_\w+_(?:USERNAME|PASSWORD)|(?:https?|no|all)_proxy",
    re.I,
)
_AUTHORITY_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
_UV_TOML = ".config/uv/uv.toml"
_OF_THIS_MACHINE = re.compile(r"(?:^|\s)(?:/|\./|~|file:)")


def builder_environment(given: Mapping[str, str], authorities: bool, user_files: Container[str] = ()) -> dict[str, str]:
    """What a build sees: of `given` what is no path of this machine, and where things are in the builder.

    `user_files` are those that are put into its home.
    """
    fixed = {
        "HOME": f"{BUILD}/home",
        "TMPDIR": f"{BUILD}/tmp",
        "LANG": "C.UTF-8",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_CACHE_DIR": f"{ROOT}/cache",
        "PIP_CACHE_DIR": f"{ROOT}/cache/pip",
        "UV_PYTHON_INSTALL_DIR": f"{ROOT}/pythons",
        **({"UV_CONFIG_FILE": f"{BUILD}/home/{_UV_TOML}"} if _UV_TOML in user_files else {"UV_NO_CONFIG": "1"}),
    }
    if authorities:
        fixed.update(dict.fromkeys(_AUTHORITY_NAMES, AUTHORITIES))
    unfit = {*_AUTHORITY_NAMES, "SSL_CERT_DIR", "SSL_CLIENT_CERT", "NETRC", "SSH_AUTH_SOCK", "PATH"}
    kept = {n: v for n, v in given.items() if n not in unfit and not _OF_THIS_MACHINE.search(v)}
    return {**kept, **fixed}


@dataclass(frozen=True)
class Bench:
    """What a runner works with: the engine, the builder's service with its image, and the names of this session."""

    engine: Engine
    service: Service
    owner: Owner
    prefix: str
    names: Mapping[str, str]
    spool: Path
    platform: str
    machine: str
    cpus: float
    caller: Mapping[str, str] = field(default_factory=dict)
    authorities: bytes | None = None
    user_files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A container that ended: its exit status, its standard output, and both streams together."""

    code: int
    out: str
    both: str


class ContainerRunner:
    """A `model.Runner`: builds run in containers of the builder's service. Safe to use from several threads."""

    root = ROOT

    def __init__(self, bench: Bench) -> None:
        self.platform = bench.platform
        self._bench = bench
        versions = "-".join(f"{tool}-{metadata.version(tool)}" for tool in _TOOLS)
        self.tools = f"{ROOT}/tools/{versions}-{bench.machine}"
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._keeper: str | None = None
        self._ready = False
        self._installed: list[tuple[str, str]] | None = None
        self._known: dict[str | None, tuple[str, str]] = {}
        self._downloads = True

    # --- the protocol

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], source: Path | None, deadline: float, cancel: Cancel
    ) -> RunResult:
        self.prepare(cancel)
        ended = self._run(argv, env, source, deadline, cancel)
        return RunResult(ended.code, ended.both)

    def uv(self) -> tuple[str, ...]:
        return (f"{self.tools}/bin/uv",)

    def interpreter(self, version: str | None) -> tuple[str, str]:
        self.prepare(None)
        with self._lock:
            if version not in self._known:
                self._known[version] = self._find(version)
            return self._known[version]

    def read(self, path: str) -> bytes | None:
        with self._bench.engine.fresh() as engine:
            return engine.get(self._kept(engine), path)

    def close(self) -> None:
        """Remove what it keeps for reading. Idempotent; raises InfraError when the engine is away."""
        with self._lock:
            if self._keeper is not None:
                with self._bench.engine.fresh() as engine:
                    engine.remove(self._keeper)
                self._keeper = None

    # --- running

    def _run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        source: Path | None,
        deadline: float,
        cancel: Cancel | None,
    ) -> Ended:
        bench = self._bench
        environment = builder_environment(env, bench.authorities is not None, bench.user_files)
        with bench.engine.fresh() as engine:
            container = self._create(engine, argv, environment)
            try:
                self._fill(engine, container, source)
                return followed(engine, container, argv, deadline, cancel)
            finally:
                engine.remove(container)

    def _create(self, engine: Engine, argv: Sequence[str], environment: Mapping[str, str]) -> str:
        bench = self._bench
        return engine.create(
            bench.service,
            name=f"{bench.prefix}-builder-{next(self._numbers)}",
            labels=labels(bench.owner, "builder"),
            names=bench.names,
            command=argv,
            environment=environment,
            folder=f"{BUILD}/tree",
            cpus_at_most=bench.cpus,
        )

    def _fill(self, engine: Engine, container: str, source: Path | None) -> None:
        folders = ("build", "build/tree", "build/home", "build/tmp") if source is None else (
            "build", "build/home", "build/tmp")  # fmt: skip
        files: dict[str, bytes | None] = dict.fromkeys(folders)
        # The volume's own folder belongs to root when the engine makes it; builds run as nobody.
        files[ROOT.lstrip("/")] = None
        if self._bench.authorities is not None:
            files[AUTHORITIES.lstrip("/")] = self._bench.authorities
        for path, content in self._bench.user_files.items():
            files |= {f"build/home/{folder}": None for folder in reversed(Path(path).parents[:-1])}
            files[f"build/home/{path}"] = content
        trees = {"build/tree": source} if source is not None else {}
        with tree_archive(trees, files, self._bench.spool) as archive:
            engine.put(container, "/", archive)

    def _kept(self, engine: Engine) -> str:
        """A container that is never started: its volume can be read by the engine's API all the same."""
        with self._lock:
            if self._keeper is None:
                self._keeper = self._create(engine, ["true"], {})
                engine.put(self._keeper, "/", archive_of({ROOT.lstrip("/"): None}, NOBODY))
            return self._keeper

    # --- tools and interpreters

    def prepare(self, cancel: Cancel | None) -> None:
        """Put uv and py-spy into the volume, once for each of their versions. Raises InfraError."""
        with self._lock:
            ready = self._ready
        if ready or self.read(f"{self.tools}/complete") is not None:
            self._ready = True
            return
        pins = [f"{tool}=={metadata.version(tool)}" for tool in _TOOLS]
        target = shlex.quote(self.tools)
        # Two sessions may do this at once: each into a folder of its own, and the first one to be done wins.
        script = (
            f'mkdir -p {ROOT}/tools && part=$(mktemp -d {target}.XXXXXX) && chmod 755 "$part" && '
            f'python3 -m pip install --no-cache-dir --no-warn-script-location --target "$part" {shlex.join(pins)} && '
            f'touch "$part/complete" && {{ mv -T "$part" {target} 2>/dev/null || rm -rf "$part"; }}'
        )
        ended = self._run(["sh", "-c", script], self._pip_environment(), None, DOWNLOAD_DEADLINE, cancel)
        if ended.code != 0:
            tail = "\n".join(ended.both.strip().splitlines()[-5:])
            raise InfraError(
                f"uv cannot be installed in the builder container ({self._bench.service.image}):\n{tail}",
                "Is the package index in reach? PIP_INDEX_URL, HTTPS_PROXY and the company's CA bundle are passed in.",
            )
        self._ready = True

    def _pip_environment(self) -> dict[str, str]:
        caller = self._bench.caller
        kept = {name: value for name, value in caller.items() if _INDEX.fullmatch(name)}
        default = caller.get("UV_DEFAULT_INDEX") or caller.get("UV_INDEX_URL")
        if default and "PIP_INDEX_URL" not in kept:
            kept["PIP_INDEX_URL"] = default
        return kept

    def _find(self, version: str | None) -> tuple[str, str]:
        if version is None or "/" in version:
            found = self._asked(version or "python3")
        elif _numbers(version) < _UV_BEGINS:
            found = self._asked(f"python{'.'.join(version.split('.')[:2])}", *_APART_OF_OLD)
            found = found if found is not None and f"{found[1]}.".startswith(f"{version}.") else None
        else:
            found = self._fitting(version) or self._fetched(version)
        if found is not None:
            return found
        raise UserError(
            f"There is no Python {version or 'at all'} in the image {self._bench.service.image}, and none to be had.",
            "Choose another with `--python`, or set BISECT_CELERY_WORKER_IMAGE to an image that has it.",
        )

    def _asked(self, path: str, *words: str) -> tuple[str, str] | None:
        ended = self._run([path, *(words or ("-I",)), "-c", _WHO], {}, None, ASK_DEADLINE, None)
        try:
            found, full = json.loads(ended.out) if ended.code == 0 else ("", "")
        except ValueError:
            return None
        return (found, full) if found else None

    def _fitting(self, version: str) -> tuple[str, str] | None:
        for path, full in self._interpreters():
            if full == version or full.startswith(f"{version}."):
                return path, full
        return None

    def _interpreters(self) -> list[tuple[str, str]]:
        """CPythons of image and volume as (path, full version), as uv finds them: newest first."""
        if self._installed is None:
            argv = [*self.uv(), "python", "list", "--only-installed", "--output-format", "json"]
            ended = self._run(argv, {}, None, ASK_DEADLINE, None)
            if ended.code != 0:
                raise InfraError(f"uv does not run in the builder container: {ended.both.strip()[-300:]}")
            listed = [one for one in json.loads(ended.out) if one.get("implementation") == "cpython"]
            self._installed = [(str(one["path"]), str(one["version"])) for one in listed if one.get("path")]
        return self._installed

    def _fetched(self, version: str) -> tuple[str, str] | None:
        """A Python that uv can fetch. Tried once in vain for lack of a network, it is not tried again."""
        if not self._downloads:
            return None
        argv = [*self.uv(), "python", "install", "--no-bin", "--no-progress", version]
        ended = self._run(argv, self._pip_environment(), None, DOWNLOAD_DEADLINE, None)
        if ended.code != 0:
            self._downloads = "No download found" in ended.both
            return None
        self._installed = None
        return self._fitting(version)


def followed(engine: Engine, container: str, argv: Sequence[str], deadline: float, cancel: Cancel | None) -> Ended:
    """Start a created container and follow it to its end. Raises InfraError past the deadline, or without memory."""
    written: list[tuple[bool, bytes]] = []
    watch = Watch(engine, container, lambda is_error, chunk: written.append((is_error, chunk)))
    words = _in_short(argv)
    if not _waited(watch.ended, deadline, cancel):
        raise InfraError(f"`{words}` did not end within {deadline:g} s in the builder container and was stopped.")
    if watch.trouble is not None:
        raise watch.trouble
    if watch.oom_killed:
        raise InfraError(
            f"`{words}` ran out of memory in the builder container.", "BISECT_CELERY_BUILDER_MEMORY=8g gives it more."
        )
    out = b"".join(chunk for is_error, chunk in written if not is_error)
    both = b"".join(chunk for _, chunk in written)
    return Ended(watch.code or 0, out.decode("utf-8", "replace"), both.decode("utf-8", "replace"))


def _waited(event: threading.Event, deadline: float, cancel: Cancel | None) -> bool:
    if cancel is not None:
        return cancel.wait(event.is_set, deadline)
    return event.wait(deadline)


def _numbers(version: str) -> tuple[int, ...]:
    """Of a version or a part of one; "3" alone is any 3, also the newest."""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return parts if len(parts) > 1 else (*parts, 99)


def _in_short(argv: Sequence[str]) -> str:
    """A command for a sentence: programs handed over as an argument are cut short."""
    return " ".join(word if len(word) < 60 and "\n" not in word else "…" for word in argv)
