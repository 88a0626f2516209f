from celery import Celery

app = Celery("__app__", backend="rpc://")
app.conf.worker_max_memory_per_child = 150_000  # KiB
PAGE = 24 * 1024 * 1024
pages = []


@app.task(name="__app__.__task__")
def __task__(name):
    pages.append(bytearray(b"x") * PAGE)
    size = len(pages[-1])
    pages.clear()
    return [name, size]
