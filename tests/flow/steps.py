"""A repository for every history: a tree's place is the number in `shop/step.py`, and a test says what each does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import fake_lab
from fake_lab import Read, Ways
from small_incident import APP, Incident, commit, failing, git

from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.events import Event, Note
from bisect_celery.flow.incident import investigate
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Session
from bisect_celery.report.build import build
from bisect_celery.report.render import as_json, markdown

GOOD, BAD = Ways(0.0), Ways(1.0)
DIFFERENT, BROKEN = Ways(0.0, "failing differently"), Ways(0.0, "unbootable")


def begun(folder: Path) -> Incident:
    """The first commit, with nothing checked out but it."""
    incident = failing(folder)
    git(folder, "checkout", "--quiet", "--detach", incident.good)
    return incident


def step(folder: Path, number: int) -> str:
    return commit(folder, f"Step {number}", {"shop/step.py": f"STEP = {number}\n"}, number % 25)


def told(
    where: Incident,
    home: Path,
    does: Callable[[int], Ways],
    seed: int = 0,
    notes: list[str] | None = None,
    **flags: object,
) -> tuple[Session, dict[str, object], str]:
    """The session, and its report as JSON and as Markdown."""

    def behaves(read: Read) -> Ways:
        said = read("shop/step.py")
        return does(int(said.split("=")[1])) if said else GOOD

    paths = flags.pop("paths", ())
    typed = {"app": APP, "task": "shop.tasks.total", "stack": "process", "broker": "embedded", **flags}
    kept = Home({"BISECT_CELERY_HOME": str(home)}).make()
    asked = request(Typed(typed, where.folder, {}, where.good, where.bad, paths), kept)  # type: ignore[arg-type]

    def listener(event: Event) -> None:
        if isinstance(event, Note) and notes is not None:
            notes.append(event.text)

    with fake_lab.instead(behaves, seed):
        ended = investigate(asked, kept, command="run", listener=listener, cancel=Token())
    report = build(ended.session, str)
    return ended.session, as_json(report), markdown(report)


def places(where: Incident, found: object) -> list[int]:
    """The places of commits, of a session or of a report."""
    shas = [one["sha"] if isinstance(one, Mapping) else one.sha for one in found]  # type: ignore[attr-defined]
    return [where.shas.index(sha) for sha in shas]
