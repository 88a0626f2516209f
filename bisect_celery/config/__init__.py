"""A Request from: flags over environment over bisect-celery.toml over [tool.bisect-celery] over detection."""

from __future__ import annotations

from bisect_celery.config.compose import Composed, understood
from bisect_celery.config.compose import Read as ReadCompose
from bisect_celery.config.compose_text import files_beside, files_named, filled_in, order_of, usual_files
from bisect_celery.config.detect import Detected, detect
from bisect_celery.config.dotenv import variables_of
from bisect_celery.config.example import as_copied, fallback, our_word_for, stand_in
from bisect_celery.config.handed import handed_paths
from bisect_celery.config.images import with_image
from bisect_celery.config.listing import FolderListing, Listing
from bisect_celery.config.load import Loaded, Variable, load, relative
from bisect_celery.config.request import STOOD_IN, describe, led_to_ours, to_request, told_of_compose, told_of_message
from bisect_celery.config.settings import KEYS

__all__ = [
    "KEYS",
    "STOOD_IN",
    "Composed",
    "Detected",
    "FolderListing",
    "Listing",
    "Loaded",
    "ReadCompose",
    "Variable",
    "as_copied",
    "describe",
    "detect",
    "fallback",
    "files_beside",
    "files_named",
    "filled_in",
    "handed_paths",
    "led_to_ours",
    "load",
    "order_of",
    "our_word_for",
    "relative",
    "stand_in",
    "to_request",
    "told_of_compose",
    "told_of_message",
    "understood",
    "usual_files",
    "variables_of",
    "with_image",
]
