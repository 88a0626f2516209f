"""A Request from: flags over environment over bisect-celery.toml over [tool.bisect-celery] over detection."""

from __future__ import annotations

from bisect_celery.config.detect import Detected, detect
from bisect_celery.config.listing import FolderListing, Listing
from bisect_celery.config.load import Loaded, Variable, load
from bisect_celery.config.request import describe, to_request, told_of_message
from bisect_celery.config.settings import KEYS

__all__ = [
    "KEYS",
    "Detected",
    "FolderListing",
    "Listing",
    "Loaded",
    "Variable",
    "describe",
    "detect",
    "load",
    "to_request",
    "told_of_message",
]
