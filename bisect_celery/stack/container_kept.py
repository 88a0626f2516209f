"""What the container stack keeps at the engine between sessions: the volumes of built environments.

For `clean`, which lists before it deletes. Where no engine answers there is nothing to list, and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Mapping

from bisect_celery.errors import InfraError
from bisect_celery.stack import compose
from bisect_celery.stack.container_engine import Engine

CONNECT_DEADLINE = 5.0


def kept_volumes(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """(name, bytes) of the volumes with a fixed name that the engine has and no container uses."""
    names = {name for name in compose.load(environ).volumes.values() if name}
    try:
        with Engine.connect(CONNECT_DEADLINE) as quick, quick.fresh() as engine:
            return [(name, size) for name, size, users in engine.volumes() if name in names and not users]
    except InfraError:
        return []


def remove_kept_volume(name: str) -> None:
    """Delete one of them. Raises InfraError when the engine refuses, as it does while somebody uses it."""
    with Engine.connect() as engine:
        engine.remove_volume(name)
