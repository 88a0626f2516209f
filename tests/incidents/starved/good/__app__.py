import os
import time

from celery import Celery
from celery.signals import worker_init

import __module__

app = Celery("__app__", backend="rpc://")
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1
worker_init.connect(__module__.second)


def first():
    """Whether this job is the first of all, which is the big one."""
    try:
        os.close(os.open(os.path.join(os.environ["HOME"], "begun"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@app.task(name="__app__.__task__")
def __task__(kind):
    time.sleep(4 if first() else 0.02)
    return kind
