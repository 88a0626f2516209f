from __package__.celery import app


@app.task
def price(number):
    return number * 2


@app.task
def __task__(number):
    return price(number) + 1
