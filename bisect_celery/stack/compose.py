"""Our own `docker-compose.yml`, read without a compose CLI: a documented subset of the Compose file format.

Understood, and nothing else (`UserError` names the first key that is not):

- top level: `services`, `networks`, `volumes`, and `x-...` (ignored; anchors and merge keys work)
- a service: the fields of `Service`
- a network: `driver`, `driver_opts`, `internal`; a volume: `name`
- values: `$$`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, defaults nested

The names of keys and their meaning follow the Compose specification (https://github.com/compose-spec/compose-spec,
05-services.md, 12-interpolation.md); a project's own file is another matter, and resolved by `docker compose config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bisect_celery.errors import UserError

FILE = Path(__file__).resolve().parent / "docker-compose.yml"


@dataclass(frozen=True)
class Port:
    """A port of a container, published at `address` under a number that the engine chooses."""

    address: str
    container: int


@dataclass(frozen=True)
class Mount:
    """A named volume of the file (`volume` is its key there) at `target`; a `bare` one begins empty, whatever the image
    has there."""

    volume: str
    target: str
    read_only: bool = False
    bare: bool = False


@dataclass(frozen=True)
class Health:
    """How the engine looks whether a service is well. Times in seconds."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


@dataclass(frozen=True)
class Service:
    """One service: each field is a key of the file. `mem_limit` in bytes; 0 and "" mean: not given.

    `ulimits` are (name, soft, hard), `logging` is (driver, options), `pid` is the service whose process
    namespace is shared, `network_mode` is `bridge`, `none`, or `service:NAME` for that service's network.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    user: str = ""
    hostname: str = ""
    init: bool = False
    read_only: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    networks: tuple[str, ...] = ()
    network_mode: str = ""
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Mount, ...] = ()
    mem_limit: int = 0
    cpus: float = 0.0
    pids_limit: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pid: str = ""
    logging: tuple[str, tuple[tuple[str, str], ...]] = ("", ())
    healthcheck: Health | None = None

    @property
    def network_of(self) -> str:
        """The service whose network it shares, "" for none."""
        kind, _, name = self.network_mode.partition(":")
        return name if kind == "service" else ""


@dataclass(frozen=True)
class Network:
    """A network of the session."""

    name: str
    driver: str = "bridge"
    internal: bool = False
    driver_opts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Composition:
    """The whole file. `volumes` maps each key to the fixed name it was given; "" where the harness names it."""

    services: Mapping[str, Service] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)


def load(environment: Mapping[str, str], path: Path = FILE) -> Composition:
    """Read the file, with `environment` for its variables. Raises UserError for what is not understood."""
    try:
        return parse(path.read_text(encoding="utf-8"), environment)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def parse(text: str, environment: Mapping[str, str]) -> Composition:
    """The file's text as a Composition. Raises UserError for what is not understood."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _refusal("the file", f"is not YAML ({_first_line(error)})") from error
    top = _mapping("the file", _interpolated(document, environment))
    top = {key: value for key, value in top.items() if not key.startswith("x-")}
    _only("the file", top, ("services", "networks", "volumes"))
    composition = Composition(
        {name: _service(name, body) for name, body in _section(top, "services").items()},
        {name: _network(name, body) for name, body in _section(top, "networks").items()},
        {name: _volume(name, body) for name, body in _section(top, "volumes").items()},
    )
    _check_references(composition)
    return composition


# --- variables ---------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_]\w*)(?P<default>:?-)?|(?P<bad>))")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`${NAME}`, `${NAME:-default}`, `${NAME-default}` and `$$`, as Compose defines them; defaults may nest."""
    value, end = _until(text, 0, environment, nested=False)
    assert end == len(text)
    return value


def _until(text: str, at: int, environment: Mapping[str, str], nested: bool) -> tuple[str, int]:
    """The value of `text` from `at` on, up to its end or, `nested`, the brace that closes; and where that is."""
    parts: list[str] = []
    while at < len(text):
        if nested and text[at] == "}":
            return "".join(parts), at
        found = _VARIABLE.match(text, at)
        if found is None:
            parts.append(text[at])
            at += 1
        elif found["escaped"]:
            parts.append("$")
            at = found.end()
        elif found["name"]:
            value, at = _variable(text, found, environment)
            parts.append(value)
        else:
            raise _refusal(f"the value {text!r}", "has a `$` that is neither `$$` nor `${NAME}`")
    if nested:
        raise _refusal(f"the value {text!r}", "has a `${` without its `}`")
    return "".join(parts), at


def _variable(text: str, found: re.Match[str], environment: Mapping[str, str]) -> tuple[str, int]:
    default, end = "", found.end()
    if found["default"]:
        default, end = _until(text, end, environment, nested=True)
    if text[end : end + 1] != "}":
        raise _refusal(f"the value {text!r}", "uses a form of variable other than `${NAME}` and `${NAME:-default}`")
    value = environment.get(found["name"])
    missing = not value if found["default"] == ":-" else value is None
    return (default if missing else value or ""), end + 1


def _interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, environment)
    if isinstance(value, list):
        return [_interpolated(item, environment) for item in value]
    if isinstance(value, dict):
        return {key: _interpolated(item, environment) for key, item in value.items()}
    return value


# --- sections ----------------------------------------------------------------------------------------


def _service(name: str, body: Any) -> Service:
    where = f"services.{name}"
    given = _mapping(where, body)
    _only(where, given, tuple(_SERVICE_KEYS))
    if "image" not in given:
        raise _refusal(where, "names no image")
    return Service(name, **{key: _SERVICE_KEYS[key](f"{where}.{key}", value) for key, value in given.items()})


def _network(name: str, body: Any) -> Network:
    where = f"networks.{name}"
    given = _mapping(where, body)
    _only(where, given, ("driver", "internal", "driver_opts"))
    return Network(
        name,
        _text(where, given.get("driver", "bridge")),
        _flag(where, given.get("internal", False)),
        _pairs(where, given.get("driver_opts", {})),
    )


def _volume(name: str, body: Any) -> str:
    given = _mapping(f"volumes.{name}", body)
    _only(f"volumes.{name}", given, ("name",))
    return _text(f"volumes.{name}", given.get("name", ""))


def _check_references(composition: Composition) -> None:
    for service in composition.services.values():
        where = f"services.{service.name}"
        for network in set(service.networks) - set(composition.networks):
            raise _refusal(where, f"is on the network {network}, which `networks` does not describe")
        for mount in service.volumes:
            if mount.volume not in composition.volumes:
                raise _refusal(where, f"mounts the volume {mount.volume}, which `volumes` does not describe")
        for shared in (service.pid, service.network_of):
            if shared and shared not in composition.services:
                raise _refusal(where, f"shares something of {shared}, which is no service of the file")


def _section(top: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(name, top.get(name))


# --- values ------------------------------------------------------------------------------------------


def _text(where: str, value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise _refusal(where, "is not a text")


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _refusal(where, "is not a list")
    return tuple(_text(where, item) for item in value)


def _flag(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _refusal(where, "is neither true nor false")


def _integer(where: str, value: Any) -> int:
    try:
        return int(_text(where, value))
    except ValueError:
        raise _refusal(where, f"is {value!r}, not a whole number") from None


def _number(where: str, value: Any) -> float:
    try:
        return float(_text(where, value))
    except ValueError:
        raise _refusal(where, f"is {value!r}, not a number") from None


_SIZES = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}


def _bytes(where: str, value: Any) -> int:
    found = re.fullmatch(r"(\d+)([a-z]{0,2})", _text(where, value).lower())
    if found is None or found[2] not in _SIZES:
        raise _refusal(where, f"is {value!r}, not a size like 512m or 2g")
    return int(found[1]) * _SIZES[found[2]]


def _seconds(where: str, value: Any) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", _text(where, value))
    if found is None:
        raise _refusal(where, f"is {value!r}, not a time like 500ms, 30s or 2m")
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2]]


def _pairs(where: str, value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, _text(f"{where}.{key}", item)) for key, item in _mapping(where, value).items())


def _ports(where: str, value: Any) -> tuple[Port, ...]:
    ports = []
    for text in _texts(where, value):
        found = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+)::(\d+)", text)
        if found is None:
            raise _refusal(where, f"has {text!r}; only `ADDRESS::PORT` is read, where the engine chooses the number")
        ports.append(Port(found[1], int(found[2])))
    return tuple(ports)


def _mounts(where: str, value: Any) -> tuple[Mount, ...]:
    mounts = []
    for text in _texts(where, value):
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*):(/[^:]*)(:ro|:rw)?", text)
        if found is None:
            raise _refusal(where, f"has {text!r}; only named volumes are mounted, as `NAME:/PATH` or `NAME:/PATH:ro`")
        mounts.append(Mount(found[1], found[2], found[3] == ":ro"))
    return tuple(mounts)


def _ulimits(where: str, value: Any) -> tuple[tuple[str, int, int], ...]:
    limits = []
    for name, bounds in _mapping(where, value).items():
        given = bounds if isinstance(bounds, dict) else {"soft": bounds, "hard": bounds}
        _only(f"{where}.{name}", given, ("soft", "hard"))
        limits.append((name, _integer(where, given.get("soft")), _integer(where, given.get("hard"))))
    return tuple(limits)


def _logging(where: str, value: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    given = _mapping(where, value)
    _only(where, given, ("driver", "options"))
    return _text(where, given.get("driver", "")), _pairs(where, given.get("options", {}))


def _health(where: str, value: Any) -> Health:
    given = _mapping(where, value)
    _only(where, given, ("test", "interval", "timeout", "start_period", "retries"))
    times = {
        key: _seconds(f"{where}.{key}", given[key]) for key in ("interval", "timeout", "start_period") if key in given
    }
    return Health(_texts(f"{where}.test", given.get("test")), retries=_integer(where, given.get("retries", 3)), **times)


def _pid(where: str, value: Any) -> str:
    text = _text(where, value)
    if not text.startswith("service:"):
        raise _refusal(where, f"is {text!r}; only `service:NAME` is read")
    return text.removeprefix("service:")


def _network_mode(where: str, value: Any) -> str:
    text = _text(where, value)
    if text not in ("bridge", "none") and not text.startswith("service:"):
        raise _refusal(where, f"is {text!r}; only `bridge`, `none` and `service:NAME` are read")
    return text


_SERVICE_KEYS: Mapping[str, Callable[[str, Any], Any]] = {
    "image": _text,
    "command": _texts,
    "user": _text,
    "hostname": _text,
    "init": _flag,
    "read_only": _flag,
    "environment": _pairs,
    "networks": _texts,
    "network_mode": _network_mode,
    "dns": _texts,
    "dns_opt": _texts,
    "ports": _ports,
    "volumes": _mounts,
    "mem_limit": _bytes,
    "cpus": _number,
    "pids_limit": _integer,
    "ulimits": _ulimits,
    "cap_drop": _texts,
    "cap_add": _texts,
    "security_opt": _texts,
    "pid": _pid,
    "logging": _logging,
    "healthcheck": _health,
}


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    raise _refusal(where, "is not a mapping")


def _only(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise _refusal(f"{where}.{key}", f"is not understood; read are {', '.join(known)}")


def _refusal(where: str, why: str) -> UserError:
    return UserError(
        f"docker-compose.yml: {where} {why}.",
        "Only the subset of Compose that bisect_celery/stack/compose.py lists is read.",
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
