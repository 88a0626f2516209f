import time

from celery import Celery

app = Celery("__app__", backend="rpc://")
PAUSE = 0.8


@app.task(name="__app__.__task__")
def __task__(kind):
    """Sends at the pace that the provider allows."""
    time.sleep(PAUSE)
    return kind
