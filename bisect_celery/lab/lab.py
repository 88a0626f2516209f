"""The lab turns a tree into facts: layout → environment → place → worker → probes → observation."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.redact import Redactor
from bisect_celery.core.scenario import restarts_broker
from bisect_celery.environment.build import build
from bisect_celery.environment.facade import choose_python, disagreeing, source_roots
from bisect_celery.environment.images.image import image_environment
from bisect_celery.environment.resolve import EnvironmentFailed
from bisect_celery.errors import UserError
from bisect_celery.lab import migrated
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.earlier import Earlier, put, save
from bisect_celery.lab.kept import kept
from bisect_celery.lab.overlay import put as put_over
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import LEFT, Watch
from bisect_celery.lab.workload import LIBRARY, Workload
from bisect_celery.model import (
    Environment,
    Failure,
    Observation,
    Overlay,
    Place,
    Stack,
    Stage,
    Tree,
    WorkerImage,
)
from bisect_celery.repo.layout import LayoutFailed
from bisect_celery.repo.private import PrivateRepository

Looks = Callable[[Observation], bool]
Says = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """One trial to make: which tree, how, and how long to wait. `name` is unique in the session."""

    name: str
    tree: Tree
    plan: Plan
    deadlines: Deadlines
    looks_bad: Looks = lambda _: False


@dataclass(frozen=True)
class Made:
    """What a trial gave, how long it took (seconds), and where its artifacts are."""

    observation: Observation
    seconds: float
    artifacts: Path


class Lab:
    """Makes trials, up to `slots` at a time, each in a thread of its own. Closed, it leaves nothing running."""

    def __init__(
        self,
        repository: PrivateRepository,
        stack: Stack,
        folder: Path,
        scratch: Path,
        *,
        python: str | None,
        as_of: str,
        overlays: tuple[Overlay, ...],
        redactor: Redactor,
        cancel: Token,
        says: Says = lambda _: None,
        slots: int = 1,
        workload: Workload | None = None,
        worker_image: WorkerImage | None = None,
        tells: Says = lambda _: None,
    ) -> None:
        """`folder` keeps artifacts, `scratch` what goes after each trial. `as_of` dates unlocked dependencies.

        With a `workload` trees are revisions of a library, which that app uses. With a `worker_image` the environment
        is that image's, as each tree has it built. `says` hears what a trial does now, `tells` what is worth a line.
        """
        self.stack = stack
        self.earlier: Earlier | None = None  # what every trial begins with
        self._repository, self._folder, self._scratch = repository, folder, scratch
        self.python, self._as_of, self._overlays = python, as_of, overlays
        self.python_doubt: str | None = None
        self._redactor, self._cancel, self._says = redactor, cancel, says
        self.workload = workload
        self.worker_image, self._tells = worker_image, tells
        self.left_out: dict[str, None] = {}  # commands of Dockerfiles that no build ran
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="slot")

    def make(self, order: Order) -> Made:
        """One trial, in a slot. Raises InfraError, Cancelled; whatever it raises, nothing of the trial is left."""
        future: Future[Made] = self._pool.submit(self._make, order)
        while not future.done():
            with contextlib.suppress(TimeoutError):
                return future.result(timeout=0.2)
        return future.result()

    def _make(self, order: Order) -> Made:
        began = time.monotonic()
        artifacts = self._folder / order.name
        try:
            with self._laid_out(order) as (layout, environment, plan):
                observation = self._watch(order, plan, layout, environment, artifacts)
        except EnvironmentFailed as failed:
            observation = Observation(until=time.monotonic() - began, failure=failed.failure, ended="failure")
        except UserError as refused:
            # This tree wants what is not here, such as another Python: a fact about the tree, not about the session.
            failure = Failure(Stage.ENVIRONMENT, refused.message)
            observation = Observation(until=time.monotonic() - began, failure=failure, ended="failure")
        except LayoutFailed as failed:
            failure = Failure(Stage.LAYOUT, str(failed))
            observation = Observation(until=time.monotonic() - began, failure=failure, ended="failure")
        finally:
            self._redact_files(artifacts)
        observation = kept(observation, order.plan.probe, self._redactor.exact)
        return Made(observation, round(time.monotonic() - began, 2), artifacts)

    def _watch(self, order: Order, plan: Plan, layout: Path, environment: Environment, artifacts: Path) -> Observation:
        with self._place(order, layout, environment, artifacts) as place:
            return self._watcher(place, order, plan, environment).run()

    def leave(self, order: Order, folder: Path) -> tuple[Observation, Earlier | None]:
        """Run a tree once and keep what it leaves behind in `folder`; None when it does not come so far.

        Begins clean, whatever later trials begin with. Raises EnvironmentFailed, LayoutFailed, InfraError, Cancelled.
        """
        artifacts = self._folder / order.name
        with (
            self._redacted(artifacts),
            self._laid_out(order) as (layout, environment, plan),
            self._place(order, layout, environment, artifacts, clean=True) as place,
        ):
            seen = self._watcher(place, order, replace(plan, scenario=()), environment).leave()
            last = max((message.wave for message in seen.messages), default=0)
            earlier = save(place, order.tree, seen, last, folder) if seen.ended == LEFT else None
        if earlier is not None and earlier.messages < len(earlier.ids):
            return seen, None
        return kept(seen, order.plan.probe, self._redactor.exact), earlier

    @contextlib.contextmanager
    def _place(
        self, order: Order, layout: Path, environment: Environment, artifacts: Path, *, clean: bool = False
    ) -> Iterator[Place]:
        alone = restarts_broker(order.plan.scenario)
        with self.stack.place(order.name, layout, environment, artifacts, self._cancel, alone=alone) as place:
            if self.earlier is not None and not clean:
                put(self.earlier, place)
            yield place

    def _watcher(self, place: Place, order: Order, plan: Plan, environment: Environment) -> Watch:
        self._says("probing")
        passwords = (value for name, value in place.bindings.items() if name.endswith("_password"))
        self._redactor.learn(filter(None, (urlsplit(place.broker_url).password, *passwords)))
        return Watch(
            place,
            plan,
            environment,
            order.deadlines,
            self._cancel,
            walled=self.stack.facts.walled,
            looks_bad=order.looks_bad,
            learn_secrets=self._redactor.learn,
            left=self.earlier.ids if self.earlier is not None else (),
        )

    def serve(self, kind: str) -> bool:
        """Have a service beside the broker from now on; False where it cannot be had. Raises InfraError, Cancelled."""
        return self.stack.serve(kind, self._cancel)

    def choose_python(self, tree: str, subfolder: str) -> str | None:
        """The interpreter for a whole session (DESIGN 15): what this tree's files ask for, of those that are here.

        Every later trial takes it; None where it is an image's own. Where the files contradict one another,
        `python_doubt` says so. Raises UserError when nothing fits.
        """
        if self.worker_image is not None:
            return None
        layout = self._scratch / "trees" / "python"
        try:
            self._lay_out(tree, layout)
            self.python, version, source = choose_python(layout, subfolder, self.stack.runner)
            others = disagreeing(layout, subfolder, version)
            if others:
                said = ", ".join(f"{file} says {wanted}" for wanted, file in others)
                self.python_doubt = f"Python {version}, by {source}; {said} (`--python` chooses)."
        finally:
            shutil.rmtree(layout, ignore_errors=True)
        return self.python

    @contextlib.contextmanager
    def kept(self, order: Order) -> Iterator[tuple[Place, Environment, Observation]]:
        """The same trial, but its place stays up until the block is left: for `reproduce`."""
        artifacts = self._folder / order.name
        with (
            self._redacted(artifacts),
            self._laid_out(order) as (layout, environment, plan),
            self._place(order, layout, environment, artifacts) as place,
        ):
            seen = self._watcher(place, order, plan, environment).run()
            yield place, environment, kept(seen, order.plan.probe, self._redactor.exact)

    @contextlib.contextmanager
    def _laid_out(self, order: Order) -> Iterator[tuple[Path, Environment, Plan]]:
        layout = self._scratch / "trees" / order.name
        shutil.rmtree(layout, ignore_errors=True)
        try:
            self._says("laying out")
            self._lay_out(order.tree.sha, layout)
            self._overlay(layout)
            self._says("environment")
            environment = self._environment(layout, order.plan.subfolder)
            roots = source_roots(layout, order.plan.subfolder, self._library)
            plan = replace(order.plan, source_roots=roots)
            # What an older revision left is what a migration is for: a copy of another database would take its place.
            key = migrated.key(layout, plan, environment) if self.earlier is None else None
            yield layout, environment, replace(plan, database_key=key)
        finally:
            shutil.rmtree(layout, ignore_errors=True)

    def _environment(self, layout: Path, subfolder: str) -> Environment:
        """Built, or known to be built, for the tree laid out at `layout`: of its dependencies, or as its image."""
        images = self.stack.own_images() if self.worker_image is not None else None
        if self.worker_image is not None and images is not None:
            found = image_environment(
                layout,
                self.worker_image,
                subfolder=subfolder,
                overlays=frozenset(one.target for one in self._overlays),
                images=images,
                cancel=self._cancel,
                says=self._says,
                tells=self._tells,
            )
            self.left_out |= dict.fromkeys(found.image.left_out if found.image is not None else ())
            return found
        return build(
            layout,
            subfolder=subfolder,
            python=self.python,
            as_of=self._as_of,
            runner=self.stack.runner,
            cancel=self._cancel,
            on_progress=self._tells,
            library=self._library,
        )

    @property
    def _library(self) -> str:
        """Where in a laid-out tree a library's revision stands ("": none is under test)."""
        return LIBRARY if self.workload is not None else ""

    def _lay_out(self, tree: str, layout: Path) -> None:
        layout.parent.mkdir(parents=True, exist_ok=True)
        if self.workload is None:
            self._repository.layout(tree, layout, self._cancel)
        else:
            self.workload.lay_out(layout, lambda inside: self._repository.layout(tree, inside, self._cancel))

    def _overlay(self, layout: Path) -> None:
        for overlay in self._overlays:
            put_over(overlay, layout)

    @contextlib.contextmanager
    def _redacted(self, artifacts: Path) -> Iterator[None]:
        try:
            yield
        finally:
            self._redact_files(artifacts)

    def _redact_files(self, artifacts: Path) -> None:
        """Programs' outputs stay as artifacts, and no secret stays in them."""
        if not artifacts.is_dir():
            return
        for path in artifacts.iterdir():
            text = path.read_text("utf-8", "replace")
            clean = self._redactor(text)
            if clean != text:
                path.write_text(clean, "utf-8")

    def close(self) -> None:
        """Wait for the slots to come back; cancelling is the caller's."""
        self._pool.shutdown(wait=True, cancel_futures=True)
