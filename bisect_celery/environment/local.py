"""A `model.Runner` that is this machine: builds run beside us, with the interpreters that are installed here."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bisect_celery import proc
from bisect_celery.environment import virtualenv
from bisect_celery.environment.user_files import NETRC, UV, files
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Cancel, RunResult

ASK_DEADLINE = 30.0
DOWNLOAD_DEADLINE = 600.0
_WHO = "import platform, sys; print('%d.%d.%d ' % sys.version_info[:3] + platform.python_implementation())"
# `-I` where it is known, else what it stands for.
_APART = (("-I",), ("-E", "-s"))


class LocalRunner:
    """Builds on this machine. `root` keeps environments, resolutions, uv's cache and interpreters.

    `caller` is the environment whose index settings, uv cache and interpreters count (default: this process's);
    `scratch` is where builds have their copies of a tree (default: below `root`).
    """

    def __init__(self, root: Path, caller: Mapping[str, str] | None = None, scratch: Path | None = None) -> None:
        self._caller = dict(os.environ if caller is None else caller)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = str(root.resolve())
        self._scratch = scratch or Path(self.root) / "scratch"
        libc = "".join(platform.libc_ver()) or "libc"
        self.platform = f"{sys.platform}-{platform.machine()}-{libc}"
        self._known: dict[str | None, tuple[str, str]] = {}

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], source: Path | None, deadline: float, cancel: Cancel
    ) -> RunResult:
        scratch = Path(tempfile.mkdtemp(prefix="run-", dir=_made(self._scratch)))
        try:
            work = scratch / "tree"
            if source is None:
                work.mkdir()
            else:
                shutil.copytree(source, work, symlinks=True)
            (scratch / "home").mkdir()
            environment = self._environment(env, scratch)
            finished = proc.run(argv, deadline=deadline, cwd=work, env=environment, check=False, cancel=cancel)
        except OSError as error:
            raise InfraError(f"Nothing can be built in {self.root}: {error.strerror}.", "Is its disk full?") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return RunResult(finished.code, finished.text() + finished.error_text())

    def _environment(self, env: Mapping[str, str], scratch: Path) -> dict[str, str]:
        """The allow-list, the build's own, a home of its own, and the user's files that say where packages are."""
        cache = self._caller.get("UV_CACHE_DIR") or self._caller.get("BISECT_CELERY_TEST_UV_CACHE")
        temporary = _made(scratch / "tmp")
        built = {**proc.clean_environment(env), "HOME": str(scratch / "home"), "TMPDIR": str(temporary)}
        built["UV_CACHE_DIR"] = cache or f"{self.root}/cache"
        built["UV_PYTHON_INSTALL_DIR"] = f"{self.root}/pythons"
        found = {name: str(path) for name, path in files(self._caller).items()}
        for name, path in (("NETRC", found.get(NETRC)), ("GIT_CONFIG_GLOBAL", self._gitconfig())):
            if name not in built and path is not None:
                built[name] = path
        if "UV_CONFIG_FILE" in self._caller:
            built["UV_CONFIG_FILE"] = self._caller["UV_CONFIG_FILE"]
        elif UV in found:
            built["XDG_CONFIG_HOME"] = str(Path(found[UV]).parents[1])
        return built

    def _gitconfig(self) -> str | None:
        path = Path(self._caller.get("HOME", "/nonexistent"), ".gitconfig")
        return str(path) if path.is_file() else None

    def uv(self) -> tuple[str, ...]:
        return (_uv(),)

    def interpreter(self, version: str | None) -> tuple[str, str]:
        if version not in self._known:
            self._known[version] = self._find(version)
        return self._known[version]

    def _find(self, version: str | None) -> tuple[str, str]:
        if version is not None and re.fullmatch(r"\d+(\.\d+){0,2}", version) is None:
            return self._by_path(version)
        if version is not None and not virtualenv.can(version):
            raise UserError(
                f"Environments for Python {version} cannot be built: virtualenv makes 2.7 and 3.5, uv 3.6 and later.",
                "Choose another: --python 2.7.",
            )
        found = self.installed(version)
        if found is None and version is not None and not virtualenv.is_needed(version):
            found = self._from_uv(version)
        if found is not None:
            return found
        raise UserError(
            f"There is no Python {version or 'to build with'} on this machine.",
            "Install it (for example `uv python install`), or choose another with `--python`.",
        )

    def installed(self, version: str | None) -> tuple[str, str] | None:
        """(path, full version) of a Python of `version` that is here already, None otherwise. Fetches nothing."""
        for path in [self._own()] if version is None else self._candidates(version):
            known = self._ask(path)
            if known is not None and (version is None or _fits(version, known[1])):
                return known
        return None

    def _by_path(self, path: str) -> tuple[str, str]:
        known = self._ask(Path(path).expanduser()) if os.sep in path else None
        if known is None:
            raise UserError(f"`{path}` is no Python version and no interpreter.", "Say `--python 3.11`, or a path.")
        return known

    @staticmethod
    def _own() -> Path:
        """The interpreter below our own virtual environment: the one Python that is certainly here."""
        return Path(getattr(sys, "_base_executable", None) or sys.executable)

    def _candidates(self, version: str) -> Iterator[Path]:
        """Interpreters that may be `version`: ours, those on the path, those of version managers."""
        yield self._own()
        minor = ".".join(version.split(".")[:2])
        path = self._caller.get("PATH", os.defpath)
        for folder in path.split(os.pathsep):
            if folder and not folder.rstrip("/").endswith("/shims"):
                yield Path(folder) / f"python{minor}"
        home = Path(self._caller.get("HOME", "/nonexistent"))
        managers = [home / ".pyenv/versions", home / ".asdf/installs/python"]
        managers += [home / ".local/share/mise/installs/python"]
        managers += [Path(root) / "versions" for root in self._pyenv_roots(path)]
        managers += [Path(self.root) / "pythons", home / ".local/share/uv/python", Path("/opt/python")]
        for manager in dict.fromkeys(managers):
            yield from sorted(manager.glob(f"*{minor}*/bin/python{minor}"), key=_newest_first)

    def _pyenv_roots(self, path: str) -> Iterator[str]:
        if self._caller.get("PYENV_ROOT"):
            yield self._caller["PYENV_ROOT"]
        yield from (folder.removesuffix("/shims") for folder in path.split(os.pathsep) if folder.endswith("/shims"))

    def _ask(self, path: Path) -> tuple[str, str] | None:
        """(path, full version) of a CPython that really starts, None otherwise: a shim or a broken link does not."""
        if not path.is_file():
            return None
        try:
            for words in _APART:
                finished = proc.run([str(path), *words, "-c", _WHO], deadline=ASK_DEADLINE, check=False, cwd="/")
                version, _, implementation = finished.text().strip().partition(" ")
                if finished.code == 0:
                    return (str(path), version) if implementation == "CPython" else None
        except InfraError:
            pass
        return None

    def _from_uv(self, version: str) -> tuple[str, str] | None:
        """What uv knows of or can fetch. A home of its own, so that it writes nowhere but below our root."""
        scratch = _made(self._scratch)
        env = self._environment({**_proxies(self._caller), "PATH": self._caller.get("PATH", os.defpath)}, scratch)
        for words in (("python", "find", "--no-python-downloads"), ("python", "install", "--no-bin")):
            argv = [*self.uv(), *words, "--quiet", version]
            try:
                finished = proc.run(argv, deadline=DOWNLOAD_DEADLINE, env=env, cwd=self.root, check=False)
            except InfraError:
                return None
            paths = [Path(finished.text().strip())] if words[1] == "find" else list(self._candidates(version))
            for path in paths if finished.code == 0 else []:
                known = self._ask(path)
                if known is not None and _fits(version, known[1]):
                    return known
        return None

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except OSError:
            return None


def _fits(wanted: str, version: str) -> bool:
    return version == wanted or version.startswith(f"{wanted}.")


def _newest_first(path: Path) -> tuple[int, ...]:
    return tuple(-int(part) for part in re.findall(r"\d+", path.parent.parent.name)[:3])


def _proxies(caller: Mapping[str, str]) -> dict[str, str]:
    wanted = re.compile(r"(?:https?|no|all)_proxy|SSL_CERT_\w+|UV_PYTHON_INSTALL_MIRROR", re.I)
    return {name: value for name, value in caller.items() if wanted.fullmatch(name)}


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@functools.cache
def _uv() -> str:
    """The uv of our own virtual environment, else the one on the path. Raises InfraError when there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise InfraError("uv is not installed beside bisect-celery.", "Install it: `pip install uv`.")
    return found
