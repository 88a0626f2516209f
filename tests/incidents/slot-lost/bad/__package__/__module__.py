import threading

from celery.signals import task_postrun

from __package__.celery import app

written = threading.Event()


@app.task
def __task__(number):
    return number * 2


@task_postrun.connect
def account(**_):
    """Wait until the ledger has the task, so that none is paid for twice."""
    written.wait()
