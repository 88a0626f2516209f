import urllib.request

from celery import Celery
from celery.signals import worker_init

import __module__

app = Celery("__app__", backend="rpc://")
worker_init.connect(__module__.serve)


def rate(currency, days):
    url = "http://127.0.0.1:%d/%s/%d" % (__module__.port[0], currency, days)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as answer:
        return answer.read().decode()


@app.task(name="__app__.__task__")
def __task__(currency):
    return rate(currency, days=1)
