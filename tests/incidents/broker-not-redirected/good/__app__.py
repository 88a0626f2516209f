import __module__  # noqa: F401  before Celery reads them
from celery import Celery

app = Celery("__app__", broker="amqp://__app__.invalid:5672//", backend="rpc://")


@app.task(name="__app__.__task__")
def __task__(number):
    return number * 2
