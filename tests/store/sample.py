"""Plain sessions and trials for the store's tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bisect_celery.model import Judged, Judgement, Kind, Observation, Request, Session, Symptom, Tree, Trial, Verdict


def session(name: str = "s1", repository: Path = Path("/home/me/project"), **changes: Any) -> Session:
    request = Request(repository=repository, good="v1", bad="HEAD", app="mail.app")
    return dataclasses.replace(
        Session(id=name, command="bisect-celery run v1", request=request, started_at="2026-01-02T03:04:05+00:00"),
        **changes,
    )


def judged(number: int, tree: str = "a" * 40, **changes: Any) -> Judged:
    trial = Trial(number, Tree(tree, f"tree {tree[:7]}"), Observation(until=12.5), digest="d1", seconds=12.75)
    made = Judgement(Verdict.BAD, Symptom(Kind.EXECUTED_NOT_ACKED), "bodies ran, nothing was acknowledged", 0.9)
    return Judged(dataclasses.replace(trial, **changes), made)
