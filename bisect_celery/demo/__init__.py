"""The demo incident: a small repository whose workers hang, written out afresh wherever it is wanted."""

from __future__ import annotations

from bisect_celery.demo.incident import Incident, write_incident

__all__ = ["Incident", "write_incident"]
