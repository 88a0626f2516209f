"""Which container engine is meant: the one that the `docker` client would take, found as it finds it.

DOCKER_HOST is louder than DOCKER_CONTEXT, that than the `currentContext` of its config.json, that than the socket of
this machine (docker/cli: `resolveContextName` in cli/command, the layout of contexts in cli/context/store). Only files
and variables are read here; nobody is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bisect_celery.errors import InfraError

SOCKET = "unix:///var/run/docker.sock"
_LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
_HINT = "`docker context ls` shows what there is; DOCKER_CONTEXT=default takes this machine's own engine."


@dataclass(frozen=True)
class Tls:
    """Files by which an engine is trusted (`ca`; None: the system's authorities) and trusts us; `verify` its name."""

    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True)
class Endpoint:
    """An engine's address (unix://, tcp:// or ssh://), and who named it: "DOCKER_HOST", "the context build", ""."""

    url: str
    said: str = ""
    tls: Tls | None = None

    @property
    def machine(self) -> str:
        """The machine that it is on, "" for this one. What a loopback address leads to is taken for this one."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "ssh":
            return host or "another machine"
        return "" if parts.scheme in ("unix", "npipe") or host in _LOOPBACK else host

    @property
    def shares_ports(self) -> bool:
        """Whether ports that it publishes on the loopback are surely this machine's: a TCP port may be a tunnel."""
        return urlsplit(self.url).scheme in ("unix", "npipe")

    @property
    def words(self) -> str:
        """Where it is and who said so, e.g. "on build.example (the context build)"; "" for this machine's own."""
        where = f"on {self.machine}" if self.machine else f"at {self.url}" if self.said else ""
        return f"{where} ({self.said})" if self.said else where


OWN = Endpoint(SOCKET)


def find(environ: Mapping[str, str], home: Path | None = None) -> Endpoint:
    """The engine that the caller's environment means. Raises InfraError for a context that is not there or broken.

    `home` is the user's home (default: HOME's). Sockets of a machine speak no TLS, whatever is told of it.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or (home or Path(environ.get("HOME") or Path.home())) / ".docker")
    if host := environ.get("DOCKER_HOST"):
        url = _checked(host, "DOCKER_HOST")
        return Endpoint(url, "DOCKER_HOST", _told_tls(environ, folder) if _speaks_http(url) else None)
    name, said = environ.get("DOCKER_CONTEXT") or "", "DOCKER_CONTEXT"
    if not name:
        name, said = _current(folder), f"{folder / 'config.json'}"
    if name in ("", "default"):
        return OWN
    return _of_context(folder, name, said)


def _current(folder: Path) -> str:
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InfraError(f"{path}, which says what container engine is meant, cannot be read.", _HINT) from error
    name = content.get("currentContext") if isinstance(content, dict) else None
    return name if isinstance(name, str) else ""


def _of_context(folder: Path, name: str, said: str) -> Endpoint:
    identity = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / identity / "meta.json"
    try:
        endpoint = json.loads(path.read_text())["Endpoints"]["docker"]
        url, skip = str(endpoint.get("Host") or SOCKET), bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise InfraError(f"{said} names the Docker context {name}, and there is none.", _HINT) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InfraError(f"The Docker context {name} cannot be read: {path} is not understood.", _HINT) from error
    files = folder / "contexts" / "tls" / identity / "docker"
    who = f"the context {name}"
    url = _checked(url, who)
    return Endpoint(url, who, _tls(files, verify=not skip, who=who) if files.is_dir() and _speaks_http(url) else None)


def _speaks_http(url: str) -> bool:
    return urlsplit(url).scheme in ("tcp", "http", "https")


def _told_tls(environ: Mapping[str, str], folder: Path) -> Tls | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS") and not environ.get("DOCKER_CERT_PATH"):
        return None
    return _tls(Path(environ.get("DOCKER_CERT_PATH") or folder), verify=verify, who="DOCKER_HOST")


def _tls(folder: Path, *, verify: bool, who: str) -> Tls:
    ca, cert, key = (path if path.is_file() else None for path in (folder / f"{n}.pem" for n in ("ca", "cert", "key")))
    if (cert is None) != (key is None):
        missing = "cert.pem" if cert is None else "key.pem"
        raise InfraError(f"The container engine of {who} wants TLS, and {folder / missing} is not there.", _HINT)
    return Tls(ca, cert, key, verify)


_SCHEMES = ("unix", "tcp", "http", "https", "ssh", "npipe")


def _checked(url: str, who: str) -> str:
    """The address as it is written, with what Docker adds: `HOST:PORT` alone is TCP."""
    full = url if "://" in url else f"tcp://{url}"
    parts = urlsplit(full)
    bad = parts.scheme not in _SCHEMES or (parts.scheme not in ("unix", "npipe") and not parts.hostname)
    if bad or (parts.scheme == "unix" and not parts.path):
        raise InfraError(
            f"{who} is {url}, which is no address of a container engine.",
            "It is like unix:///var/run/docker.sock, tcp://build.example:2376 or ssh://me@build.example.",
        )
    return full
