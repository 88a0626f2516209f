"""Sessions and trials, kept: `Store` (see `database`)."""

from bisect_celery.store.database import SCHEMA, Store, Summary
from bisect_celery.store.private import withheld

__all__ = ["SCHEMA", "Store", "Summary", "withheld"]
