"""The one sentence that is believed: the cause is told as the cause, and the fix as the fix."""

from __future__ import annotations

import pytest

from bisect_celery.flow.tell import headline
from bisect_celery.model import Atom, AtomKind, Culprit, Revision

REVISION = Revision("a" * 40, "b" * 40, "Tidy", "Mara", "2026-03-07T10:00:00+00:00", ())
COLUMN = Atom(1, AtomKind.HUNK, "models.py", "@@ -27,0 +28 @@", ("+    children",))
TABLE = Atom(2, AtomKind.HUNK, "models.py", "@@ -38,0 +40 @@", ("+    'children': self.children",))


@pytest.mark.parametrize(
    ("cause", "fix", "said"),
    [
        ((COLUMN,), (COLUMN,), "broke it, by one change in models.py; putting that back cures it."),
        ((COLUMN,), (COLUMN, TABLE), "by one change in models.py; taking back 2 changes in models.py cures it."),
        ((COLUMN,), (TABLE,), "by one change in models.py; taking back one change in models.py cures it."),
        ((), (COLUMN, TABLE), "broke it, by 2 changes in models.py; putting that back cures it."),
        ((COLUMN,), (), "broke it."),
    ],
)
def test_cause_and_fix_are_told_apart(cause: tuple[Atom, ...], fix: tuple[Atom, ...], said: str) -> None:
    assert headline(Culprit(REVISION, cause, fix)).endswith(said)
