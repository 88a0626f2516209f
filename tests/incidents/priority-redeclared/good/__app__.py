from celery import Celery
from kombu import Exchange, Queue

app = Celery("__app__", backend="rpc://")
MAIL = "__app__mail"
app.conf.task_queues = [Queue(MAIL, Exchange(MAIL), routing_key=MAIL)]
app.conf.task_default_queue = app.conf.task_default_exchange = app.conf.task_default_routing_key = MAIL


@app.task(name="__app__.__task__")
def __task__(number):
    return number * 2
