"""What goes wrong at the engine, as one sentence and what to do: the SDK's errors become InfraError here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import docker.errors
import requests.exceptions
import urllib3.exceptions

from bisect_celery.errors import Cancelled, InfraError

IMAGE_HINT = (
    "Set BISECT_CELERY_RABBITMQ_IMAGE and BISECT_CELERY_WORKER_IMAGE to images that the engine has, "
    "or make stand-ins with `sudo scripts/build-images`; `--stack process` needs no container."
)
ENGINE_HINT = "`docker version` shows whether the engine answers; `bisect-celery resume` goes on when it does."

# What the SDK lets through when the engine goes away in the middle of an answer.
BROKEN = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


@contextlib.contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn the SDK's errors into InfraError: "The container engine could not <doing>: why"."""
    try:
        yield
    except (InfraError, Cancelled):
        raise
    except docker.errors.APIError as error:
        why = str(error.explanation or error).strip().rstrip(".")
        raise InfraError(f"The container engine could not {doing}: {why}.", _hint(why)) from error
    except BROKEN as error:
        why = _plainly(error)
        raise InfraError(f"The container engine does not answer; asked to {doing}: {why}.", ENGINE_HINT) from error


def _plainly(error: BaseException) -> str:
    """What went wrong, without how often and on what connection it was tried."""
    words = re.sub(r"\s+", " ", str(error))
    return words.partition("(Caused by ")[2][:200] or words[:200] or type(error).__name__


def _hint(why: str) -> str:
    if "address pool" in why:
        return "Too many networks; `docker network prune` removes the unused ones."
    if "no space left" in why:
        return "The engine's disk is full; `docker system df` shows by what."
    return ENGINE_HINT


@contextlib.contextmanager
def gone_is_fine() -> Iterator[None]:
    """Let pass that something is not there any more, not running, or already being removed."""
    try:
        yield
    except docker.errors.APIError as error:
        # Podman's own words come with the status 500.
        if error.status_code not in (304, 404, 409) and "container state improper" not in str(error.explanation):
            raise
