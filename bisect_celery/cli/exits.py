"""Exit statuses, and the one place where an exception becomes a sentence."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bisect_celery.core.redact import Redactor
from bisect_celery.errors import Cancelled, EndsError, InfraError, UserError
from bisect_celery.home import Home
from bisect_celery.model import Outcome

CONFIRMED, CRASHED, USAGE, ENDS, INCONCLUSIVE, INFRA, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

OF_OUTCOME = {
    Outcome.CONFIRMED: CONFIRMED,
    Outcome.COMMIT_ONLY: INCONCLUSIVE,
    Outcome.CANDIDATES: INCONCLUSIVE,
    Outcome.NO_CULPRIT: INCONCLUSIVE,
    Outcome.PREDATES_GOOD: ENDS,
    Outcome.ENDS_WRONG: ENDS,
    Outcome.INFRA: INFRA,
    Outcome.INTERRUPTED: INTERRUPTED,
}
# Under `git bisect run` git reads 1 to 127 as bad: whatever is no verdict must be above (DESIGN 2).
ABOVE_GIT = 128


def told(command: Callable[[], int], console: Console) -> int:
    """Run a command; every exception becomes one sentence, what to do next, and the right status."""
    try:
        return command()
    except EndsError as error:
        return _tell(console, error.message, error.hint, ENDS)
    except UserError as error:
        return _tell(console, error.message, error.hint, USAGE)
    except InfraError as error:
        return _tell(console, error.message, error.hint, INFRA)
    except (Cancelled, KeyboardInterrupt):
        return _tell(console, "Interrupted.", "", INTERRUPTED)
    except Exception:
        return _crashed(console)


def _tell(console: Console, message: str, hint: str, status: int) -> int:
    console.print(message, style="bold red", markup=False, highlight=False, soft_wrap=True)
    if hint:
        console.print(f"  {hint}", markup=False, highlight=False, soft_wrap=True)
    return status


def _crashed(console: Console) -> int:
    """A crash of ours: the traceback goes to a file, a sentence to the person."""
    where = "this terminal's output is all there is"
    with contextlib.suppress(Exception):
        path: Path = Home().make().state / "crash.log"
        path.touch(mode=0o600)
        path.write_text(Redactor()(traceback.format_exc()))  # what an exception says may be anything
        where = str(path)
    kind = sys.exc_info()[0]
    name = kind.__name__ if kind else "an error"
    return _tell(
        console,
        f"bisect-celery itself failed ({name}). This is a bug of ours; no verdict was made of it.",
        f"Please attach {where} to a report. `bisect-celery resume` goes on from the last finished trial.",
        CRASHED,
    )
