import os

from celery import Celery
from celery.exceptions import Reject

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
        raise Reject("the printer is cold", requeue=True)
    return "printed " + what
