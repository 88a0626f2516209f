"""State from before: what an older revision left behind, kept once in a folder and put into each trial's place.

It is the work folder (databases), what lasts in the broker's namespace (queues with their arguments, exchanges,
bindings), and the messages that nobody had consumed. Those are raw and private: the folder is ours alone.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from bisect_celery.errors import InfraError
from bisect_celery.model import Observation, Place, Tree
from bisect_celery.probe import leftover

WORK, DEFINITIONS, STATE = "work.tar", "definitions.json", "state.json"


@dataclass(frozen=True)
class Earlier:
    """What `tree` left behind, in `folder`. `ids` are the probes of ours among its messages."""

    folder: Path
    tree: str
    label: str
    ids: tuple[str, ...]
    queues: int
    messages: int

    def words(self) -> str:
        """What it is, for a person."""
        size = (self.folder / WORK).stat().st_size
        return (
            f"{_counted(self.queues, 'queue')} with {_counted(self.messages, 'unconsumed message')}, "
            f"and its work folder ({max(1, round(size / 1024))} kB)"
        )


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def save(place: Place, tree: Tree, left: Observation, wave: int, folder: Path) -> Earlier:
    """Keep what stands in a place whose programs have ended. Takes the messages out of it. Raises InfraError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    place.save(folder / WORK)
    definitions = place.definitions()
    (folder / DEFINITIONS).write_bytes(definitions)
    queues = [str(queue["name"]) for queue in json.loads(definitions)["queues"]]
    messages = leftover.take(place.harness_url, queues)
    leftover.write(messages, folder / "messages")
    ids = tuple(message.id for message in left.messages if message.wave == wave)
    earlier = Earlier(folder, tree.sha, tree.label, ids, len(queues), len(messages))
    (folder / STATE).write_text(json.dumps({**asdict(earlier), "folder": ""}))  # last: now it is whole
    return earlier


def kept(folder: Path, tree: Tree) -> Earlier | None:
    """What is kept of this tree in `folder`; None when there is nothing, or it is not whole."""
    try:
        state = json.loads((folder / STATE).read_text())
        leftover.read(folder / "messages")
        found = Earlier(**{**state, "folder": folder, "ids": tuple(state["ids"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.tree == tree.sha else None


def put(earlier: Earlier, place: Place) -> None:
    """Fill a fresh place with it, before anything runs there. Raises InfraError."""
    try:
        definitions = (earlier.folder / DEFINITIONS).read_bytes()
        messages = leftover.read(earlier.folder / "messages")
    except (OSError, ValueError) as error:
        raise InfraError(f"What {earlier.label} left behind is gone: {error}.", "`bisect-celery resume`") from error
    place.restore(earlier.folder / WORK)
    place.define(definitions)
    leftover.put(place.harness_url, messages)
