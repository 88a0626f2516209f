from celery import Celery

app = Celery("__package__", backend="rpc://")
app.autodiscover_tasks(["__package__"], related_name="jobs")
