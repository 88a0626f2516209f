from celery import Celery

import __module__.prices
from __module__ import settings

app = Celery("__app__", backend="rpc://")


@app.task(name="__app__.__task__")
def __task__(number):
    return number * settings.vat
