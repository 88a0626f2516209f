import os
import time

from celery import Celery

app = Celery("__app__", backend="rpc://")


def warm(job):
    """Whether the printer has this job's form; who asks first makes it take it."""
    form = os.path.join(os.environ["HOME"], "form-" + job)
    if os.path.exists(form):
        return True
    with open(form, "w"):
        return False


@app.task(name="__app__.__task__", bind=True, acks_late=True)
def __task__(self, what):
    while not warm(self.request.id):
        time.sleep(0.02)
    return "printed " + what
