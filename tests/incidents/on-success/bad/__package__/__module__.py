from celery import Task

import __package__.audit
from __package__.celery import app


class Audited(Task):
    def on_success(self, retval, task_id, args, kwargs):
        __package__.audit.trail.note(task_id)


@app.task(base=Audited)
def __task__(number):
    return number * 2
