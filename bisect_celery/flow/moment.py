"""A folder for what is private and needed for a moment only, before there is a session that could own it.

Its name says whose it is from the moment it is there; what a killed process left goes at the next use.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bisect_celery import proc
from bisect_celery.home import private_folder
from bisect_celery.model import Owner

# A label's own separators are no part of names: one ends a folder's, the other a compose file's path.
_IN_NAMES, _IN_LABELS = str.maketrans("/:", "~+"), str.maketrans("~+", "/:")


@contextmanager
def for_a_moment(parent: Path) -> Iterator[Path]:
    """A folder below `parent` (made if need be; nothing else may be in it) that only this user reads, gone afterwards.

    Raises InfraError where it cannot be made.
    """
    for left in private_folder(parent).iterdir():
        owner = Owner.parse(left.name.translate(_IN_LABELS))
        if owner is None or not proc.is_alive(owner):
            shutil.rmtree(left, ignore_errors=True)
    pid = os.getpid()
    ours = Owner(proc.machine_id(), proc.boot_id(), pid, proc.start_time(pid) or 0, secrets.token_hex(4))
    folder = private_folder(parent / ours.label().translate(_IN_NAMES))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
