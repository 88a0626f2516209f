"""Send an entry of the project's schedule as beat sends it, but at once: what a schedule of hours would send today.

Beat's own code does it: the project's scheduler class is made, with all of its schedule, and asked when each entry is
due, as at every start of beat; then it sends the one entry, with that entry's task, arguments and options. Nothing
waits for its time, no other entry is sent, and no process of beat's runs.

The name of this module is long because it stands among the project's own.
"""

from __future__ import print_function

import os


class NotScheduled(Exception):
    """The schedule has no such entry."""


class Beat(object):
    """Beat, up to where it would wait. Whatever the project's schedule raises then, beat does not start with."""

    def __init__(self, app, name, scheduler):
        """`scheduler` is the class that the settings name, None for Celery's own."""
        from celery import beat, signals

        self._app, self._name = app, name
        service = beat.Service(app=app, scheduler_cls=scheduler, schedule_filename=_file())
        self._scheduler = service.get_scheduler()
        signals.beat_init.send(sender=service)
        if hasattr(self._scheduler, "populate_heap"):  # since Celery 4; the last of them pass over what raises
            self._scheduler.populate_heap()
        else:
            for entry in self._scheduler.schedule.values():
                entry.is_due()
        entry = self._scheduler.schedule.get(name)
        self.task = entry.task if entry is not None else None

    def judges(self):
        return False

    def send(self, app):
        """As `bisect_celery_probe.User.send`."""
        entry = self._scheduler.schedule.get(self._name)
        if entry is None:
            known = ", ".join(sorted(self._scheduler.schedule)) or "none"
            raise NotScheduled("the schedule has no entry %r; it has: %s" % (str(self._name), known))
        entry.is_due()
        result = self._scheduler.apply_async(entry)
        task = app.tasks.get(entry.task)
        if task is not None and task.ignore_result:
            result.ignored = True
        return [(result, [])]


def _file():
    """Where Celery's own scheduler remembers when it sent what: not in the tree, and fresh in each trial."""
    return os.path.join(os.environ.get("HOME", "."), "bisect-celery-beat-schedule")
