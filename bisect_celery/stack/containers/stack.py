"""The container stack: RabbitMQ and every program of a trial in containers, with no way out for code under test.

What is started is described by our own `docker-compose.yml` (`stack.compose`). The engine is spoken to through its API
only, so it may be a virtual machine's; nothing of this machine is mounted anywhere. A place is one volume (checkout,
work folder, guest files) that the containers of its programs share, and one namespace on the session's broker.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import (
    Cancel,
    Companion,
    Environment,
    Image,
    Owner,
    StackFacts,
)
from bisect_celery.stack.brokers.namespace import Broker
from bisect_celery.stack.brokers.redis import RedisBroker
from bisect_celery.stack.brokers.sharing import Sharing
from bisect_celery.stack.compose import ours
from bisect_celery.stack.compose.described import Composition
from bisect_celery.stack.containers.available import (
    BROKERS,
    RABBITMQ,
    REGISTRY_DEADLINE,
    REMOTE_HINT,
    needed,
    present,
    unsaid,
)
from bisect_celery.stack.containers.beside import Beside
from bisect_celery.stack.containers.images import ContainerImages, Workshop
from bisect_celery.stack.containers.place import ContainerPlace, Room
from bisect_celery.stack.containers.rabbitmq import ContainerBroker
from bisect_celery.stack.containers.redis_broker import ContainerRedis
from bisect_celery.stack.containers.runner import Bench, ContainerRunner
from bisect_celery.stack.containers.services import Yard
from bisect_celery.stack.engine.about import about
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.endpoint import find
from bisect_celery.stack.engine.failures import IMAGE_HINT
from bisect_celery.stack.services.protocol import REDIS, Taken


class ContainerStack:
    """A `model.Stack` of containers. One a session."""

    def __init__(
        self,
        *,
        owner: Owner,
        state: Path,
        environ: Mapping[str, str],
        why: str,
        ca_bundle: Path | None = None,
        user_files: Mapping[str, Path] | None = None,
        services: Sequence[str] = (),
        more: bool = True,
        broker: str = RABBITMQ,
        companions: Sequence[Companion] = (),
        remote: bool = False,
        worker_files: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """`state` is a folder for what is packed; `environ` the caller's environment, of which images, limits and
        the package index's settings are taken; `ca_bundle` certificates of the company's own, for builds only, as are
        `user_files`, by where they stand in a build's home.
        `why` says in words why this stack was taken; `services` stand beside the broker, and `more` may come in later.
        `broker` is its kind, one of `BROKERS`; `companions` are those of the project's compose file.
        `worker_files` are (path, content) of what programs of trials find in their containers besides the code.
        `remote` says that the engine may be on another machine. Raises InfraError when no engine answers, UserError for
        one elsewhere that nobody asked for, and for a compose file that is not understood.
        """
        self._owner = owner
        self._state = state
        self._environ = dict(environ)
        self._why = why
        self._ca_bundle = ca_bundle
        self._user_files = dict(user_files or {})
        self._prefix = f"bisect-celery-{owner.session}-{secrets.token_hex(3)}"
        self._composition = ours.load(environ)
        self._names = {name: f"{self._prefix}-{name}" for name in self._composition.networks}
        self._names |= {name: fixed for name, fixed in self._composition.volumes.items() if fixed}
        endpoint = find(environ)
        if (why_not := unsaid(endpoint)) and not remote:
            raise UserError(f"The container stack cannot be had: {why_not}.", REMOTE_HINT)
        self._engine = Engine.connect(endpoint=endpoint)
        self._about = about(self._engine)
        self._cpus = self._about.processors
        self._machine = self._about.machine
        self._kind = broker
        self._broker: Broker | None = None
        self._runner: ContainerRunner | None = None
        self._own_images: ContainerImages | None = None
        self._tools_asked = False
        self._sharing = Sharing()
        yard = Yard(self._engine, owner, self._prefix, self._names, self._cpus)
        self._beside, self._more = Beside(yard, services, companions), more
        self._worker_files = tuple(worker_files)
        self.images: tuple[tuple[str, str], ...] = ()
        self.facts = self._describe()

    def _describe(self) -> StackFacts:
        images = ", ".join(dict.fromkeys(reference for reference, _ in self.images))
        return StackFacts(
            name="container",
            broker=self._kind,
            broker_version=self._broker.version if self._broker else "",
            emulated=False,
            why=self._why,
            walled=self._about.walls,
            detail="; ".join(filter(None, (self._about.name, *self._about.lacks, images))),
            services=self._beside.told(),
        )

    @property
    def runner(self) -> ContainerRunner:
        """Where environments are built. Raises InfraError before `start`: what it builds depends on the images."""
        if self._runner is None:
            raise InfraError("The container stack has not been started.")
        return self._runner

    def own_images(self) -> ContainerImages:
        """The project's own. Raises InfraError before `start`."""
        if self._own_images is None:
            raise InfraError("The container stack has not been started.")
        return self._own_images

    # --- up and down

    def start(self, cancel: Cancel) -> None:
        try:
            self._composition = self._with_images(cancel)
            self._runner = self._new_runner()
            self._own_images = self._new_images()
            for name, network in self._composition.networks.items():
                self._engine.create_network(self._names[name], network, labels(self._owner, "network"))
            self._broker = broker = self._new_broker()
            broker.start(cancel)
            self._beside.start(self._composition.services, broker, cancel)
            self.facts = self._describe()
        except BaseException:
            self.stop()
            raise

    def _new_broker(self) -> Broker:
        service = self._composition.services[BROKERS[self._kind]]
        made_from = (self._engine, service, self._owner, self._prefix, self._names, self._cpus)
        return RedisBroker(ContainerRedis(*made_from)) if self._kind == REDIS else ContainerBroker(*made_from)

    def _with_images(self, cancel: Cancel) -> Composition:
        """The composition with the images that the engine really has, pulled where need be."""
        services, images = {}, dict(self.images)
        for name, service in self._composition.services.items():
            if not needed(name, self._beside.kinds, self._kind):
                services[name] = service
                continue
            reference = self._image(name, service.image, cancel)
            services[name] = replace(self._about.fitted(service), image=reference)
            found = self._engine.image(reference)
            if found is None:
                raise InfraError(f"The image {reference} went away.", IMAGE_HINT)
            images[reference] = str(found["Id"])
        self.images = tuple(images.items())
        return replace(self._composition, services=services)

    def _image(self, service: str, image: str, cancel: Cancel) -> str:
        found = present(self._engine, service, image, self._environ)
        if found is not None:
            return found
        self._engine.pull(image, cancel)
        return image

    def _new_runner(self) -> ContainerRunner:
        service = self._composition.services["builder"]
        image = dict(self.images)[service.image].removeprefix("sha256:")[:12]
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ContainerRunner(
            Bench(
                engine=self._engine,
                service=service,
                owner=self._owner,
                prefix=self._prefix,
                names=self._names,
                spool=self._state,
                platform=f"container-{self._machine}-{image}",
                machine=self._machine,
                cpus=self._cpus,
                caller=self._environ,
                authorities=_read(self._ca_bundle),
                user_files={name: text for name, path in self._user_files.items() if (text := _read(path)) is not None},
            )
        )

    def _new_images(self) -> ContainerImages:
        worker = self._composition.services["worker"]
        shop = Workshop(self._engine, worker, self._owner, self._prefix, self._state, self._machine, self._environ)
        return ContainerImages(shop)

    def stop(self) -> None:
        """Take down broker, networks and what the runner keeps; the environments' volume stays for the next session.

        Everything is tried, whatever fails first. Raises the first failure.
        """
        with contextlib.ExitStack() as stops:
            stops.callback(self._engine.close)
            for name in self._composition.networks:
                stops.callback(self._engine.remove_network, self._names[name])
            stops.callback(self._beside.stop)
            if self._runner is not None:
                stops.callback(self._runner.close)
            if self._broker is not None:
                stops.callback(self._broker.stop)

    # --- services

    def serve(self, kind: str, cancel: Cancel) -> bool:
        if self._beside.has(kind):
            return True
        broker = self._broker
        if broker is not None and kind in broker.serves:
            return True
        if broker is None or not self._more or not self._obtainable(kind):
            return False
        self._beside.kinds.append(kind)
        self._composition = self._with_images(cancel)
        self._beside.join(kind, self._composition.services, broker, cancel)
        self.facts = self._describe()
        return True

    def _obtainable(self, kind: str) -> bool:
        image = self._composition.services[kind].image
        if present(self._engine, kind, image, self._environ) is not None:
            return True
        with self._engine.fresh(REGISTRY_DEADLINE) as asking:
            return asking.obtainable(image)

    # --- places

    @contextlib.contextmanager
    def place(
        self,
        name: str,
        layout: Path,
        environment: Environment,
        artifacts: Path,
        cancel: Cancel,
        *,
        alone: bool = False,
    ) -> Iterator[ContainerPlace]:
        made = self._made(name, layout, environment.image, artifacts, cancel, alone)
        with self._sharing.taken(alone, cancel), made as place:
            yield place

    @contextlib.contextmanager
    def _made(
        self, name: str, layout: Path, image: Image | None, artifacts: Path, cancel: Cancel, alone: bool
    ) -> Iterator[ContainerPlace]:  # fmt: skip
        broker = self._broker
        if broker is None:
            raise InfraError("The container stack has not been started.")
        if image is not None:
            self._bring_tools(cancel)
        artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as leaving:
            namespace = leaving.enter_context(broker.namespace(name, cancel, alone=alone))
            engine = leaving.enter_context(self._engine.fresh())
            slot = leaving.enter_context(self._beside.taken(engine, cancel))
            prefix = f"{self._prefix}-{re.sub(r'[^a-zA-Z0-9_.-]', '-', name)}"
            tools = self.runner.tools
            room = Room(
                self._composition, self._owner, prefix, self._names, self._cpus, self._state, slot, tools, image,
                self._worker_files, self._about.counts,
            )  # fmt: skip
            taken = Taken.of(self._beside.services(slot), name, cancel)
            leaving.callback(taken.drop)
            place = ContainerPlace(engine, room, layout, artifacts, namespace, taken)
            place.bindings = {**place.bindings, **self._beside.bindings(slot)}
            leaving.callback(place.stop)
            place.fill()
            yield place

    def _bring_tools(self, cancel: Cancel) -> None:
        """py-spy, which comes with the first environment that is built, or for the first image; it only explains."""
        if not self._tools_asked:
            self._tools_asked = True
            with contextlib.suppress(InfraError):
                self.runner.prepare(cancel)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InfraError(f"{path}, which builds need, cannot be read: {error.strerror}.") from error
