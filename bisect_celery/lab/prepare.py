"""What the user has run in a fresh place before anything else: a migration, which is kept for others, and a command."""

from __future__ import annotations

from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.sender import written_by
from bisect_celery.lab.worker import SHOWN_LINES
from bisect_celery.model import Cancel, Environment, Failure, Place, Program, Stage
from bisect_celery.probe import logs

PREPARE_DEADLINE = 300.0


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
    if not cancel.wait(lambda: not running.alive(), PREPARE_DEADLINE):
        running.stop()
        return Failure(Stage.PREPARE, f"`{command}` did not end in {PREPARE_DEADLINE:g} s", timed_out=True)
    if running.exit_code() == 0:
        return None
    lines = written_by(running)
    found = logs.last_exception(lines)
    reason = f"`{command}` ended with status {running.exit_code()}"
    exception, missing = (found[0], missing_in(*found)) if found else (None, ())
    return Failure(Stage.PREPARE, reason, exception, missing, tuple(lines[-SHOWN_LINES:]))
