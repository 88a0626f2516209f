"""Values of a compose file, read strictly: what a key may hold, or a UserError that names it.

`where` is always the path of the key, for the refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bisect_celery.stack.compose.described import Health, Mount, Port
from bisect_celery.stack.compose.refused import refusal


def as_mapping(where: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    raise refusal(where, "is not a mapping")


def only(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise refusal(f"{where}.{key}", f"is not understood; read are {', '.join(known)}")


def as_text(where: str, value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise refusal(where, "is not a text")


def as_texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise refusal(where, "is not a list")
    return tuple(as_text(where, item) for item in value)


def as_flag(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise refusal(where, "is neither true nor false")


def as_integer(where: str, value: Any) -> int:
    try:
        return int(as_text(where, value))
    except ValueError:
        raise refusal(where, f"is {value!r}, not a whole number") from None


def as_number(where: str, value: Any) -> float:
    try:
        return float(as_text(where, value))
    except ValueError:
        raise refusal(where, f"is {value!r}, not a number") from None


_SIZES = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}


def as_bytes(where: str, value: Any) -> int:
    found = re.fullmatch(r"(\d+)([a-z]{0,2})", as_text(where, value).lower())
    if found is None or found[2] not in _SIZES:
        raise refusal(where, f"is {value!r}, not a size like 512m or 2g")
    return int(found[1]) * _SIZES[found[2]]


def as_seconds(where: str, value: Any) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", as_text(where, value))
    if found is None:
        raise refusal(where, f"is {value!r}, not a time like 500ms, 30s or 2m")
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2]]


def as_pairs(where: str, value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, as_text(f"{where}.{key}", item)) for key, item in as_mapping(where, value).items())


def as_ports(where: str, value: Any) -> tuple[Port, ...]:
    ports = []
    for text in as_texts(where, value):
        found = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+)::(\d+)", text)
        if found is None:
            raise refusal(where, f"has {text!r}; only `ADDRESS::PORT` is read, where the engine chooses the number")
        ports.append(Port(found[1], int(found[2])))
    return tuple(ports)


def as_mounts(where: str, value: Any) -> tuple[Mount, ...]:
    mounts = []
    for text in as_texts(where, value):
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*):(/[^:]*)(:ro|:rw)?", text)
        if found is None:
            raise refusal(where, f"has {text!r}; only named volumes are mounted, as `NAME:/PATH` or `NAME:/PATH:ro`")
        mounts.append(Mount(found[1], found[2], found[3] == ":ro"))
    return tuple(mounts)


def as_ulimits(where: str, value: Any) -> tuple[tuple[str, int, int], ...]:
    limits = []
    for name, bounds in as_mapping(where, value).items():
        given = bounds if isinstance(bounds, dict) else {"soft": bounds, "hard": bounds}
        only(f"{where}.{name}", given, ("soft", "hard"))
        limits.append((name, as_integer(where, given.get("soft")), as_integer(where, given.get("hard"))))
    return tuple(limits)


def as_logging(where: str, value: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    given = as_mapping(where, value)
    only(where, given, ("driver", "options"))
    return as_text(where, given.get("driver", "")), as_pairs(where, given.get("options", {}))


def as_health(where: str, value: Any) -> Health:
    given = as_mapping(where, value)
    only(where, given, ("test", "interval", "timeout", "start_period", "retries"))
    times = {
        key: as_seconds(f"{where}.{key}", given[key]) for key in ("interval", "timeout", "start_period") if key in given
    }
    return Health(
        as_texts(f"{where}.test", given.get("test")), retries=as_integer(where, given.get("retries", 3)), **times
    )


def as_pid(where: str, value: Any) -> str:
    text = as_text(where, value)
    if not text.startswith("service:"):
        raise refusal(where, f"is {text!r}; only `service:NAME` is read")
    return text.removeprefix("service:")


def as_network_mode(where: str, value: Any) -> str:
    text = as_text(where, value)
    if text not in ("bridge", "none") and not text.startswith("service:"):
        raise refusal(where, f"is {text!r}; only `bridge`, `none` and `service:NAME` are read")
    return text


SERVICE_KEYS: Mapping[str, Callable[[str, Any], Any]] = {
    "image": as_text,
    "command": as_texts,
    "user": as_text,
    "hostname": as_text,
    "init": as_flag,
    "read_only": as_flag,
    "environment": as_pairs,
    "networks": as_texts,
    "network_mode": as_network_mode,
    "dns": as_texts,
    "dns_opt": as_texts,
    "ports": as_ports,
    "volumes": as_mounts,
    "mem_limit": as_bytes,
    "cpus": as_number,
    "pids_limit": as_integer,
    "ulimits": as_ulimits,
    "cap_drop": as_texts,
    "cap_add": as_texts,
    "security_opt": as_texts,
    "pid": as_pid,
    "logging": as_logging,
    "healthcheck": as_health,
}
