import threading

from __package__.celery import app

book = {}
lock = threading.Lock()


def enter(number):
    book[number] = number * 2
    return book[number]


@app.task
def __task__(number):
    with lock:
        return enter(number)
