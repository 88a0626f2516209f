"""Load the project's app, send probes by the project's own `apply_async`, and read the results back.

Speaks JSON, one object a line: orders on standard input, what happened on standard output.

    {"do": "load", "app": "shop", "broker": {"host":..., "port":..., "vhost":..., "user":...},
     "check": "value > 3" | null, "script": {"name": "probe.py", "text": "..."} | null, "periodic": "entry" | null}
    {"do": "send", "task": "orders.tasks.mail" | null, "args": [...], "kwargs": {...}, "ids": [...], "queue": null,
     "wave": 1}
    {"do": "script", "count": 20, "wave": 1}    as the user's own file sends, or beat an entry of its schedule
    {"do": "ask", "number": 3, "workers": 1, "within": null, "queues": false}
                    what so many workers say they hold, and with "queues" consume, each `within` so many seconds
    {"do": "quit"}

Nothing is published, and no connection opened, unless every broker address that the app resolves is the given one.
"""

from __future__ import print_function

import errno
import functools
import json
import os
import re
import select
import sys
import threading
import time
import traceback

import bisect_celery_beat
import bisect_celery_probe
import bisect_celery_web

TEXT = (str,) if sys.version_info[0] > 2 else (basestring,)  # noqa: F821
FINAL = ("SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED")
# A task every Celery has, newest name first.
EVERYWHERE = ("celery.accumulate", "celery.ping", "celery.backend_cleanup")
SECRET = ("SECRET", "PASSWORD", "PASSWD", "TOKEN", "API_KEY", "APIKEY", "CREDENTIAL", "PRIVATE", "DSN", "ACCESS_KEY")

# In a URL: the password, or what stands alone before the host, as tokens do.
USER_INFO = re.compile(r"://(?:[^\s/?#:@]*:)?([^\s/?#]+)@")

# Of kombu's Redis transport.
NAMING = ("global_keyprefix", "sep", "priority_steps")

PATIENCE = 0.02
UNREADABLE_AFTER = 1.0
# The last expected answer ends the wait; only who never answers costs all of it.
ANSWERS_WITHIN = 2.0

_lock = threading.Lock()
_words = [sys.stdout]


def tell(event, **fields):
    fields["event"] = event
    with _lock:
        _words[0].write(json.dumps(fields, default=repr) + "\n")
        _words[0].flush()


def keep_words_apart():
    """Whatever the project prints, by `print`, a logger, C code or a child process, must not look like our words."""
    _words[0] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr


class Orders(object):
    """Standard input, read without a thread. A project that patches Python for gevent where it is imported breaks when
    there is a second one, and makes greenlets of all that come later."""

    def __init__(self, pipe=0):
        self._pipe, self._read, self._ended = pipe, b"", False

    def next(self, wait):
        """The next order, {} while there is none (only if not told to `wait`), None when no more can come."""
        while b"\n" not in self._read and not self._ended:
            if not self._more(None if wait else 0):
                return {}
        line, newline, rest = self._read.partition(b"\n")
        if not newline:
            return None
        self._read = rest
        return json.loads(line.decode("utf-8"))

    def _more(self, seconds):
        try:
            if not select.select([self._pipe], [], [], seconds)[0]:
                return False
            some = os.read(self._pipe, 65536)
        except (OSError, select.error) as error:  # before Python 3.5 a signal of the project's ends a wait
            if error.args[0] != errno.EINTR:
                raise
            return True
        self._read, self._ended = self._read + some, not some
        return True


# --- loading -----------------------------------------------------------------------------------------


def find_app(name):
    try:
        from celery.app.utils import find_app as celerys_own
    except ImportError:
        celerys_own = None
    if celerys_own is not None:
        return celerys_own(name)
    module, _, attribute = name.partition(":")
    __import__(module)
    found = sys.modules[module]
    for candidate in (attribute, "app", "celery"):
        if candidate and hasattr(found, candidate):
            found = getattr(found, candidate)
            break
    return found


def as_manage(name):
    """What `manage.py` does before django-celery's app is there: the settings come first, and say what Celery loads."""
    __import__(name)
    import django
    from django.core import management

    if "." not in name and hasattr(management, "setup_environ"):  # until Django 1.5, for settings beside `manage.py`
        management.setup_environ(sys.modules[name])
    if hasattr(django, "setup"):
        django.setup()


def load(name):
    settings = os.environ.get("DJANGO_SETTINGS_MODULE")
    if settings and name.startswith("djcelery."):
        as_manage(settings)
    app = find_app(name)
    # In a worker's order: an app that is finalized first never hears of tasks that other apps share with it later.
    app.loader.import_default_modules()
    app.finalize() if hasattr(app, "finalize") else None
    return app


def connections(app):
    """Every connection the app would make, by kind, none of them opened."""
    makers = ("connection_for_write", "connection_for_read")
    if hasattr(app, makers[0]):
        return [getattr(app, maker)() for maker in makers]
    return [app.connection() if hasattr(app, "connection") else app.broker_connection()]


def addresses(connection):
    """(host, port, vhost, user) of a connection and of all its failovers."""
    try:
        from kombu.utils.url import parse_url
    except ImportError:
        parse_url = None
    found = [(connection.hostname, connection.port, connection.virtual_host, connection.userid)]
    for url in getattr(connection, "alt", None) or ():
        if parse_url is not None:
            parts = parse_url(url)
            found.append((parts["hostname"], parts["port"], parts["virtual_host"], parts["userid"]))
    return found


def foreign(app, ours):
    """The first address the app resolves that is not ours, without its credentials; None if all are ours."""
    for connection in connections(app):
        for host, port, vhost, user in addresses(connection):
            same = (host, int(port or 5672), (vhost or "/").lstrip("/")) == (
                ours["host"],
                int(ours["port"]),
                ours["vhost"].lstrip("/"),
            )
            if not same or (user or "") != ours["user"]:
                return "%s:%s/%s" % (host, port or 5672, (vhost or "").lstrip("/"))
    return None


def setting(app, *names):
    for name in names:
        try:
            value = getattr(app.conf, name)
        except Exception:
            continue
        if value is not None:
            return value
    return None


def scheme(value):
    """The kind in a URL or backend name: `redis://:pw@host/0` is `redis`; never more than that."""
    if not value:
        return None
    text = str(value[0] if isinstance(value, (list, tuple)) else value)
    return text.split("://", 1)[0].split(":", 1)[0] if "://" in text or ":" in text else text


def backend_kind(app):
    """The kind of result backend the app really uses: its class's own comes before its settings."""
    kind = scheme(getattr(app, "backend_cls", None) or setting(app, "result_backend", "CELERY_RESULT_BACKEND"))
    return "django-db" if kind == "djcelery.backends.database" else kind


def result_address(app):
    """host:port where results go, for backends that are no part of the broker; None where that cannot be told.

    Making a backend opens no connection.
    """
    kind = backend_kind(app) or ""
    if not kind.startswith(("redis", "db+", "database")):
        return None
    try:
        backend = app.backend
        given = getattr(backend, "connparams", None)
        if isinstance(given, dict):
            return "%s:%s" % (given.get("host"), given.get("port"))
        url = getattr(backend, "url", None) or getattr(backend, "dburi", None)
        return USER_INFO.sub("://", url).split("://", 1)[1].split("/", 1)[0] if url else None
    except Exception:  # its client is not installed, its URL is none: using it will tell
        return None


def configured_broker(app):
    """The kind of broker the project itself names, which the environment's override hides."""
    for name in ("broker_url", "BROKER_URL", "broker_write_url"):
        try:
            value = app.conf.get(name)
        except Exception:
            continue
        if value:
            return scheme(value)
    return None


def transport(app):
    """Those of the app's transport options that say what things are called in the broker."""
    options = getattr(connections(app)[0], "transport_options", None) or {}
    return dict((name, options[name]) for name in NAMING if name in options)


def facts(app):
    import celery

    task_names = sorted(name for name in app.tasks)
    return {
        "celery": getattr(celery, "__version__", None),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "registered": task_names,
        "prefetch_multiplier": setting(app, "worker_prefetch_multiplier", "CELERYD_PREFETCH_MULTIPLIER"),
        "concurrency": setting(app, "worker_concurrency", "CELERYD_CONCURRENCY"),
        "result_backend": backend_kind(app),
        "result_at": result_address(app),
        "broker_kind": configured_broker(app),
        "transport": transport(app),
        "event_exchange": setting(app, "event_exchange", "CELERY_EVENT_EXCHANGE"),
        "default_queue": setting(app, "task_default_queue", "CELERY_DEFAULT_QUEUE"),
        "everywhere": everywhere(app),
    }


def secrets(app):
    """Values of secret-named settings and passwords in URLs: the harness takes them out of everything it writes."""
    found = set()
    sources = []
    try:
        sources.append(dict((key, app.conf.get(key)) for key in app.conf))
    except Exception:
        pass
    try:
        from django.conf import settings

        sources.append(dict((key, getattr(settings, key)) for key in dir(settings) if key.isupper()))
    except Exception:
        pass
    for source in sources:
        collect(source, found, False)
    return sorted(found)


def collect(value, found, named):
    if isinstance(value, dict):
        for key, inner in value.items():
            collect(inner, found, named or any(word in str(key).upper() for word in SECRET))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            collect(inner, found, named)
    elif isinstance(value, TEXT):
        told = [value] if named else USER_INFO.findall(value)
        # a short plain word is in too many other texts to be taken out of them
        found.update(text for text in told if len(text) >= 6 and not (text.isalpha() and len(text) < 12))


def task_facts(app, name):
    task = app.tasks.get(name)
    if task is None:
        return {}
    return {"acks_late": bool(getattr(task, "acks_late", False)), "ignore_result": bool(task.ignore_result)}


# --- sending and reading back ------------------------------------------------------------------------


def everywhere(app):
    for name in EVERYWHERE:
        if name in app.tasks:
            return name
    return EVERYWHERE[0]


class NotPublished(Exception):
    """The settings keep tasks from ever reaching a worker."""


def refuse_eager(app):
    if setting(app, "task_always_eager", "CELERY_ALWAYS_EAGER"):
        raise NotPublished("task_always_eager is set: tasks run in whoever sends them, and no worker is asked")


def send(app, order):
    refuse_eager(app)
    name = order["task"] or everywhere(app)
    task = app.tasks.get(name)
    options = {"queue": order["queue"]} if order.get("queue") else {}
    results = []
    readable = not (task is not None and task.ignore_result) and has_results(app)
    tell("sending", task=name, registered=task is not None, readable=readable, **task_facts(app, name))
    for id_ in order["ids"]:
        if task is not None:
            result = task.apply_async(order["args"], order["kwargs"], task_id=id_, **options)
        else:
            result = app.send_task(name, order["args"], order["kwargs"], task_id=id_, **options)
        if id_of(result) != id_:  # a project's own `apply_async` need not return anything
            result = app.AsyncResult(id_)
        if readable:
            expect(app, result)
        tell("sent", id=id_, wave=order["wave"])
        results.append(result)
    return results if readable else []


def beat_of(app, name):
    """What sends an entry of the schedule; None where none is named, or beat does not start, which is told."""
    if name is None:
        return None
    try:
        return bisect_celery_beat.Beat(app, name, setting(app, "beat_scheduler", "CELERYBEAT_SCHEDULER"))
    except Exception as error:
        complain("failed", error, "beat does not start: ")
        return None


def send_script(app, user, order):
    """Send as the user's own file does; what it sent is known only when it comes back."""
    refuse_eager(app)
    readable = has_results(app)
    results = []
    for _ in range(order["count"]):
        for result, canvas in user.send(app):
            if id_of(result) is None:
                result = app.AsyncResult(result)
            kept = readable and not getattr(result, "ignored", False)
            if kept:
                expect(app, result)
            tell("sent", id=id_of(result), wave=order["wave"], canvas=canvas, readable=kept)
            if kept:
                results.append(result)
    tell("whole", wave=order["wave"])
    return results


def expect(app, result):
    """Have a result pushed to us. Where Python is patched for greenlets, Celery would read them in one of its own,
    beside us and by the same socket."""
    add = getattr(app.backend, "add_pending_result", None)
    if add is not None:
        try:
            add(result, start_drainer=False)
        except TypeError:
            add(result)


def has_results(app):
    """Whether results can be read back. Celery 3.1's rpc backend takes other tasks' results while it looks for one."""
    name = type(app.backend).__name__
    return name != "DisabledBackend" and (name != "RPCBackend" or hasattr(app.backend, "result_consumer"))


def id_of(result):
    """Of a result; before Celery 3 it had another name."""
    return getattr(result, "id", None) or getattr(result, "task_id", None)


def canonical(value):
    """The JSON text of a result. What JSON has no words for (dates, decimals) is told as `str` tells it."""
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except (TypeError, ValueError):  # keys of several kinds, or not of JSON's; a circle
        return json.dumps(repr(value))


def report(result, value, user):
    state = result.state
    fields = {"id": id_of(result), "state": state}
    if state == "SUCCESS":
        fields["value"] = canonical(value)
        if user.judges():
            fields["checked"], fields["said"] = user.judge(value, result)
    elif isinstance(value, BaseException):
        fields["exception"] = type(value).__name__
        fields["raised"] = repr(value)  # as events and the log have it, so that all tell the same
    tell("result", **fields)


def drain(app, seconds):
    """Let results that are pushed to us arrive; backends that are asked need nothing.

    `AsyncResult.get(timeout)` cannot be used for this: it waits whole seconds at a time, whatever it is told.
    """
    consumer = getattr(app.backend, "result_consumer", None)
    if consumer is None:
        time.sleep(seconds)
        return
    try:
        consumer.drain_events(timeout=seconds)
    except Exception as error:
        # Its name and home moved between versions: socket.timeout, TimeoutError.
        if "timed out" not in str(error) and "timeout" not in type(error).__name__.lower():
            raise


def is_final(app, result):
    if hasattr(app.backend, "result_consumer"):
        return getattr(result, "_cache", None) is not None
    return result.state in FINAL


_failing_since = []
_now = getattr(time, "monotonic", time.time)  # which Python 2 lacks


def read_back(app, pending, user):
    """`poll`, but results that cannot be read are a fact of the project's, once that lasts for a while."""
    try:
        still = poll(app, pending, user)
    except Exception as error:
        now = _now()
        _failing_since[:] = _failing_since or [now]
        if now - _failing_since[0] < UNREADABLE_AFTER:
            time.sleep(PATIENCE)
            return pending
        complain("unreadable", error)
        return []
    del _failing_since[:]
    return still


def poll(app, pending, user):
    """One look at every result that is still open; returns those that stay open."""
    drain(app, PATIENCE)
    still = []
    for result in pending:
        if is_final(app, result):
            report(result, result.result, user)
        else:
            still.append(result)
    return still


def ask_all(app, inspect, workers):
    """The answer of the last expected worker ends the wait. Before Celery 3.1 `inspect` waits out its time all the
    same."""
    inspect.limit = workers
    if celery_version() < (3, 1) and hasattr(inspect, "_request"):
        inspect._request = lambda command, **arguments: inspect._prepare(
            app.control.broadcast(command, arguments=arguments, timeout=inspect.timeout, reply=True, limit=workers)
        )


def celery_version():
    import celery

    return tuple(int(part) for part in re.findall(r"\d+", getattr(celery, "__version__", "") or "")[:2])


def ask(app, order):
    """What the workers say of themselves: the requests they count as running, and their pools."""
    inspect = app.control.inspect(timeout=order.get("within") or ANSWERS_WITHIN)
    try:
        ask_all(app, inspect, order["workers"])
        active = inspect.active()
        # Who did not answer will not answer more, and each question would wait for its whole time.
        heard = len(active or ()) >= order["workers"]
        stats, later = (inspect.stats(), inspect.scheduled()) if heard else (None, None)
        consumed = inspect.active_queues() if heard and order.get("queues") else None
    except Exception as error:
        tell("asked", number=order["number"], error=type(error).__name__)
        return
    fields = merged(order["workers"], active, stats, later)
    tell("asked", number=order["number"], queues=consumers(order["workers"], consumed), **fields)


def consumers(workers, consumed):
    """On how many workers' word each queue is consumed; None where one of them did not say."""
    if len(consumed or ()) < workers or None in consumed.values():
        return None
    counts = {}
    for queues in consumed.values():
        for one in queues:
            counts[one["name"]] = counts.get(one["name"], 0) + 1
    return counts


def merged(workers, active, stats, later):
    """What so many workers say together, of replies by name; what one of them did not answer is not known of any."""
    held, pools, waiting = ((said or {}) if len(said or ()) >= workers else None for said in (active, stats, later))
    if held is None:
        return {"held": None}
    counted = [(name, stat, stat.get("pool") or {}) for name, stat in sorted((pools or {}).items())]
    return {
        "held": [task.get("id") for tasks in held.values() for task in tasks],
        "acknowledged": [task.get("acknowledged") for tasks in held.values() for task in tasks],
        "scheduled": None
        if waiting is None
        else [(entry.get("request") or {}).get("id") for entries in waiting.values() for entry in entries],
        "concurrency": sum(int(pool.get("max-concurrency") or 0) for _, _, pool in counted) or None,
        # A process's number is one only beside its worker's name: they may run in containers of their own.
        "processes": ["%s %s" % (name, one) for name, _, pool in counted for one in (pool.get("processes") or ())],
        "prefetch": sum(int(stat.get("prefetch_count") or 0) for _, stat, _ in counted) or None,
        "pool": " ".join(sorted(set(implementation(stat, pool) for _, stat, pool in counted))) if counted else None,
    }


def implementation(stat, pool):
    """The pool's class; before Celery 5 said nothing, and only of solo is it known: its one process is the worker."""
    told = pool.get("implementation")
    return str(told) if told else "solo" if stat.get("pid") and pool.get("processes") == [stat["pid"]] else ""


class WantsTLS(Exception):
    """The settings ask for TLS whatever the URL says, and a trial's own broker speaks none."""


def refuse_tls(app):
    if any(getattr(connection, "ssl", None) for connection in connections(app)):
        raise WantsTLS("broker_use_ssl is set, and the broker of a trial, which is private, speaks no TLS")


def begin(order):
    app = load(order["app"])
    address = foreign(app, order["broker"])
    if address is not None:
        tell("foreign", address=address)
        return None
    refuse_tls(app)
    return app


def look_as_web(web, app, order):
    """By which app would a web process send the task? Only a shared task leaves that open, or Django's start.

    What is seen is one more fact; that it could not be seen is no failure.
    """
    say = functools.partial(tell, "web")
    try:
        task = app.tasks.get(order.get("task"))
        settings = os.environ.get("DJANGO_SETTINGS_MODULE")
        if task is not None and (settings or is_shared(task)):
            web.look(say, app=order["app"], module=task.__module__, settings=settings, broker=order["broker"])
            return
        web.close()
        say(error="nothing to see")
    except Exception as error:
        say(error=type(error).__name__)


def is_shared(task):
    """Whether the task's own module holds a proxy that asks for the current app whenever it is used."""
    found = getattr(sys.modules.get(task.__module__), type(task).__name__, None)
    return type(found).__name__ == "Proxy"


def serve(web):
    orders = Orders()
    app, user, beat, pending = None, None, None, []
    while True:
        order = orders.next(wait=not pending)
        if order is None or order.get("do") == "quit":
            return
        if not order:
            pending = read_back(app, pending, user)
            continue
        if order["do"] == "load":
            app = begin(order)
            beat = beat_of(app, order.get("periodic")) if app is not None else None
            if app is None or (beat is None and order.get("periodic")):
                return
            user = bisect_celery_probe.User(order.get("check"), order.get("script"))
            named = beat.task if beat is not None else order.get("task")
            tell("loaded", facts=facts(app), secrets=secrets(app), task=task_facts(app, named))
            look_as_web(web, app, order)
        elif order["do"] == "send":
            pending = pending + send(app, order)
        elif order["do"] == "script":
            pending = pending + send_script(app, beat or user, order)
        elif order["do"] == "ask":
            ask(app, order)


def complain(event, error, what=""):
    lines = traceback.format_exc().splitlines()
    tell(event, exception=type(error).__name__, detail=what + words_of(error), lines=lines[-12:])


def words_of(error):
    try:
        return str(error)
    except Exception:  # Python 2 and a message that is not ASCII
        return repr(error)


def main():
    # Our own folder is not the project's business; the folder we were started in is.
    sys.path[0] = os.getcwd()
    web = bisect_celery_web.Web(find_app, connections)  # forked while there is one thread, and nothing is loaded
    keep_words_apart()
    try:
        serve(web)
    except BaseException as error:  # a project may well call sys.exit() where it is imported
        complain("failed", error)
    web.close()
    # A project's threads and atexit hooks must not keep us: all that we wanted is said.
    _words[0].flush()
    os._exit(0)


if __name__ == "__main__":
    main()
