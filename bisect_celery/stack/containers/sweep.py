"""Taking away what sessions left at the container engine: provably ours, of this machine, and dead.

For the guardian and for the sweep at a start. Order matters: containers hold networks and volumes. Where no engine
answers there is nothing to do, and nothing is raised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Owner
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.endpoint import find

CONNECT_DEADLINE = 5.0
_KINDS = ("container", "network", "volume")
_ROUNDS = 20
_PAUSE = 0.2


def sweep(
    owner_is_dead: Callable[[Owner], bool],
    *,
    remote: bool = False,
    known: Callable[[Owner], bool] = lambda owner: False,
) -> list[str]:
    """Remove what belongs to dead sessions of this machine; what was removed, as "container NAME" and so on.

    Owners of other machines that share the engine are left alone, whatever `owner_is_dead` says. An engine on another
    machine is asked only with `remote`. Many machines may share it, and some were copied with their machine id: there a
    session of before this machine's last start is ours only when it is `known`, by what it left in our own folders.
    """
    try:
        endpoint = find(os.environ)
    except InfraError:
        return []
    if endpoint.machine and not remote:
        return []
    ours = _ours(owner_is_dead)
    if not endpoint.shares_ports:
        return _remove(lambda owner: ours(owner) and (owner.boot == proc.boot_id() or known(owner)), settle=0.0)
    return _remove(ours, settle=0.0)


def remove_session(owner: Owner, settle: float = 1.0) -> list[str]:
    """Remove all that is labelled with this very owner; what was removed.

    What the engine was asked for in the owner's last moment may come into being after we looked: it is done when
    nothing was found for `settle` seconds.
    """
    return _remove(lambda found: found == owner, settle)


def _ours(owner_is_dead: Callable[[Owner], bool]) -> Callable[[Owner], bool]:
    return lambda owner: proc.same_machine(owner) and owner_is_dead(owner)


def _remove(wanted: Callable[[Owner], bool], settle: float) -> list[str]:
    removed: dict[str, None] = {}
    try:
        with Engine.connect(CONNECT_DEADLINE) as quick, quick.fresh() as engine:
            quiet_since = time.monotonic()
            for _ in range(_ROUNDS + int(settle / _PAUSE)):
                chosen = _chosen(engine, wanted)
                if chosen:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since >= settle:
                    break
                gone = [f"{kind} {name}" for kind, name in chosen if _removed(engine, kind, name)]
                removed.update(dict.fromkeys(gone))
                if settle or len(gone) < len(chosen):
                    time.sleep(_PAUSE)
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
