from __package__.celery import app


@app.task(rate_limit="1/h")
def __task__(number):
    return number * 2
