"""Which image a tree runs in, and what becomes of builds that fail; the engine only writes down what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from package_index import lay

from bisect_celery.environment.images.image import image_environment, unfit
from bisect_celery.environment.resolve import EnvironmentFailed
from bisect_celery.errors import InfraError, UserError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import (
    Build,
    Cancel,
    Environment,
    ImageFacts,
    ImageOrder,
    RunResult,
    WorkerImage,
)

LOOK = {
    "python": "/venv/bin/python", "version": "3.11.4", "bin": "/venv/bin", "packages": [["celery", "5.4.0"]],
    "uid": 1000, "user": "", "prefix": "/venv", "installed": [],
}  # fmt: skip
DOCKERFILE = "FROM python:3.11\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n"


@dataclass
class Engine:
    """An engine's images in memory."""

    platform: str = "x86_64"
    result: RunResult = field(default_factory=lambda: RunResult(0, ""))
    look: RunResult = field(default_factory=lambda: RunResult(0, f"noise\n{json.dumps(LOOK)}\n"))
    there: frozenset[str] = frozenset({"python:3.11", "shop:1"})
    folder: str = "/app"
    orders: list[ImageOrder] = field(default_factory=list)

    def known(self, reference: str, cancel: Cancel) -> ImageFacts | None:
        return ImageFacts(f"sha256:{reference}", folder=self.folder) if reference in self.there else None

    def built(self, key: str) -> ImageFacts | None:
        made = [order.key for order in self.orders] if self.result.code == 0 else []
        return ImageFacts(f"sha256:{key}", (("PATH", "/venv/bin:/bin"),), self.folder) if key in made else None

    def build(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        self.orders.append(order)
        return self.result

    def run(self, image: str, argv: Sequence[str], deadline: float, cancel: Cancel) -> RunResult:
        return self.look


def environment(
    folder: Path, engine: Engine, worker: WorkerImage | None = None, told: list[str] | None = None, **files: str
) -> Environment:
    lay(folder, {"Dockerfile": DOCKERFILE, "requirements.txt": "celery\n", "shop/tasks.py": "", **files})
    return image_environment(
        folder,
        worker or WorkerImage(build=Build()),
        subfolder="",
        overlays=frozenset(),
        images=engine,
        cancel=Token(),
        tells=(told if told is not None else []).append,
    )


def test_trees_of_one_content_share_an_image_and_nothing_is_built_twice(tmp_path: Path) -> None:
    engine, told = Engine(), list[str]()
    first = environment(tmp_path / "a", engine, told=told)
    second = environment(tmp_path / "b", engine, told=told, **{"shop/tasks.py": "other", "README.md": ""})
    third = environment(tmp_path / "c", engine, told=told, **{"requirements.txt": "celery<5\n"})
    assert len(engine.orders) == 2
    assert first.key == second.key != third.key
    assert [line.split(",")[0].split(" in ")[0] for line in told] == ["Building Dockerfile", "Built"] * 2
    assert first.image is not None
    assert (first.python, first.image.folder, first.image.root, first.image.user) == (
        "/venv/bin/python", "/app", "/app", 1000,
    )  # fmt: skip
    names = ("Dockerfile", "requirements.txt", "shop/tasks.py")
    assert set(first.image.files) == {(name, f"/app/{name}") for name in names}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("ERROR: No matching distribution found for celery==99\nThe command returned a non-zero code: 1",
         EnvironmentFailed, "Dockerfile does not build: The command returned a non-zero code: 1"),
        ("W: Failed to fetch http://deb/x  Temporary failure resolving 'deb'", InfraError, "cannot be reached"),
        ("pip._vendor.urllib3.exceptions.NewConnectionError: x", InfraError, "cannot be reached"),
        ("write /x: No space left on device", InfraError, "disk is full"),
        ("pull access denied for private/base, repository does not exist", EnvironmentFailed, "is not there"),
    ],
)  # fmt: skip
def test_a_build_that_fails_is_the_trees_or_the_machines(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        environment(tmp_path, Engine(result=RunResult(1, text)))


def _unreachable(reference: str, cancel: Cancel) -> ImageFacts | None:
    raise InfraError("No registry answers.", "another hint")


def test_what_the_dockerfile_begins_with_or_is_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=r"begins with python:3.11, and there is no such image"):
        environment(tmp_path, Engine(there=frozenset()))
    unreachable = Engine()
    unreachable.known = _unreachable  # type: ignore[method-assign]
    with pytest.raises(InfraError, match=r"^Dockerfile begins with python:3.11\. No registry answers") as lost:
        environment(tmp_path, unreachable)
    assert "`--image none`" in lost.value.hint
    with pytest.raises(EnvironmentFailed, match=r"There is no docker/Dockerfile"):
        environment(tmp_path, Engine(), WorkerImage(build=Build(dockerfile="docker/Dockerfile")))
    with pytest.raises(EnvironmentFailed, match="no Python with Celery"):
        environment(tmp_path, Engine(look=RunResult(3, "")))


def test_a_ready_image_gives_its_packages_and_nothing_of_its_code(tmp_path: Path) -> None:
    ready = WorkerImage(image="shop:1")
    found = environment(tmp_path, Engine(), ready).image
    assert found is not None
    assert (found.root, found.bare) == ("/app", True)
    assert ("requirements.txt", "/app/requirements.txt") in found.files
    assert environment(tmp_path, Engine(folder="/"), ready).image.root == "/code"  # type: ignore[union-attr]
    with pytest.raises(UserError, match="no image other:1"):
        environment(tmp_path, Engine(), WorkerImage(image="other:1"))


@pytest.mark.parametrize(
    ("installed", "prefix", "why"),
    [
        ([["shop", '{"dir_info": {}, "url": "file:///app"}']], "/venv", "copy of code installed (shop)"),
        ([["shop", '{"dir_info": {"editable": true}, "url": "file:///app"}']], "/venv", None),
        ([["x", '{"archive_info": {}, "url": "file:///wheels/x.whl"}']], "/venv", None),
        ([], "/app/.venv", "stands among its code"),
    ],
)
def test_a_ready_image_that_would_run_other_code_is_refused(
    installed: list[list[str]], prefix: str, why: str | None
) -> None:
    look = json.dumps({**LOOK, "installed": installed, "prefix": prefix})
    said = unfit("shop:1", Engine(look=RunResult(0, look)), Token())
    assert said is None if why is None else why in str(said)
