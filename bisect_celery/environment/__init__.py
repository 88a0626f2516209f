"""A project's dependencies, built once per resolved content, through the Runner that a stack hands over."""

from __future__ import annotations

from bisect_celery.environment.build import build
from bisect_celery.environment.dependencies import Dependencies, Kind
from bisect_celery.environment.facade import choose_python, detect_dependencies, source_roots, wanted_python
from bisect_celery.environment.local import LocalRunner
from bisect_celery.environment.resolve import EnvironmentFailed

__all__ = [
    "Dependencies",
    "EnvironmentFailed",
    "Kind",
    "LocalRunner",
    "build",
    "choose_python",
    "detect_dependencies",
    "source_roots",
    "wanted_python",
]
