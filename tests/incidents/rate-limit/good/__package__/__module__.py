from __package__.celery import app


@app.task(rate_limit="6000/m")
def __task__(number):
    return number * 2
