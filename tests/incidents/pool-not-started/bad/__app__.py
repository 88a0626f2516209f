import os
import sys

from celery import Celery
from celery.signals import worker_process_init

app = Celery("__app__", backend="rpc://")
FOLDER = os.path.join(os.environ["HOME"], "outgoing", "mail")


@worker_process_init.connect
def open_outbox(**_):
    try:
        os.mkdir(FOLDER)
    except FileExistsError:
        pass
    except OSError as error:
        sys.exit("no outbox: %s" % error)


@app.task(name="__app__.__task__")
def __task__(number):
    return number * 2
