"""A whole run in the images that revisions' own Dockerfile builds: few builds, the right code, the right culprit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import pytest
import small_incident
from bench import Bench

from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import ImageOrder, Outcome, Owner
from bisect_celery.stack.compose import ours
from bisect_celery.stack.containers.images import ContainerImages, Workshop, kept_images, remove_image
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.build import REPOSITORY

pytestmark = [pytest.mark.docker, pytest.mark.slow]

PACKAGES = "/usr/local/lib/python3.11/dist-packages/"
# The sloppy layout, as most have it; nothing of it may run in a trial but the worker.
DOCKERFILE = """\
ARG BASE
FROM $BASE
ENV SHOP=open PIP_BREAK_SYSTEM_PACKAGES=1
WORKDIR /srv/shop
COPY . .
RUN pip install --no-index -r requirements.txt
RUN useradd --uid 4321 shop && chown -R shop /srv/shop
USER shop
HEALTHCHECK --interval=1s CMD kill 1
ENTRYPOINT ["/bin/false"]
"""


def distributions(name: str) -> dict[str, metadata.Distribution]:
    """An installed package and all that it needs, by name."""
    found: dict[str, metadata.Distribution] = {}
    ahead = [name]
    while ahead:
        name = re.split(r"[^A-Za-z0-9._-]", ahead.pop(), maxsplit=1)[0].lower().replace("_", "-")
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if name not in found:
            found[name] = one
            ahead += [line for line in one.requires or () if "extra ==" not in line]
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that has our own Celery, built once on this machine: no index is asked for anything."""
    files: list[tuple[str, Path | None]] = []
    versions = []
    for name, one in sorted(distributions("celery").items()):
        versions.append(f"{name}-{one.version}")
        for path in one.files or ():
            if ".." not in path.parts and path.suffix != ".pyc":
                files.append((f"site/{path}", Path(str(one.locate_file(path)))))
    script = tmp_path_factory.mktemp("base") / "celery"
    script.write_text("#!/usr/bin/python3\nfrom celery.__main__ import main\nmain()\n")
    script.chmod(0o755)
    text = f"FROM bisect-celery/worker:local\nCOPY site/ {PACKAGES}\nCOPY celery /usr/local/bin/\n"
    key = f"tests-{abs(hash_of(versions)):x}"
    with Engine.connect() as engine:
        owner = Owner(proc.machine_id(), proc.boot_id(), os.getpid(), 0, "tests")
        worker = ours.load({}).services["worker"]
        shop = Workshop(engine, worker, owner, "bisect-celery-tests", script.parent, "", {"PATH": "/nowhere"})
        images = ContainerImages(shop)
        result = images.build(ImageOrder(key, text, (*files, ("celery", script))), lambda _: None, Token())
        assert result.code == 0, result.text
    return f"{REPOSITORY}:{key}"


def hash_of(parts: Sequence[str]) -> int:
    return int.from_bytes("".join(parts).encode(), "big") % (1 << 61)


@pytest.fixture
def built() -> Iterator[Callable[[], list[str]]]:
    """The images that were built since, which go again."""
    with Engine.connect() as engine:
        before = {name for name, _ in kept_images(engine)}

        def since() -> list[str]:
            """Other tests build, too: those that say that the shop is open."""
            found = [name for name, _ in kept_images(engine) if name not in before]
            facts = [engine.image(name) or {} for name in found]
            return [name for name, one in zip(found, facts, strict=True) if "SHOP=open" in str(one.get("Config"))]

        yield since
        for name in since():
            remove_image(engine, name)


def written(folder: Path) -> list[str]:
    """Four commits, of which the second changes what is installed, and the third breaks the task."""
    first = {
        **small_incident._first(),
        "Dockerfile": DOCKERFILE,
        "requirements.txt": f"celery\n# {time.time_ns()}\n",  # no build of an earlier run is taken
    }
    broken = first["shop/tasks.py"].replace("[price or 0 for price in prices]", "list(prices)")
    requirements = first["requirements.txt"] + "kombu\n"
    folder.mkdir()
    small_incident.git(folder, "init", "--quiet", "--initial-branch=main")
    commits = [
        ("Begin the shop", first),
        ("Need kombu, too", {"requirements.txt": requirements}),
        ("Tidy the totals", {"shop/tasks.py": broken}),
        ("List currencies", {"shop/currencies.py": "KNOWN = ('EUR', 'SEK')\n"}),
    ]
    return [small_incident.commit(folder, title, files, number) for number, (title, files) in enumerate(commits)]


def test_revisions_run_in_their_own_image_and_few_are_built(
    tmp_path: Path, bench_at: Callable[[Path], Bench], base: str, built: Callable[[], list[str]]
) -> None:
    shas = written(tmp_path / "shop")
    bench = bench_at(tmp_path / "shop")
    app = ("--app", small_incident.APP, "--worker", "-c 1", "--env", "SHOP_BROKER={broker_url}", "--count", "2")
    image = ("--stack", "container", "--dockerfile", "Dockerfile", "--build-arg", f"BASE={base}")
    total = ("--task", "shop.tasks.total", "--args", "[[1, null, 2]]")
    ended = bench.run("run", shas[0], shas[3], *app, *image, *total, deadline=600)
    session = bench.session()
    assert session.outcome is Outcome.CONFIRMED, ended.text
    assert session.culprit is not None
    assert session.culprit.revision.sha == shas[2]
    assert [atom.path for atom in session.culprit.cause] == ["shop/tasks.py"]
    (image_told,) = [one for one in session.differences if one.what == "image"]
    assert image_told.theirs == "built from Dockerfile"
    trees = {judged.trial.tree.sha for judged in session.judged}
    assert len(trees) >= 3
    assert len(built()) == 2, built()
    assert ended.text.count("Building Dockerfile") == 2
    assert bench.left() == []
