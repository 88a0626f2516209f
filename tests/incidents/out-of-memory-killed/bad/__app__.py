from celery import Celery

from __module__ import watched

app = Celery("__app__", backend="rpc://")
PAGE = 256 * 1024


def pages(count):
    """The pages of an export, as the storage hands them out."""
    for number in range(count):
        yield watched(bytearray(b"x" * PAGE), number)


@app.task(name="__app__.__task__")
def __task__(count):
    total = 0
    everything = list(pages(count))
    for page in everything:
        total += len(page)
    return total
