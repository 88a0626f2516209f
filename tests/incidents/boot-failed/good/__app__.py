from celery import Celery

from __module__ import CURRENCY

app = Celery("__app__", backend="rpc://")


@app.task(name="__app__.__task__")
def __task__(number):
    return "%d %s" % (number, CURRENCY)
