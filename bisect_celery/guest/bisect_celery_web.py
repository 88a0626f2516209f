"""By which app a web process would send the probed task: the project's, or Celery's default one.

A worker loads the app that `-A` names, and so does our sender. A web process imports what it needs, and a
`shared_task` is sent by whichever app is current there. Where nothing imports the project's (`from .celery import app`
left `__init__.py`), that is Celery's default app, which knows none of the project's settings.

So a child is forked before anything of the project is loaded. It imports what a web process imports: Django's settings
and apps, and the module of the task. It opens no connection, and whatever becomes of it, the trial goes on.

The name of this module is long because it stands among the project's own.
"""

from __future__ import print_function

import json
import os
import select
import signal
import threading

DEADLINE = 30.0
# Celery's own override by the environment, which only trials have.
OVERRIDES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "BROKER_URL")


class Web(object):
    """The forked child. Make it while there is one thread; `look` once; `close` before the end."""

    def __init__(self, find_app, connections):
        """`find_app` finds what `-A` names, `connections` lists what an app would open, none of it opened."""
        order_read, self._orders = os.pipe()
        self._words, word_write = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:  # then nobody looks
            self._pid = None
        if self._pid == 0:
            os.close(self._orders)
            os.close(self._words)
            _serve(order_read, word_write, find_app, connections)
        os.close(order_read)
        os.close(word_write)

    def look(self, say, **order):
        """Let the child look, and `say` what it saw when it has: `app` and `broker`, or `error`.

        `order`: `app` (what `-A` names), `module` (the task's), `settings` (Django's, or None), `broker` (ours).
        """
        listener = threading.Thread(target=self._ask, args=(say, json.dumps(order).encode("ascii") + b"\n"))
        listener.daemon = True
        listener.start()

    def _ask(self, say, order):
        try:
            os.write(self._orders, order)
            heard = _line(self._words, DEADLINE)
        except OSError:  # nobody is there
            heard = None
        self.close()
        say(**(json.loads(heard.decode("ascii")) if heard else {"error": "no word"}))

    def close(self):
        """End the child. Idempotent."""
        pid, self._pid = self._pid, None
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except OSError:  # the project had all children reaped
                pass


def _line(pipe, seconds):
    """The next line from a pipe; None when it ends before, or nothing comes for so long."""
    heard = b""
    while not heard.endswith(b"\n"):
        if not select.select([pipe], [], [], seconds)[0]:
            return None
        some = os.read(pipe, 65536)
        if not some:
            return None
        heard += some
    return heard


# --- in the child ------------------------------------------------------------------------------------


def _serve(orders, words, find_app, connections):
    """Wait for the order, look, tell, and end without the exit hooks of whatever was imported."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # what the project prints was printed by the sender already
            os.dup2(nowhere, standard)
        line = _line(orders, None)
        if line is not None:
            os.write(words, json.dumps(_told(json.loads(line.decode("ascii")), find_app, connections)).encode() + b"\n")
    finally:
        os._exit(0)


def _told(order, find_app, connections):
    try:
        app = imported(order)
        return {"app": kind(app, find_app(order["app"])), "broker": broker(app, order["broker"], connections)}
    except BaseException as error:  # a project may well call sys.exit() where it is imported
        return {"error": type(error).__name__}


def imported(order):
    """The app that is current once a web process's imports are done."""
    if order["settings"]:
        os.environ["DJANGO_SETTINGS_MODULE"] = order["settings"]
        import django

        if hasattr(django, "setup"):  # since Django 1.7
            django.setup()
    __import__(order["module"])
    from celery.app import app_or_default

    return app_or_default()


def kind(app, named):
    """Whose it is: "project" for the app that `-A` names, "default" for the one that Celery makes if there is none."""
    if app is named:
        return "project"
    made_by_celery = getattr(app, "main", None) == "default" and getattr(app, "set_as_current", None) is False
    return "default" if made_by_celery else "another"


def broker(app, ours, connections):
    """The host that the app would publish to without our override; "ours" where settings have it from us as well."""
    for name in OVERRIDES:
        os.environ.pop(name, None)
    connection = connections(app)[0]
    same = (connection.hostname, connection.port, (connection.virtual_host or "/").lstrip("/")) == (
        ours["host"],
        ours["port"],
        ours["vhost"].lstrip("/"),
    )
    return "ours" if same else connection.hostname or "localhost"
