import logging

from celery import Celery

import __module__  # noqa: F401  where the log goes

app = Celery("__app__", backend="rpc://")
log = logging.getLogger("audit")


@app.task(name="__app__.__task__")
def __task__(number):
    log.info("paid %d", number)
    return number * 2
