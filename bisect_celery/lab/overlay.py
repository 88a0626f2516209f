"""A file of the user's put over a laid-out tree: into that tree and nowhere else, whatever links it commits."""

from __future__ import annotations

import shutil
from pathlib import Path

from bisect_celery.errors import InfraError
from bisect_celery.model import Overlay
from bisect_celery.repo.layout import LayoutFailed


def put(overlay: Overlay, layout: Path) -> None:
    """Copy the overlay's source to its target below `layout`, in place of what is there.

    Raises LayoutFailed when this tree has no room for it: a link that leads out of the tree, a file where a folder
    is wanted, a folder where the file is wanted. InfraError when it cannot be copied for another reason.
    """
    target = layout / overlay.target
    try:
        if not _leads_into(layout, target.parent):
            raise LayoutFailed(f"the overlay {overlay.target} would be written outside the tree")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            raise LayoutFailed(f"the overlay {overlay.target} is a folder in this tree")
        target.unlink(missing_ok=True)  # what is there may be a link: it is replaced, not written through
        shutil.copy(overlay.source, target)
    except (FileExistsError, NotADirectoryError) as error:
        raise LayoutFailed(f"the overlay {overlay.target} needs a folder where this tree has a file") from error
    except OSError as error:
        raise InfraError(f"The overlay {overlay.source} cannot be copied: {error.strerror}.") from error


def _leads_into(layout: Path, folder: Path) -> bool:
    try:
        return folder.resolve().is_relative_to(layout.resolve())
    except RuntimeError:  # links in a circle
        return False
