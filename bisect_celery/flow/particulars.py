"""What a report says beside the verdict: with which versions it was found, and which tasks the range changed."""

from __future__ import annotations

from importlib import metadata

from bisect_celery import proc
from bisect_celery.flow.events import Note
from bisect_celery.flow.session import Room
from bisect_celery.model import Judged, Revision


def versions() -> tuple[tuple[str, str], ...]:
    """Ours: the tool and what it drives."""
    ours = tuple((name, metadata.version(name)) for name in ("bisect-celery", "kombu", "docker", "uv"))
    git = proc.run(["git", "--version"], deadline=10, check=False).text().removeprefix("git version").strip()
    return (*ours, ("git", git))


def project_versions(good: Judged) -> tuple[tuple[str, str], ...]:
    """What the project ran with at its good end, which is what a reader looks for."""
    worker = good.trial.observation.worker
    said = (("the project's celery", worker.celery), ("the project's python", worker.python))
    return tuple((name, version) for name, version in said if version)


def task_candidates(room: Room, good: Revision, bad: Revision, worked: Judged) -> tuple[str, ...]:
    """Where no task was named: registered tasks whose module changed in the range. `worked` is the good end."""
    if room.request.probe.task is not None:
        return ()
    changed = room.repository.changed_paths(good.tree, bad.tree)
    modules = {path.removesuffix(".py").replace("/", ".") for path in changed if path.endswith(".py")}
    names = [
        name
        for name in worked.trial.observation.worker.registered
        if not name.startswith("celery.") and any(_ends_module(module, name) for module in modules)
    ]
    if names:
        room.listener(Note("Tasks whose code changed in the range: " + ", ".join(names[:8])))
    return tuple(names)


def _ends_module(module: str, task: str) -> bool:
    """Whether `orders.tasks.mail` is defined in `src.orders.tasks`, whatever folder the app lives in."""
    home = task.rpartition(".")[0]
    return bool(home) and (module == home or module.endswith("." + home))
