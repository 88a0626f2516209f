import os

from celery import Celery

app = Celery("__app__", backend="rpc://")


def path(kind, month):
    return os.path.join(os.environ["HOME"], "%s-%s.csv" % (kind, month))


@app.task(name="__app__.__task__.write")
def write(month):
    with open(path("export", month), "w") as file:
        file.write("1,2,3")


@app.task(name="__app__.__task__", bind=True, autoretry_for=(OSError,), max_retries=None, retry_backoff=False,
          default_retry_delay=0.2)
def __task__(self, month):
    """Waits for the export that another task writes."""
    write(month)
    with open(path("exports", month)) as file:
        return file.read()
