"""The first line of a run says why trials run in what they run in: who asked for it, or since when it is held to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bisect_celery.flow.stacks import choose
from bisect_celery.home import Home
from bisect_celery.model import Owner, Probe, Request

ASKED = Request(
    repository=Path("/nowhere"), good="a", bad="b", app="shop", probe=Probe(), stack="process", broker="embedded"
)


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (("stack", "broker"), "the process stack was asked for; the embedded broker was asked for"),
        (("stack",), "the process stack was asked for; the embedded broker, as when it began"),
        ((), "the process stack, as when it began; the embedded broker, as when it began"),
    ],
)
def test_what_nobody_asked_for_is_not_said_to_be_asked_for(tmp_path: Path, sources: tuple[str, ...], why: str) -> None:
    request = replace(ASKED, sources=tuple((name, "bisect-celery.toml") for name in sources))
    stack = choose(request, Home({"BISECT_CELERY_HOME": str(tmp_path)}), Owner("m", "b", 1, 1, "s"), tmp_path)
    assert stack.facts.why == why
