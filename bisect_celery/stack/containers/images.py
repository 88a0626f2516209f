"""The project's own images at a container engine: looked up, pulled, built once for a key, asked, and kept."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, ImageFacts, ImageOrder, Owner, RunResult
from bisect_celery.stack.compose.described import Health, Service
from bisect_celery.stack.containers.runner import followed
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.build import KEY_LABEL, REPOSITORY, Builder
from bisect_celery.stack.engine.failures import told

_NO_SUCH = re.compile(
    r"manifest unknown|pull access denied|not found|does not exist|invalid reference|no matching manifest", re.I
)
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|stat .*: no such file", re.I)
# A question is no trial: a health check would send to the broker, and nobody waits for it.
_NO_HEALTH = Health(test=("NONE",))


@dataclass(frozen=True)
class Workshop:
    """What images are built and asked with. `service` is what containers of the project's images are made like."""

    engine: Engine
    service: Service
    owner: Owner
    prefix: str
    spool: Path
    machine: str
    caller: Mapping[str, str]


def own_image(service: Service) -> Service:
    """A service's locks for an image of the project's: as its own user, without its health check."""
    return replace(service, user="", healthcheck=_NO_HEALTH)


class ContainerImages:
    """A `model.Images`. Safe to use from several threads."""

    def __init__(self, workshop: Workshop) -> None:
        self.platform = workshop.machine
        self._shop = workshop
        self._lock = threading.Lock()
        self._known: dict[str, ImageFacts] = {}
        self._said: dict[tuple[str, tuple[str, ...]], RunResult] = {}
        self._numbers = itertools.count(1)

    # --- the protocol

    def known(self, reference: str, cancel: Cancel) -> ImageFacts | None:
        """One answer a session: what a tag means must not change in the middle of it."""
        if reference not in self._known:
            with self._shop.engine.fresh() as engine:
                found = engine.image(reference)
                if found is None:
                    try:
                        engine.pull(reference, cancel)
                    except InfraError as error:
                        if _NO_SUCH.search(error.message):
                            return None
                        raise
                    found = engine.image(reference)
            if found is None:
                return None
            self._known[reference] = _facts(found)
        return self._known[reference]

    def built(self, key: str) -> ImageFacts | None:
        with self._shop.engine.fresh() as engine:
            found = engine.image(f"{REPOSITORY}:{key}")
        if found is None or ((found.get("Config") or {}).get("Labels") or {}).get(KEY_LABEL) != key:
            return None
        return _facts(found)

    def build(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        while not self._lock.acquire(timeout=0.2):
            cancel.check()
        try:
            if self.built(order.key) is not None:
                return RunResult(0, "")
            shop = self._shop
            return Builder(shop.engine, shop.spool, shop.caller).build(order, says, cancel)
        finally:
            self._lock.release()

    def run(self, image: str, argv: Sequence[str], deadline: float, cancel: Cancel) -> RunResult:
        asked = (image, tuple(argv))
        with self._lock:
            if asked not in self._said:
                self._said[asked] = self._run(image, argv, deadline, cancel)
            return self._said[asked]

    def _run(self, image: str, argv: Sequence[str], deadline: float, cancel: Cancel) -> RunResult:
        shop = self._shop
        service = replace(own_image(shop.service), network_mode="none", volumes=())
        with shop.engine.fresh() as engine:
            container = engine.create(
                service,
                name=f"{shop.prefix}-look-{next(self._numbers)}",
                labels=labels(shop.owner, "look"),
                names={},
                image=image,
                entrypoint=argv[:1],
                command=argv[1:],
            )
            try:
                ended = followed(engine, container, argv[:1], deadline, cancel)
            except InfraError as error:
                if _NO_PROGRAM.search(error.message):
                    return RunResult(127, error.message)
                raise
            finally:
                engine.remove(container)
        return RunResult(ended.code, ended.both)


def _facts(found: Mapping[str, object]) -> ImageFacts:
    config = found.get("Config")
    said = config if isinstance(config, dict) else {}
    variables = (one.partition("=") for one in said.get("Env") or ())
    return ImageFacts(
        str(found["Id"]),
        tuple((name, value) for name, _, value in variables),
        str(said.get("WorkingDir") or "/"),
        tuple(str(one) for one in said.get("OnBuild") or ()),
    )


# --- what is kept ---------------------------------------------------------------------------------------


def kept_images(engine: Engine) -> list[tuple[str, int]]:
    """(name, bytes) of the images that sessions built; layers shared with others count, too."""
    with told("list images"):
        found = engine.api.images(filters={"label": KEY_LABEL})
    return [
        (tag, int(one.get("Size") or 0))
        for one in found
        for tag in one.get("RepoTags") or ()
        if tag.startswith(f"{REPOSITORY}:")
    ]


def remove_image(engine: Engine, name: str) -> None:
    """Delete one of them. Raises InfraError while a container uses it."""
    with told(f"remove the image {name}"):
        engine.api.remove_image(name)
