from celery import Celery

app = Celery("__app__", backend="rpc://")


@app.task(name="__app__.__task__")
def __task__(number):
    return number * 2
