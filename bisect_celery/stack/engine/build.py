"""Building an image: by the docker client where it can have BuildKit do it (`docker buildx`, or a client of before 23
that brings its own), else through the engine's API by its classic builder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, ImageOrder, RunResult
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.failures import told

KEY_LABEL = "bisect-celery.image"
REPOSITORY = "bisect-celery/built"
BUILD_DEADLINE = 3600.0
ASK_DEADLINE = 20.0
STOP_DEADLINE = 10.0
LAST_WITH_ITS_OWN = 22
_DOCKERFILE = ".bisect-celery/Dockerfile"
_IGNORED = f"{_DOCKERFILE}\n.dockerignore\n"
_SHOWN = re.compile(r"^(?:#\d+ \[|Step \d+/\d+ :)")
# What the docker client is told of its engine, its credentials and its plugins; what a build may know of the way out.
_CLIENTS = ("HOME", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Builder:
    """What builds with: the engine, a folder for contexts, and the caller's environment."""

    engine: Engine
    spool: Path
    caller: Mapping[str, str]

    def build(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        """Build an image under its key. Raises InfraError when it cannot be built here, Cancelled."""
        client = buildkit_client(self.caller)
        podman = self._is_podman()
        if order.buildkit and client is None and not podman:
            raise InfraError(
                f"The Dockerfile needs BuildKit ({order.buildkit}), and the docker client here has none.",
                "`apt-get install docker-buildx` (docker-buildx-plugin in Docker's own packages) brings it.",
            )
        if client is None or podman:
            return self._classic(order, says, cancel)
        return self._by_client(client, order, says, cancel)

    def _is_podman(self) -> bool:
        """Podman's engine knows what BuildKit knows, and nothing of BuildKit's own protocol."""
        with self.engine.fresh() as engine, told("tell its version"):
            parts = engine.api.version().get("Components") or ()
        return any("podman" in str(one.get("Name", "")).lower() for one in parts)

    def _by_client(
        self, client: Sequence[str], order: ImageOrder, says: Callable[[str], None], cancel: Cancel
    ) -> RunResult:  # fmt: skip
        """Values of build arguments go by the environment: a command line is for everybody's eyes."""
        arguments = self._arguments(order)
        environment = proc.clean_environment(
            {name: value for name, value in self.caller.items() if name in _CLIENTS or name.startswith("DOCKER_")}
        )
        environment |= {"DOCKER_BUILDKIT": "1", **arguments}
        with tempfile.TemporaryDirectory(prefix="build-", dir=self.spool) as scratch:
            context, log = Path(scratch, "context"), Path(scratch, "log")
            _laid_out(order, context)
            dockerfile = Path(scratch, "Dockerfile")
            dockerfile.write_text(order.text, "utf-8")
            words = [*client, "--progress", "plain", "--file", str(dockerfile), "--tag", f"{REPOSITORY}:{order.key}"]
            words += ["--label", f"{KEY_LABEL}={order.key}", *(["--target", order.target] if order.target else [])]
            words += [word for name in arguments for word in ("--build-arg", name)]
            with log.open("wb") as file:
                running = proc.start([*words, str(context)], cwd=scratch, env=environment, stdout=file, stderr=file)
            try:
                told_of = _Told(log, says)
                ended = cancel.wait(lambda: told_of.more() or not running.alive(), BUILD_DEADLINE, poll=0.1)
            finally:
                running.stop()
            if not ended:
                raise _too_long()
            return RunResult(running.exit_code() or 0, log.read_text("utf-8", "replace"))

    def _arguments(self, order: ImageOrder) -> dict[str, str]:
        """The order's own, and proxies, which builders take without keeping them."""
        caller = self.caller
        proxies = {name: value for name, value in caller.items() if name.upper() in _PROXIES and value}
        return {**proxies, **dict(order.arguments)}

    def _classic(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        """In a thread: an answer that does not come must not keep us from being cancelled. An engine whose answer
        nobody listens to any more stops building."""
        answers: list[Any] = []
        written: list[str] = []
        failed: list[BaseException] = []
        code = [0]
        done = threading.Event()

        def work() -> None:
            try:
                with self.engine.fresh(BUILD_DEADLINE) as engine, _packed(order, self.spool) as archive:
                    engine.api.hooks["response"].append(lambda answer, *_, **__: answers.append(answer))
                    for line in self._asked(engine, order, archive):
                        if line.startswith(_ERROR):
                            code[0] = 1
                        written.append(line.removeprefix(_ERROR))
                        if _SHOWN.match(line):
                            says(line.strip()[:100])
            except BaseException as error:
                failed.append(error)
            finally:
                done.set()

        thread = threading.Thread(target=work, name=f"build-{order.key}", daemon=True)
        thread.start()
        try:
            if not cancel.wait(done.is_set, BUILD_DEADLINE):
                raise _too_long()
        finally:
            for answer in answers if not done.is_set() else ():
                _hang_up(answer)
            thread.join(STOP_DEADLINE)
        if failed:
            raise failed[0]
        return RunResult(code[0], "".join(written))

    def _asked(self, engine: Engine, order: ImageOrder, archive: object) -> Iterator[str]:
        with told("build an image"):
            events = engine.api.build(
                fileobj=archive, custom_context=True, dockerfile=_DOCKERFILE, tag=f"{REPOSITORY}:{order.key}",
                buildargs=self._arguments(order) or None, labels={KEY_LABEL: order.key}, target=order.target,
                rm=True, forcerm=True, decode=True,
            )  # fmt: skip
            for event in events:
                if "error" in event:
                    yield f"{_ERROR}{event['error']}\n"
                elif "stream" in event:
                    yield str(event["stream"])


_ERROR = "\0"


def _hang_up(answer: Any) -> None:
    """End an answer that is being waited for: closing it would wait, too."""
    with contextlib.suppress(AttributeError, OSError):
        answer.raw.connection.sock.shutdown(socket.SHUT_RDWR)


def _too_long() -> InfraError:
    return InfraError(
        f"An image was not built within {BUILD_DEADLINE / 60:g} minutes, and building it was stopped.",
        "`bisect-celery resume` tries again; the builder keeps the steps that were done.",
    )


class _Told:
    """Tells the steps of a builder's log as they come. Never true, so that it can stand in a condition."""

    def __init__(self, log: Path, says: Callable[[str], None]) -> None:
        self._log, self._says, self._at = log, says, 0

    def more(self) -> bool:
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(self._at)
            text = file.read()
            self._at += len(text)
            steps = [line for line in text.decode("utf-8", "replace").splitlines() if _SHOWN.match(line)]
            if steps:
                self._says(steps[-1][:100])
        return False


def buildkit_client(caller: Mapping[str, str]) -> tuple[str, ...] | None:
    """The words that build with BuildKit, of the first docker client on the PATH that can; None: none can."""
    for folder in dict.fromkeys(caller.get("PATH", os.defpath).split(os.pathsep)):
        docker = shutil.which("docker", path=folder)
        if docker is None:
            continue
        kept = {name: value for name, value in caller.items() if name in _CLIENTS or name == "DOCKER_CONFIG"}
        environment = proc.clean_environment(kept)
        with contextlib.suppress(InfraError):
            if proc.run([docker, "buildx", "version"], deadline=ASK_DEADLINE, env=environment, check=False).code == 0:
                return docker, "buildx", "build", "--load"
            words = [docker, "version", "--format", "{{.Client.Version}}"]
            version = proc.run(words, deadline=ASK_DEADLINE, env=environment, check=False).text()
            match = re.match(r"(\d+)\.", version)
            if match and int(match[1]) <= LAST_WITH_ITS_OWN:
                return docker, "build"
    return None


def _laid_out(order: ImageOrder, context: Path) -> None:
    """The context as a folder. Raises InfraError when it cannot be written."""
    context.mkdir()
    try:
        for path, source in order.files:
            target = context / path
            if source is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
    except OSError as error:
        raise InfraError(f"A build's context cannot be written: {error.strerror}.", "Is the disk full?") from error


@contextlib.contextmanager
def _packed(order: ImageOrder, spool: Path) -> Iterator[object]:
    """The context as an archive, with the Dockerfile in it, which the engine takes away again."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=spool) as scratch, tempfile.TemporaryFile(dir=spool) as file:
        context = Path(scratch, "context")
        _laid_out(order, context)
        (context / _DOCKERFILE).parent.mkdir(exist_ok=True)
        (context / _DOCKERFILE).write_text(order.text, "utf-8")
        (context / ".dockerignore").write_text(_IGNORED, "utf-8")
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(context, "", filter=_plain)
        file.seek(0)
        yield file


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owners and times are nobody's business, and the engine's cache does not look at times."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
