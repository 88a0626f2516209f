import os

from celery import Celery

app = Celery("__app__", backend="file://" + os.environ["HOME"])
app.conf.result_chord_retry_interval = 0.2


@app.task(name="__app__.__task__", ignore_result=True)
def __task__(number):
    return number * 2


@app.task(name="__app__.report")
def report(parts):
    return sum(part or 0 for part in parts)
