"""What lets a session go on another day: its request on the disk, and its command with the commits that names meant."""

from __future__ import annotations

import json
import shlex

from bisect_celery.errors import UserError
from bisect_celery.flow.session import Room
from bisect_celery.flow.sweep import REQUEST
from bisect_celery.home import Home
from bisect_celery.model import Request, Revision
from bisect_celery.store import codec


def keep_request(room: Room) -> None:
    """What `resume` needs and the database must not know; it goes when the session is finished.

    Whole before the session is in the store: whatever can be resumed has its request.
    """
    draft = room.scratch / REQUEST
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(codec.encode(room.request)))
    draft.rename(room.folder / REQUEST)


def reopen(home: Home, session_id: str) -> Request:
    """The request of an unfinished session, with its values. Raises UserError when it is gone."""
    path = home.session_folder(session_id) / REQUEST
    try:
        return codec.decode(Request, json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"Session {session_id} cannot go on: its request is gone.", "Start it again.") from error


def resolved(command: str, request: Request, good: Revision, bad: Revision) -> str:
    """The command to repeat, with the commits that its names meant."""
    words = shlex.split(command)
    both = f"{request.good}..{request.bad}"
    if both in words:
        return shlex.join(f"{good.short}..{bad.short}" if word == both else word for word in words)
    named = [{request.good: good.short, request.bad: bad.short}.get(word, word) for word in words]
    if request.good in words and request.bad not in words:
        named.insert(words.index(request.good) + 1, bad.short)
    return shlex.join(named)
