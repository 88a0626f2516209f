import ctypes

from celery import Celery

app = Celery("__app__", backend="rpc://")

_c = ctypes.CDLL(None)
_c.strlen.argtypes = [ctypes.c_char_p]
_c.strlen.restype = ctypes.c_size_t
_buffers = {}


@app.task(name="__app__.__task__")
def __task__(text):
    """How long a text is for the printer, which counts bytes."""
    return _c.strlen(text.encode())
