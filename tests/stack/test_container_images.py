"""The project's own images on a real engine: built by either builder, asked, kept, and stopped in the middle."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.errors import Cancelled, InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import ImageOrder, Owner
from bisect_celery.stack.compose import ours
from bisect_celery.stack.containers.images import ContainerImages, Workshop, kept_images, remove_image
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.build import KEY_LABEL, REPOSITORY, buildkit_client

pytestmark = pytest.mark.docker
BASE = "bisect-celery/worker:local"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.connect() as made:
        yield made


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Iterator[Workshop]:
    """Everything but the docker client: what is built, the engine's classic builder builds."""
    owner = Owner(proc.machine_id(), proc.boot_id(), os.getpid(), proc.start_time(os.getpid()) or 0, "test-images")
    worker = ours.load({}).services["worker"]
    prefix = f"bisect-celery-test-{os.getpid()}-{time.monotonic_ns()}"
    yield Workshop(engine, worker, owner, prefix, tmp_path, "x86_64", {"PATH": "/nowhere"})
    for name, _ in kept_images(engine):
        if "-test-" in name:
            remove_image(engine, name)
    assert [one for one in engine.owned()["container"] if one[1] == owner.label()] == []


def order(tmp_path: Path, text: str, files: Mapping[str, str | None], **more: object) -> ImageOrder:
    found: list[tuple[str, Path | None]] = []
    for path, content in files.items():
        source = tmp_path / "tree" / path
        source.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            source.write_text(content)
        found.append((path, source if content is not None else None))
    made = ImageOrder(f"x-test-{os.getpid()}-{time.monotonic_ns()}", f"FROM {BASE}\n{text}", tuple(found))
    return replace(made, **more)  # type: ignore[arg-type]


def sleeping() -> list[str]:
    """What the stopped builds would go on with."""
    done = subprocess.run(["pgrep", "-f", "^sleep 321$"], capture_output=True, text=True, check=False)
    return done.stdout.split()


TEXT = """
ARG WHO
RUN mkdir -p /app && echo "$WHO $HTTP_PROXY" > /who
WORKDIR /app
ENV PLACE=/somewhere
COPY . .
COPY ["empty/", "/made/"]
USER 1234
ENTRYPOINT ["/bin/false"]
"""


@pytest.mark.parametrize("builder", ["classic", "client"])
def test_what_is_built_holds_the_context_and_nothing_of_ours(shop: Workshop, tmp_path: Path, builder: str) -> None:
    if builder == "client":
        assert buildkit_client(os.environ) is not None, "the docker client of Debian brings BuildKit, or docker-buildx"
        shop = replace(shop, caller={**os.environ, "HTTP_PROXY": "http://user:canary@127.0.0.1:9/"})
    images, cancel = ContainerImages(shop), Token()
    files = {"a.py": "a", "empty": None, "requirements.txt": "celery", "deep/b.py": "b"}
    asked = order(tmp_path, TEXT, files, arguments=(("WHO", "mara"),))
    said: list[str] = []
    assert images.built(asked.key) is None
    result = images.build(asked, said.append, cancel)
    assert result.code == 0, result.text
    assert said
    facts = images.built(asked.key)
    assert facts is not None
    assert facts.folder == "/app"
    assert ("PLACE", "/somewhere") in facts.environment
    seen = images.run(facts.id, ("sh", "-c", "cat /who; id -u; find /app /made -type f | sort; pwd"), 30, cancel)
    proxy = " http://user:canary@127.0.0.1:9/" if builder == "client" else " "
    lines = [f"mara{proxy}".rstrip(), "1234", "/app/a.py", "/app/deep/b.py", "/app/requirements.txt", "/app"]
    assert [line.rstrip() for line in seen.text.splitlines()] == lines
    assert images.run(facts.id, ("no-such-program",), 30, cancel).code == 127
    assert f"{REPOSITORY}:{asked.key}" in [name for name, size in kept_images(shop.engine) if size]
    history = shop.engine.api.history(facts.id)
    assert "canary" not in str(history)
    assert images.build(asked, said.append, cancel).text == ""  # it is there


@pytest.mark.parametrize("builder", ["classic", "client"])
def test_a_build_that_fails_says_so_and_leaves_nothing(shop: Workshop, tmp_path: Path, builder: str) -> None:
    shop = replace(shop, caller=os.environ) if builder == "client" else shop
    images = ContainerImages(shop)
    asked = order(tmp_path, "RUN echo nothing of that name >&2; exit 7\n", {})
    result = images.build(asked, lambda _: None, Token())
    assert result.code != 0
    assert "nothing of that name" in result.text
    assert images.built(asked.key) is None


def test_a_dockerfile_for_buildkit_is_built_by_it_or_refused(shop: Workshop, tmp_path: Path) -> None:
    text = "RUN --mount=type=bind,source=a,target=/a cp /a /b\n"
    asked = order(tmp_path, text, {"a": "seen"}, buildkit="line 2, `RUN cp`")
    with pytest.raises(InfraError, match="needs BuildKit"):
        ContainerImages(shop).build(asked, lambda _: None, Token())
    images = ContainerImages(replace(shop, caller=os.environ))
    assert images.build(asked, lambda _: None, Token()).code == 0
    facts = images.built(asked.key)
    assert facts is not None
    assert images.run(facts.id, ("cat", "/b"), 30, Token()).text == "seen"


@pytest.mark.parametrize("builder", ["classic", "client"])
def test_a_build_is_stopped_when_the_session_is(shop: Workshop, tmp_path: Path, builder: str) -> None:
    shop = replace(shop, caller=os.environ) if builder == "client" else shop
    images, cancel = ContainerImages(shop), Token()
    began = threading.Event()
    asked = order(tmp_path, "RUN echo begun\nRUN sleep 321\n", {})

    def says(line: str) -> None:
        if "sleep" in line:
            began.set()

    def stop() -> None:
        began.wait(60)
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Cancelled):
        images.build(asked, says, cancel)
    thread.join()
    assert images.built(asked.key) is None
    end = time.monotonic() + 20
    while sleeping() and time.monotonic() < end:
        time.sleep(0.1)
    assert sleeping() == []


def test_a_client_that_cannot_is_passed_over(tmp_path: Path) -> None:
    def client(name: str, script: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "docker").chmod(0o755)
        return str(folder)

    new = client("new", 'test "$1" = version && echo 28.2.2 || exit 1')
    plugged = client("plugged", "exit 0")
    old = client("old", 'test "$1" = version && echo 20.10.24+dfsg1 || exit 1')
    assert buildkit_client({"PATH": new}) is None
    assert buildkit_client({"PATH": f"{new}:{old}"}) == (f"{old}/docker", "build")
    assert buildkit_client({"PATH": f"{new}:{plugged}:{old}"}) == (f"{plugged}/docker", "buildx", "build", "--load")


def test_an_image_of_that_name_that_is_none_of_ours_is_not_taken(shop: Workshop, engine: Engine) -> None:
    key = f"x-test-{time.monotonic_ns()}"
    engine.api.tag(BASE, REPOSITORY, key)
    try:
        assert ContainerImages(shop).built(key) is None
    finally:
        engine.api.remove_image(f"{REPOSITORY}:{key}")
    assert KEY_LABEL not in labels(shop.owner, "look")
