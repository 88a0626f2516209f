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

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bisect_celery.errors import UserError
from bisect_celery.stack.compose.described import Composition, Network, Service
from bisect_celery.stack.compose.refused import refusal
from bisect_celery.stack.compose.values import SERVICE_KEYS, as_flag, as_mapping, as_pairs, as_text, only
from bisect_celery.stack.compose.variables import interpolated

FILE = Path(__file__).resolve().parent / "docker-compose.yml"


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
        raise refusal("the file", f"is not YAML ({_first_line(error)})") from error
    top = as_mapping("the file", interpolated(document, environment))
    top = {key: value for key, value in top.items() if not key.startswith("x-")}
    only("the file", top, ("services", "networks", "volumes"))
    composition = Composition(
        {name: _service(name, body) for name, body in _section(top, "services").items()},
        {name: _network(name, body) for name, body in _section(top, "networks").items()},
        {name: _volume(name, body) for name, body in _section(top, "volumes").items()},
    )
    _check_references(composition)
    return composition


def _service(name: str, body: Any) -> Service:
    where = f"services.{name}"
    given = as_mapping(where, body)
    only(where, given, tuple(SERVICE_KEYS))
    if "image" not in given:
        raise refusal(where, "names no image")
    return Service(name, **{key: SERVICE_KEYS[key](f"{where}.{key}", value) for key, value in given.items()})


def _network(name: str, body: Any) -> Network:
    where = f"networks.{name}"
    given = as_mapping(where, body)
    only(where, given, ("driver", "internal", "driver_opts"))
    return Network(
        name,
        as_text(where, given.get("driver", "bridge")),
        as_flag(where, given.get("internal", False)),
        as_pairs(where, given.get("driver_opts", {})),
    )


def _volume(name: str, body: Any) -> str:
    given = as_mapping(f"volumes.{name}", body)
    only(f"volumes.{name}", given, ("name",))
    return as_text(f"volumes.{name}", given.get("name", ""))


def _check_references(composition: Composition) -> None:
    for service in composition.services.values():
        where = f"services.{service.name}"
        for network in set(service.networks) - set(composition.networks):
            raise refusal(where, f"is on the network {network}, which `networks` does not describe")
        for mount in service.volumes:
            if mount.volume not in composition.volumes:
                raise refusal(where, f"mounts the volume {mount.volume}, which `volumes` does not describe")
        for shared in (service.pid, service.network_of):
            if shared and shared not in composition.services:
                raise refusal(where, f"shares something of {shared}, which is no service of the file")


def _section(top: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return as_mapping(name, top.get(name))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
