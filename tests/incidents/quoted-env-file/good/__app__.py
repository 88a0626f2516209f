from celery import Celery
from kombu import Queue

from __module__ import read

app = Celery("__app__", backend="rpc://")
app.conf.task_queues = [Queue(name, routing_key=name) for name in read("worker.env")["QUEUES"].split(",")]


@app.task(name="__app__.__task__", queue="print")
def __task__(number):
    return number * 2
