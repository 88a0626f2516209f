import http.server
import os
import threading

from celery import Celery
from celery.signals import worker_ready

app = Celery("__package__", broker=os.environ.get("BROKER_URL"), backend="rpc://", include=["__package__.__module__"])


@worker_ready.connect
def serve_metrics(**_):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.serve_forever()
