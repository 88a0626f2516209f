"""What must not lie in the database in clear: environment values and secrets.

Names stay; a value becomes a keyed hash, so that two sessions can be compared and a digest can stand for
a value (DESIGN 18), while a copied database tells nothing: the key lies in a file of its own, mode 0600.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import os
import re
import secrets
import shlex
from collections.abc import Iterable
from pathlib import Path

from bisect_celery.model import Redact, Request, Session, WorkerImage
from bisect_celery.store.codec import each_text

KEY_BYTES = 32
# A NUL cannot be in any environment: whoever passes a withheld value on to a program is stopped at once.
MARK = "\0withheld:"
GONE = "***"
Pairs = tuple[tuple[str, str], ...]
OBJECT_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Shorter ones are in half of all words; what is so short is found by its variable's name.
SHORTEST = 4


class Keyring:
    """The key beside a database. Raises OSError when it can neither be read nor made."""

    def __init__(self, path: Path) -> None:
        self._key = _read_or_make(path)

    def fingerprint(self, text: str) -> str:
        """A keyed hash (HMAC-SHA-256, hex): equal texts, equal hashes, and no way back without the key."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def withhold(self, request: Request) -> Request:
        """The request with every environment value replaced by its marked hash, no contents of files, no secrets."""
        return dataclasses.replace(
            request,
            environment=self._marked(request.environment),
            secrets=(),
            worker_image=self._image(request),
            companions=tuple(
                dataclasses.replace(one, environment=self._marked(one.environment), files=_names(one.files))
                for one in request.companions
            ),
            worker_files=_names(request.worker_files),
        )

    def _marked(self, pairs: Pairs) -> Pairs:
        return tuple((name, value if withheld(value) else self.mark(name, value)) for name, value in pairs)

    def _image(self, request: Request) -> WorkerImage | None:
        """The image without the values of its build's arguments."""
        image = request.worker_image
        if image is None or image.build is None:
            return image
        return dataclasses.replace(
            image, build=dataclasses.replace(image.build, args=self._marked(_arguments(request)))
        )

    def mark(self, name: str, value: str) -> str:
        return MARK + self.fingerprint(f"{name}={value}")


def _names(files: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Files without what is in them, which may be a password."""
    return tuple((path, b"") for path, _ in files)


def withheld(value: str) -> bool:
    """True for an environment value that was not stored: it is a mark, not a value."""
    return value.startswith(MARK)


def scrub(session: Session, redact: Redact) -> Session:
    """The session without its request's secrets and `NAME=value` of its environment in any text.

    What git names and what the session is called stay: a short secret may be in them by chance, and they
    tell nothing.
    """
    replacements = _replacements(session.request)

    def clean(text: str) -> str:
        if withheld(text) or OBJECT_NAME.fullmatch(text):
            return text
        return redact(_replace(text, replacements))

    return dataclasses.replace(each_text(session, clean), id=session.id)


def _replacements(request: Request) -> tuple[tuple[str, str], ...]:
    """(text, put instead), longest first, so that no part of one is left over by another."""
    found: dict[str, str] = {}
    theirs = (pair for one in request.companions for pair in one.environment)
    for name, value in (*request.environment, *_arguments(request), *theirs):
        if value and not withheld(value):
            found[shlex.quote(f"{name}={value}")] = f"{name}={GONE}"
            found[f"{name}={value}"] = f"{name}={GONE}"
            found[f"{name}={shlex.quote(value)}"] = f"{name}={GONE}"
    for secret in request.secrets:
        if len(secret) >= SHORTEST:
            found[shlex.quote(secret)] = GONE
            found[secret] = GONE
    return tuple(sorted(found.items(), key=lambda item: -len(item[0])))


def _arguments(request: Request) -> tuple[tuple[str, str], ...]:
    image = request.worker_image
    return image.build.args if image is not None and image.build is not None else ()


def _replace(text: str, replacements: Iterable[tuple[str, str]]) -> str:
    for part, instead in replacements:
        text = text.replace(part, instead)
    return text


def _read_or_make(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    # made aside and linked into place: another process sees no key or a whole one, and only the first counts
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return path.read_bytes()
