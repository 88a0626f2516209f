"""The image that a user wants trials to run in: a ready one, or one that each tree's Dockerfile builds."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bisect_celery.config import secret
from bisect_celery.config.listing import Listing
from bisect_celery.config.load import Loaded, relative
from bisect_celery.errors import UserError
from bisect_celery.model import Build, Request, WorkerImage

NONE = "none"
OF_A_BUILD = ("build-context", "target", "build-arg")
_COPY = re.compile(r"^\s*(?:COPY|ADD)\s+((?:--(?!from)\S+\s+)*)([^\[\s-]\S*(?:\s+\S+)*)\s+\S+\s*$", re.I | re.M)


def with_image(request: Request, loaded: Loaded, listing: Listing, caller: Mapping[str, str]) -> Request:
    """The request with the image that was asked for, if any; what only builds may know is a secret. Raises UserError.

    `listing` is of the BAD revision: the Dockerfile has to be there.
    """
    image, dockerfile = loaded.text("image"), loaded.settings.get("dockerfile")
    if image is not None and dockerfile is not None:
        raise UserError("`--image` is a ready image, and `--dockerfile` builds one.", "Leave one of them out.")
    if image == NONE:
        return dataclasses.replace(request, worker_image=None)
    if image is not None:
        return dataclasses.replace(request, worker_image=WorkerImage(image=image))
    if not isinstance(dockerfile, Path):
        said = [key for key in OF_A_BUILD if key in loaded.settings]
        if said and (request.worker_image is None or request.worker_image.build is None):
            raise UserError(
                f"`--{said[0]}` says how an image is built, and none is.", "Name the `--dockerfile` as well."
            )
        return _more(request, loaded, caller) if said else request
    if request.workload is not None:
        raise UserError(
            "A library under test goes into its app's own dependencies, and `--dockerfile` has them built otherwise.",
            "Leave `--dockerfile` out, or `--workload`.",
        )
    path = relative(dockerfile, loaded.root)
    if path is None:
        raise UserError(f"{dockerfile} is not in the repository.", "Each revision's own Dockerfile is built.")
    found = listing.read(path)
    if found is None:
        raise UserError(
            f"There is no {path} in the BAD revision.", "Name the Dockerfile: `--dockerfile docker/Dockerfile`."
        )
    context = _context(path, found.decode("utf-8", "replace"), listing.paths())
    build = Build(context=context, dockerfile=path)
    return _more(dataclasses.replace(request, worker_image=WorkerImage(build=build)), loaded, caller)


def _more(request: Request, loaded: Loaded, caller: Mapping[str, str]) -> Request:
    """What was said about the build besides its Dockerfile."""
    build = request.worker_image.build if request.worker_image is not None else None
    assert build is not None
    folder = loaded.settings.get("build-context")
    if isinstance(folder, Path):
        context = relative(folder, loaded.root)
        if context is None:
            raise UserError(f"{folder} is not in the repository.", "`--build-context` names a folder of it.")
        build = dataclasses.replace(build, context=context)
    if (target := loaded.text("target")) is not None:
        build = dataclasses.replace(build, target=target)
    arguments, secrets = dict(build.args), list(request.secrets)
    for name, value in loaded.get("build-arg", tuple, ()):
        if value is None and name not in caller:
            raise UserError(
                f"`--build-arg {name}` takes {name} from here, and it is not set.", f"`--build-arg {name}=…`"
            )
        arguments[name] = caller[name] if value is None else value
        secrets += secret.of_variable(name, arguments[name], private=value is None)
    build = dataclasses.replace(build, args=tuple(arguments.items()))
    return dataclasses.replace(request, worker_image=WorkerImage(build=build), secrets=secret.unique(secrets))


def _context(dockerfile: str, text: str, paths: Sequence[str]) -> str:
    """The nearest folder, from the Dockerfile's own up, in which all that it copies is found; its own where none is."""
    names = [
        word for match in _COPY.finditer(text) for word in match[2].split() if "$" not in word and "://" not in word
    ]
    wanted = [posixpath.normpath(name.lstrip("/")) for name in names if not re.search(r"[*?\[<]", name)]
    known = {*paths, *(parent for path in paths for parent in _parents(path))}
    own = folder = posixpath.dirname(dockerfile)
    while True:
        if all(name == "." or posixpath.join(folder, name) in known for name in wanted):
            return folder
        if not folder:
            return own
        folder = posixpath.dirname(folder)


def _parents(path: str) -> list[str]:
    found = []
    while path := posixpath.dirname(path):
        found.append(path)
    return found
