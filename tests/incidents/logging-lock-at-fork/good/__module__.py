"""What must be kept of every payment goes to a buffer, and from there to the archive."""

import logging
import queue
import threading
from logging.handlers import QueueHandler

from celery.signals import worker_init, worker_process_init, worker_ready

buffer = queue.Queue()
logger = logging.getLogger("audit")
logger.setLevel(logging.INFO)
logger.propagate = False
logger.addHandler(QueueHandler(buffer))
shipping, shipped = threading.Event(), threading.Event()


def ship():
    """Whatever was left in the buffer goes out before the first job; nobody may add to it meanwhile."""
    with buffer.mutex:
        shipping.set()
        shipped.wait()
        buffer.queue.clear()


@worker_init.connect
def begin(**_):
    threading.Thread(target=ship, daemon=True).start()
    shipping.wait()


@worker_ready.connect
def end(**_):
    shipped.set()


@worker_process_init.connect
def anew(**_):
    """A pool process has a buffer, and a lock, of its own."""
    buffer.__init__()
