"""Taking away what sessions left at the container engine: provably ours, of this machine, and dead.

For the guardian and for the sweep at a start. Order matters: containers hold networks and volumes.
"""

from __future__ import annotations

from collections.abc import Callable

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Owner
from bisect_celery.stack.container_engine import Engine

CONNECT_DEADLINE = 5.0
_KINDS = ("container", "network", "volume")
# What a dead session had asked the engine for may come into being after we looked: look again.
_ROUNDS = 5


def sweep(owner_is_dead: Callable[[Owner], bool]) -> list[str]:
    """Remove what belongs to dead sessions of this machine; what was removed, as "container NAME" and so on.

    Nothing where no engine answers. Owners of other machines that share the engine are left alone.
    """
    machine = proc.machine_id()
    return _remove(lambda owner: owner.machine == machine and owner_is_dead(owner))


def remove_session(owner: Owner) -> list[str]:
    """Remove all that is labelled with this very owner; what was removed. Nothing where no engine answers."""
    return _remove(lambda found: found == owner)


def left_by(owner_is_dead: Callable[[Owner], bool]) -> list[str]:
    """What `sweep` would remove, for a list before deleting."""
    machine = proc.machine_id()
    try:
        with Engine.connect(CONNECT_DEADLINE) as engine:
            return [
                f"{kind} {name}"
                for kind, name in _chosen(engine, lambda owner: owner.machine == machine and owner_is_dead(owner))
            ]
    except InfraError:
        return []


def _remove(wanted: Callable[[Owner], bool]) -> list[str]:
    removed: dict[str, None] = {}
    try:
        with Engine.connect(CONNECT_DEADLINE) as quick, quick.fresh() as engine:
            for _ in range(_ROUNDS):
                chosen = _chosen(engine, wanted)
                if not chosen:
                    break
                for kind, name in chosen:
                    if _removed(engine, kind, name):
                        removed[f"{kind} {name}"] = None
    except InfraError:
        pass
    return list(removed)


def _removed(engine: Engine, kind: str, name: str) -> bool:
    try:
        engine.remove_owned(kind, name)
    except InfraError:  # somebody else is at it, or a network still has an end: the next round tells
        return False
    return True


def _chosen(engine: Engine, wanted: Callable[[Owner], bool]) -> list[tuple[str, str]]:
    owned = engine.owned()
    return [
        (kind, name)
        for kind in _KINDS
        for name, label in owned[kind]
        if (owner := Owner.parse(label)) is not None and wanted(owner)
    ]
