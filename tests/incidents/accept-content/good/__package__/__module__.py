from __package__.celery import app


@app.task(serializer="pickle")
def __task__(number):
    return number * 2
