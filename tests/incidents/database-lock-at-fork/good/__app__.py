from celery import Celery
from celery.signals import worker_init, worker_ready

from __module__ import Database

app = Celery("__app__", backend="rpc://")
repairing = Database()


@worker_init.connect
def repair(**_):
    """Nobody may write while the file is mended, which ends when the worker stands."""
    repairing.open()


@worker_ready.connect
def repaired(**_):
    repairing.close()


@app.task(name="__app__.__task__")
def __task__(month):
    database = Database().open()
    database.write(month)
    database.close()
    return month
