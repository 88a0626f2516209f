"""Whether containers can be had here and now: an engine that answers, of this machine unless said, and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bisect_celery.errors import InfraError
from bisect_celery.stack.compose import ours
from bisect_celery.stack.engine.about import about
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.endpoint import Endpoint, find
from bisect_celery.stack.services.protocol import KINDS, MYSQL, REDIS

ANSWER_DEADLINE = 4.0
REMOTE_DEADLINE = 15.0
REMOTE_HINT = (
    "`--remote-engine` lets the code under test, its files and its variables go there; DOCKER_CONTEXT=default takes "
    "this machine's own engine; `--stack process` needs none."
)
REGISTRY_DEADLINE = 4.0

# What `scripts/build-images` makes, taken where an official image is neither there nor to be had.
STAND_INS = {
    "rabbitmq": "bisect-celery/rabbitmq:local",
    "redis-broker": "bisect-celery/services:local",
    "worker": "bisect-celery/worker:local",
    **dict.fromkeys(KINDS, "bisect-celery/services:local"),
    MYSQL: "bisect-celery/mysql:local",
}
RABBITMQ = "rabbitmq"
# The compose file's service for each kind of broker.
BROKERS = {RABBITMQ: "rabbitmq", REDIS: "redis-broker"}
_CHOSEN = ("RABBITMQ", "WORKER", "BUILDER", *(kind.upper() for kind in KINDS))


def available(
    environ: Mapping[str, str], services: Sequence[str] = (), broker: str = RABBITMQ, *, remote: bool = False
) -> tuple[bool, str]:
    """Whether containers can be had here and now, with these `services` beside the broker, and why or why not in words.

    `remote` says that the engine may be on another machine. Takes seconds at most, and by ssh as long as that takes.
    """
    composition = ours.load(environ)
    try:
        endpoint = find(environ)
    except InfraError as error:
        return False, _words(error)
    if (why_not := unsaid(endpoint)) and not remote:
        return False, why_not
    try:
        with Engine.connect(REMOTE_DEADLINE if endpoint.machine else ANSWER_DEADLINE, endpoint=endpoint) as engine:
            answers = f"{about(engine).name} answers"
            wanted = [one for one in composition.services.values() if needed(one.name, services, broker)]
            images = {service.image: service.name for service in wanted}
            absent = [image for image, name in images.items() if present(engine, name, image, environ) is None]
            with engine.fresh(REGISTRY_DEADLINE) as asking:
                for image in absent:
                    if not asking.obtainable(image):
                        return False, f"{answers}, but the image {image} is not there and no registry offers it"
    except InfraError as error:
        # Of an engine of this machine it says enough that it does not answer; of one elsewhere, what is in the way.
        return False, _words(error) if endpoint.machine else f"no container engine answers {endpoint.words}".rstrip()
    return True, answers


def needed(name: str, services: Sequence[str], broker: str) -> bool:
    """Whether a service of the compose file has a part in a session with these beside this broker."""
    if name in BROKERS.values():
        return name == BROKERS[broker]
    return name not in KINDS or name in services


def _words(error: InfraError) -> str:
    return error.message[:1].lower() + error.message[1:].rstrip(".")


def unsaid(endpoint: Endpoint) -> str:
    """Why an engine is not taken unless that is said, "" for one of this machine."""
    if not endpoint.machine:
        return ""
    return f"the container engine is {endpoint.words}, and nothing is sent there without `--remote-engine`"


def present(engine: Engine, service: str, image: str, environ: Mapping[str, str]) -> str | None:
    """The image to take for a service without asking a registry: its own, or the stand-in for one nobody chose."""
    if engine.image(image) is not None:
        return image
    stand_in = STAND_INS.get(service, STAND_INS["worker"])
    chosen = any(environ.get(f"BISECT_CELERY_{name}_IMAGE") == image for name in _CHOSEN)
    return stand_in if not chosen and engine.image(stand_in) is not None else None
