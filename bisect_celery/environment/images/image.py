"""The environment that an image is: built from the tree's Dockerfile once for each content of what it reads, or given.

What is in it is asked of it: which Python has Celery, and which packages that one has.
"""

from __future__ import annotations

import json
import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bisect_celery.environment import uv, virtualenv
from bisect_celery.environment.images.recipe import Recipe, needs_buildkit, recipe
from bisect_celery.environment.resolve import EnvironmentFailed
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import (
    Build,
    Cancel,
    Environment,
    Failure,
    Image,
    ImageFacts,
    ImageOrder,
    Images,
    Stage,
    WorkerImage,
)

LOOK_DEADLINE = 120.0
# Folders of every system: no code of the project's alone, so none of them is shared between a trial's programs.
_SYSTEM = re.compile(
    r"/(?:bin|boot|dev|etc|home|lib(?:64)?|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|trial|var(?:/lib)?"
    r"|usr(?:/(?:bin|lib|src|share|local(?:/(?:bin|lib|share))?))?)?"
)
_UNREACHABLE = re.compile(
    r"Temporary failure (?:in name )?resol|Could not (?:resolve|connect)|Unable to connect|Network is unreachable|"
    r"i/o timeout|TLS handshake timeout|no such host|connection refused|Connection timed out|context deadline exceeded|"
    r"Client\.Timeout|temporary error \(try again later\)|network error \(check Internet connection",
    re.I,
)
_NO_IMAGE = re.compile(r"pull access denied|manifest unknown|repository does not exist|not found: manifest", re.I)

# Asked of each Python that may be meant, until one has Celery. Runs in any from 2.7 on.
_LOOK = r"""
import json, os, site, sys
try:
    from importlib import metadata
    found = [(d.metadata["Name"] or "", d.version, d.read_text("direct_url.json")) for d in metadata.distributions()]
except ImportError:
    import pkg_resources
    found = [(d.project_name, d.version, None) for d in pkg_resources.working_set]
names = [name.lower() for name, version, url in found]
if "celery" not in names:
    sys.exit(3)
own = os.path.dirname(sys.executable)
path = [own] + os.environ.get("PATH", os.defpath).split(os.pathsep)
have = [folder for folder in path if os.access(os.path.join(folder, "celery"), os.X_OK)]
user = site.getuserbase() if getattr(site, "ENABLE_USER_SITE", False) else ""
sys.stdout.write("\n" + json.dumps({
    "python": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "bin": (have or [own])[0],
    "packages": sorted([name, version] for name, version, url in found if name), "uid": os.getuid(),
    "user": user if user and os.path.isdir(user) else "", "prefix": sys.prefix,
    "installed": [[name, url] for name, version, url in found if url and "file://" in url],
}) + "\n")
"""
_EVERY = r"""
for python in python python3 "$PWD"/.venv/bin/python "$PWD"/venv/bin/python "$PWD"/env/bin/python \
  /venv/bin/python /opt/venv/bin/python /env/bin/python /.venv/bin/python /app/.venv/bin/python /opt/*/bin/python \
  "$HOME"/.cache/pypoetry/virtualenvs/*/bin/python "$HOME"/.local/share/virtualenvs/*/bin/python python2.7 python2
do
  if command -v "$python" >/dev/null 2>&1; then "$python" -c "$0" && exit 0; fi
done
exit 3
"""

NO_BASE = (
    "`docker pull` or `docker login` for it, `--build-arg` where the Dockerfile takes its name; `--image none` "
    "installs the dependencies from the project's other files instead, `--stack process` needs no image at all."
)
Says = Callable[[str], None]


def image_environment(
    layout: Path,
    worker: WorkerImage,
    *,
    subfolder: str,
    overlays: frozenset[str],
    images: Images,
    cancel: Cancel,
    says: Says = lambda _: None,
    tells: Says = lambda _: None,
) -> Environment:
    """The environment of the tree at `layout` in the image that `worker` names or says how to build.

    `overlays` are files of the layout that were copied into it. `says` hears each step of a build, `tells` one sentence
    about it and how long it took. Raises EnvironmentFailed where the tree's Dockerfile
    does not build or gives no Celery, UserError for a ready image that cannot serve, InfraError for the machine's.
    """
    if worker.build is not None:
        return _built(layout, worker.build, subfolder, overlays, _Bench(images, cancel, says, tells))
    return _ready(layout, worker.image or "", images, cancel)


def unfit(reference: str, images: Images, cancel: Cancel) -> str | None:
    """Why a ready image cannot serve, in a sentence; None where it can. Raises Cancelled."""
    try:
        _examined(reference, images, cancel)
    except (UserError, InfraError) as error:
        return error.message
    return None


@dataclass(frozen=True)
class _Bench:
    """What an image is built with."""

    images: Images
    cancel: Cancel
    says: Says
    tells: Says


def _built(layout: Path, build: Build, subfolder: str, overlays: frozenset[str], bench: _Bench) -> Environment:
    images = bench.images

    def base(reference: str) -> ImageFacts:
        try:
            found = images.known(reference, bench.cancel)
        except InfraError as error:
            raise InfraError(f"{build.dockerfile} begins with {reference}. {error.message}", NO_BASE) from error
        if found is None:
            reason = f"{build.dockerfile} begins with {reference}, and there is no such image."
            raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason, missing=(("image", reference),)))
        return found

    try:
        made = recipe(layout, build, base, overlays)
    except FileNotFoundError:
        reason = f"There is no {build.dockerfile} (`--image none` installs from the project's other files)."
        raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason)) from None
    key = made.key(layout, images.platform)
    facts = images.built(key)
    if facts is None:
        _build(layout, build, made, key, bench)
        facts = images.built(key)
    if facts is None:
        raise InfraError("An image went away right after it was built.", "Is something removing images?")
    look = _looked(facts.id, images, bench.cancel)
    if look is None:
        reason = f"The image of {build.dockerfile} has no Python with Celery that could be found."
        raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason, missing=(("package", "celery"),)))
    folder = made.folder_of(subfolder) or facts.folder or "/"
    root = made.folder_of(build.context) or folder
    if not _within(folder, root):
        root = folder
    image = Image(
        facts.id,
        folder,
        None if _SYSTEM.fullmatch(root) else root,
        made.laid,
        _number(look),
        _variables(facts, look),
        left_out=made.left_out,
    )
    return _environment(key, look, image)


def _build(layout: Path, build: Build, made: Recipe, key: str, bench: _Bench) -> None:
    bench.tells(_sentence(build, made))
    began = time.monotonic()
    files = tuple((path, layout / source if source is not None else None) for path, source in made.context)
    order = ImageOrder(key, made.text, files, made.arguments, made.target, needs_buildkit(made.text))
    result = bench.images.build(order, bench.says, bench.cancel)
    if result.code == 0:
        bench.tells(f"Built in {time.monotonic() - began:.0f} s; revisions that change nothing of it share the image.")
        return
    lines = uv.last_lines(result.text)
    shown = "\n".join(lines[-4:])
    if virtualenv.whose(1, result.text) is uv.Trouble.DISK:
        raise InfraError("The engine's disk is full.", "`docker system df` shows by what.")
    if _NO_IMAGE.search(result.text):
        reason = f"An image that {build.dockerfile} begins with is not there."
        raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason, lines=lines))
    if _UNREACHABLE.search(result.text) or virtualenv.whose(1, result.text) is uv.Trouble.UNREACHABLE:
        raise InfraError(
            f"What {build.dockerfile} fetches cannot be reached:\n{shown}",
            "Check the network, then `bisect-celery resume`; `--build-arg NAME` hands on what the Dockerfile takes.",
        )
    lacking = tuple(uv.lacks(result.text))
    reason = f"{build.dockerfile} does not build: {_last_error(lines)}"
    raise EnvironmentFailed(Failure(Stage.ENVIRONMENT, reason, missing=lacking, lines=lines))


def _sentence(build: Build, made: Recipe) -> str:
    words = f"Building {build.dockerfile}"
    if made.whole:
        words += f", for this content of the code alone: {made.whole[0]}"
    if made.left_out:
        words += f", without `{made.left_out[0]}`" + (" and more" if len(made.left_out) > 1 else "")
    return words


def _last_error(lines: tuple[str, ...]) -> str:
    said = [line for line in lines if re.search(r"error|failed|not found|returned a non-zero", line, re.I)]
    return (said or list(lines) or ["it said nothing"])[-1].strip()


def _examined(reference: str, images: Images, cancel: Cancel) -> tuple[ImageFacts, Mapping[str, object], str]:
    """What is known of a ready image, and the folder of its code. Raises UserError where it cannot serve."""
    facts = images.known(reference, cancel)
    if facts is None:
        raise UserError(f"There is no image {reference}.", "`docker pull`, or another name for `--image`.")
    look = _looked(facts.id, images, cancel)
    if look is None:
        raise UserError(f"The image {reference} has no Python with Celery that could be found.", "`--dockerfile`")
    fixed = [name for name, url in _pairs(look["installed"]) if "dir_info" in url and '"editable": true' not in url]
    if fixed:
        raise UserError(
            f"The image {reference} has a copy of code installed ({', '.join(fixed)}), which every tree would run.",
            "Use `--dockerfile`, which builds it anew where need be, or an image with the dependencies alone.",
        )
    root = facts.folder or "/"
    if _SYSTEM.fullmatch(root):
        root = "/code"
    if _within(str(look["prefix"]), root):
        raise UserError(
            f"The environment in the image {reference} stands among its code, in {root}.",
            "Use `--dockerfile`, which tells them apart.",
        )
    return facts, look, root


def _ready(layout: Path, reference: str, images: Images, cancel: Cancel) -> Environment:
    """An image as it is: its packages, and the whole tree where it has its code, which nothing is seen of."""
    facts, look, root = _examined(reference, images, cancel)
    files = tuple(
        (path.relative_to(layout).as_posix(), posixpath.join(root, path.relative_to(layout).as_posix()))
        for path in sorted(layout.rglob("*"))
        if path.is_symlink() or path.is_file()
    )
    image = Image(facts.id, root, root, files, _number(look), _variables(facts, look), bare=True)
    return _environment(facts.id, look, image)


def _looked(image: str, images: Images, cancel: Cancel) -> Mapping[str, object] | None:
    """What the Python of an image that has Celery says of itself."""
    for argv in (("sh", "-c", _EVERY, _LOOK), ("python", "-c", _LOOK), ("python3", "-c", _LOOK)):
        result = images.run(image, argv, LOOK_DEADLINE, cancel)
        for line in reversed(result.text.splitlines() if result.code == 0 else []):
            if line.startswith("{"):
                found: Mapping[str, object] = json.loads(line)
                return found
        if result.code != 127:
            return None
    return None


def _environment(key: str, look: Mapping[str, object], image: Image) -> Environment:
    return Environment(key, str(look["python"]), str(look["bin"]), tuple(_pairs(look["packages"])), image=image)


def _pairs(listed: object) -> Iterator[tuple[str, str]]:
    assert isinstance(listed, list)
    yield from ((str(first), str(second)) for first, second in listed)


def _variables(facts: ImageFacts, look: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """The image's ENV; where packages stand in the user's home, which is another in a trial, that place is named."""
    user = str(look["user"])
    return (*facts.environment, *((("PYTHONUSERBASE", user),) if user else ()))


def _number(look: Mapping[str, object]) -> int:
    return int(str(look["uid"]))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
