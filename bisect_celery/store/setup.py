"""Django for the store alone: no manage.py, no settings module of anybody's, one database a file.

Only the store's own process uses these settings. `DJANGO_SETTINGS_MODULE` is never read: the caller's
environment may name the project under test, whose code must not be imported here (DESIGN 6).
Django is imported inside functions, so that importing the store costs nothing.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from bisect_celery.errors import InfraError

APP = "bisect_celery.store"
_lock = threading.Lock()
_ours = False

# FULL, not NORMAL: in WAL mode NORMAL may lose the last commits at a power cut (sqlite.org/wal.html),
# and a finished trial is minutes of somebody's time; it costs one fsync a trial.
PRAGMAS = "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON"


def configure(database: Path, wait: float = 15.0) -> str:
    """Make `database` known to Django and return its alias. `wait`: seconds to wait for another's lock.

    Idempotent for one file. Raises InfraError if somebody else configured Django in this process.
    """
    global _ours
    from django.conf import settings

    with _lock:
        if not _ours:
            if settings.configured:
                raise InfraError("Django was configured in this process before the store was opened")
            settings.configure(
                INSTALLED_APPS=[APP],
                DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
                LOGGING_CONFIG=None,
                USE_TZ=True,
            )
            _ours = True
        from django.apps import apps

        apps.populate(settings.INSTALLED_APPS)
        return _alias(database, wait)


def _alias(database: Path, wait: float) -> str:
    from django.db import connections

    alias = "store-" + hashlib.sha256(bytes(database)).hexdigest()[:16]
    wanted = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": database,
        "OPTIONS": {"timeout": wait, "transaction_mode": "IMMEDIATE", "init_command": PRAGMAS},
    }
    complete = connections.configure_settings({"default": {}, alias: wanted})
    connections.settings[alias] = complete[alias]
    return alias
