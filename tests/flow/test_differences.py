"""What a report lists as not being the project's: its image, the steps that were left out of it, and what stands in."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, cast

import pytest

from bisect_celery.config import STOOD_IN
from bisect_celery.flow.differences import differences
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Build, Difference, Probe, Request, StackFacts, WorkerImage

BUILT = WorkerImage(build=Build("", "docker/Dockerfile"))
READY = WorkerImage(image="shop:1")


def listed(asked: WorkerImage | None, taken: WorkerImage | None, left_out: tuple[str, ...] = (), **more: Any) -> Any:
    facts = StackFacts("container", "rabbitmq", "3.10", emulated=False, why="", walled=True, detail="")
    lab = types.SimpleNamespace(stack=types.SimpleNamespace(facts=facts), worker_image=taken, left_out=left_out)
    request = Request(Path("/shop"), "v1", "HEAD", "shop", worker_image=asked, **more)
    found = differences(Plan("shop", Probe()), cast(Any, lab), None, request)
    return {one.what: one for one in found}


@pytest.mark.parametrize(
    ("asked", "taken", "left_out", "theirs", "ours"),
    [
        (BUILT, BUILT, ("python manage.py collectstatic",), "built from docker/Dockerfile",
         "of each revision's own Dockerfile, started without its entry point and health check, and built without "
         "`python manage.py collectstatic`"),
        (BUILT, None, (), "built from docker/Dockerfile", "none: dependencies were installed from the project's files"),
        (READY, READY, (), "shop:1",
         "with each revision's code in place of its own, started without its entry point and health check"),
    ],
)  # fmt: skip
def test_an_image_and_what_was_left_out_of_it(
    asked: WorkerImage, taken: WorkerImage | None, left_out: tuple[str, ...], theirs: str, ours: str
) -> None:
    found: Difference = listed(asked, taken, left_out)["image"]
    assert (found.theirs, found.ours) == (theirs, ours)
    assert ("`--prepare`" in found.why) == (taken is not None)


def test_what_stands_in_for_what_nobody_has_and_nothing_where_all_is_there() -> None:
    said = "secret db is a word of ours: secrets/db is neither committed nor in your folder"
    found = listed(None, None, sources=((STOOD_IN, said),))
    assert found["files and values of the compose file"].ours == said
    assert not {"image", "files and values of the compose file"} & set(listed(None, None))
