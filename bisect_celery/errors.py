"""The two ways something can end that is not an answer: the user's to mend, or the machine's.

Neither is ever a verdict. A `UserError` is one sentence and what to do next; an `InfraError` says
that the harness or the machine failed, so that the session stops, resumable, with nothing stored as
evidence.
"""

from __future__ import annotations


class UserError(Exception):
    """Input that cannot be used. `message` is one sentence, `hint` the command or flag that helps."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EndsError(UserError):
    """GOOD or BAD is not what was said (swapped, passes, fails differently, does not boot): exit status 3."""


class InfraError(Exception):
    """Ours or the machine's failure: Docker gone, broker unhealthy, disk full, index unreachable.

    `hint` says what to look at before `bisect-celery resume`.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class HeldBack(InfraError):
    """The broker takes no messages for now: what looks like a hang is nothing that the code under test did."""

    def __init__(self) -> None:
        super().__init__(
            "The broker holds publishers back: memory or disk alarm.",
            "Free memory and disk space, then `bisect-celery resume`.",
        )


class Cancelled(Exception):
    """The session was told to stop (Ctrl-C, SIGTERM). Raised out of waits, so that stops run."""
