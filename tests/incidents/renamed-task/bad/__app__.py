from celery import Celery

app = Celery("__app__", backend="rpc://")
app.conf.beat_schedule = {"every night": {"task": "__app__.__task__", "schedule": 86400.0, "args": (3,)}}


@app.task(name="__app__.nightly___task__")
def __task__(number):
    return number * 2
