from __package__.celery import app


@app.task
def __task__(number):
    return number * 2
