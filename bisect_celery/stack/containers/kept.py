"""What the container stack keeps at the engine between sessions: volumes of built environments, images that were built.

For `clean`, which lists before it deletes. Where no engine answers there is nothing to list, and nothing is raised.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from bisect_celery.errors import InfraError
from bisect_celery.stack.compose import ours
from bisect_celery.stack.containers import images
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.endpoint import find

CONNECT_DEADLINE = 5.0


def kept_volumes(environ: Mapping[str, str], *, remote: bool = False) -> list[tuple[str, int]]:
    """(name, bytes) of the volumes with a fixed name that the engine has and no container uses.

    An engine on another machine is asked only with `remote`.
    """
    names = {name for name in ours.load(environ).volumes.values() if name}
    try:
        endpoint = find(environ)
        if endpoint.machine and not remote:
            return []
        with Engine.connect(CONNECT_DEADLINE, endpoint=endpoint) as quick, quick.fresh() as engine:
            return [(name, size) for name, size, users in engine.volumes() if name in names and not users]
    except InfraError:
        return []


def remove_kept_volume(name: str) -> None:
    """Delete one of them. Raises InfraError when the engine refuses, as it does while somebody uses it."""
    with Engine.connect() as engine:
        engine.remove_volume(name)


def kept_images(*, remote: bool = False) -> list[tuple[str, int]]:
    """(name, bytes) of the images that sessions built from projects' Dockerfiles; layers they share count in each."""
    try:
        endpoint = find(os.environ)
        if endpoint.machine and not remote:
            return []
        with Engine.connect(CONNECT_DEADLINE, endpoint=endpoint) as quick, quick.fresh() as engine:
            return images.kept_images(engine)
    except InfraError:
        return []


def remove_kept_image(name: str) -> None:
    """Delete one of them. Raises InfraError while a container uses it."""
    with Engine.connect() as engine:
        images.remove_image(engine, name)
