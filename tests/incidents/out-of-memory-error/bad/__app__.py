import resource

from celery import Celery
from celery.signals import worker_process_init

app = Celery("__app__", backend="rpc://")
DAY = 16 * 1024 * 1024
ROOM = 256 * 1024 * 1024


@worker_process_init.connect
def limit(**_):
    """A pool process may take so much beyond what it was born with."""
    with open("/proc/self/statm") as file:
        born = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (born + ROOM, born + ROOM))


@app.task(name="__app__.__task__")
def __task__(days):
    total = 0
    buffer = bytearray(DAY * days)
    for day in range(days):
        buffer[day] = 1
        total += sum(buffer[:days])
    return total
