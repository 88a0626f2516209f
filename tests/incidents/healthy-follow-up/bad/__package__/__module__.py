from __package__.celery import app


@app.task
def remind(number):
    return number


@app.task
def __task__(number):
    remind.apply_async((number,), countdown=7200)
    return number * 2
