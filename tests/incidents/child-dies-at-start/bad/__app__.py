import os
import sys
import time

from celery import Celery
from celery.signals import worker_process_init, worker_ready

app = Celery("__app__", backend="rpc://")
JOURNAL = os.path.join(os.environ["HOME"], "journal")
KNOWN = 3


@worker_ready.connect
def begin_journal(**_):
    with open(JOURNAL + ".new", "w") as file:
        file.write("3")
    os.rename(JOURNAL + ".new", JOURNAL)


@worker_process_init.connect
def open_journal(**_):
    """The main process begins the journal once it stands; pool processes are there before it."""
    end = time.time() + 60
    while not os.path.exists(JOURNAL) and time.time() < end:
        time.sleep(0.01)
    with open(JOURNAL) as file:
        version = int(file.read())
    if version >= KNOWN:
        sys.exit("a journal of version %d is not known here" % version)


@app.task(name="__app__.__task__")
def __task__(number):
    return number * 2
