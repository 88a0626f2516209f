"""What the user has run in a fresh place before anything else: a migration, which is kept for others, and a command."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.sender import written_by
from bisect_celery.lab.worker import SHOWN_LINES
from bisect_celery.model import Cancel, Environment, Failure, Place, Program, Running, Stage
from bisect_celery.probe import logs

# A migration tells each step as it is done: one that goes on telling is not stuck, however many there are.
SILENT_DEADLINE = 300.0
WHOLE_DEADLINE = 3600.0


def prepare(place: Place, plan: Plan, environment: Environment, cancel: Cancel) -> Failure | None:
    """Run the user's own commands in a fresh place, and wait for their ends; what went wrong, if anything did."""
    failure = _migrate(place, plan, environment, cancel)
    if failure is None and plan.prepare is not None:
        failure = _run(plan.prepare, plan.prepare_program(place, environment), place, cancel)
    return failure


def _migrate(place: Place, plan: Plan, environment: Environment, cancel: Cancel) -> Failure | None:
    """Migrate a copy of a database that was migrated for the same key, or an empty one, which is then kept.

    The command runs on the copy, too. Where that fails, the copy may be why: it is run on an empty database then.
    """
    if plan.migrate is None:
        return None
    key = plan.database_key
    if key is not None and place.copy_database(key):
        if _run(plan.migrate, plan.migrate_program(place, environment), place, cancel) is None:
            return None
        place.empty_database()
    failure = _run(plan.migrate, plan.migrate_program(place, environment), place, cancel)
    if failure is None and key is not None:
        place.keep_database(key)
    return failure


def _run(command: str, program: Program, place: Place, cancel: Cancel) -> Failure | None:
    running = place.start(program)
    silent = _silent(running)
    ended = cancel.wait(lambda: not running.alive() or silent(), WHOLE_DEADLINE)
    if running.alive():
        running.stop()
        why = f"said nothing for {SILENT_DEADLINE:g} s" if ended else f"did not end in {WHOLE_DEADLINE:g} s"
        shown = tuple(written_by(running)[-SHOWN_LINES:])
        return Failure(Stage.PREPARE, f"`{command}` {why}", lines=shown, timed_out=True)
    if running.exit_code() == 0:
        return None
    lines = written_by(running)
    found = logs.last_exception(lines)
    reason = f"`{command}` ended with status {running.exit_code()}"
    exception, missing = (found[0], missing_in(*found)) if found else (None, ())
    return Failure(Stage.PREPARE, reason, exception, missing, tuple(lines[-SHOWN_LINES:]))


def _silent(running: Running, deadline: float = SILENT_DEADLINE) -> Callable[[], bool]:
    """Tells, whenever it is asked, whether a program has written nothing for so long."""
    written, since = -1, time.monotonic()

    def silent() -> bool:
        nonlocal written, since
        size = 0
        for path in (running.out, running.err):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        if size != written:
            written, since = size, time.monotonic()
        return time.monotonic() - since > deadline

    return silent
