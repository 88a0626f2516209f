from celery import Celery
from kombu import Exchange, Queue

app = Celery("__app__", backend="rpc://")
app.conf.task_queues = [Queue("__module__", Exchange("shop"), routing_key="printing")]


@app.task(name="__app__.__task__", exchange="shop", routing_key="print")
def __task__(number):
    return number * 2
