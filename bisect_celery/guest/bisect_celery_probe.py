"""What the user wrote, as the sender runs it: an expression about each value, and a file that sends and judges.

A file of the user's (`--script probe.py`) may have these, and runs in the project's environment, never in the worker:

    def send(app):
        '''Send one probe, and return its result: an AsyncResult (also of a chain or a chord), a GroupResult, an id,
        or a list of these. Called once for each probe. Do not wait for results here.'''

    def judge(value, result):
        '''Optional: whether this value is right. Return True or False, or raise AssertionError("why").'''

The name of this module is long because it stands among the project's own.
"""

from __future__ import print_function

import linecache
import sys
import types


class NothingSent(Exception):
    """`send` returned nothing that could be watched."""


class User(object):
    """The user's judges, and the user's `send` if there is one."""

    def __init__(self, check, script):
        """`check` is an expression about `value`; `script` is {"name": ..., "text": ...}; each may be None."""
        self._check = compiled(check, "--check", "eval") if check else None
        self._module = module_of(script["name"], script["text"]) if script else None
        if self._module is not None and not callable(getattr(self._module, "send", None)):
            raise NothingSent("%s has no function `send(app)`" % script["name"])

    def judges(self):
        return self._check is not None or hasattr(self._module, "judge")

    def send(self, app):
        """Send one probe; returns [(result or id, ids of the tasks that run before it)]."""
        found = flat(self._module.send(app), ())
        if not found:
            raise NothingSent("`send` returned an empty list: what it sends cannot be watched")
        return found

    def judge(self, value, result):
        """("true" | "false" | "raised", why or None)."""
        try:
            if self._check is not None and not eval(self._check, {"value": value}):
                return "false", None
            if hasattr(self._module, "judge"):
                said = self._module.judge(value, result)
                if said is not None and not said:
                    return "false", None
        except AssertionError as error:
            return "false", words_of(error) or None
        except Exception as error:
            return "raised", "%s: %s" % (type(error).__name__, words_of(error))
        return "true", None


def words_of(error):
    try:
        return str(error)
    except Exception:  # Python 2 and a message that is not ASCII
        return repr(error)


def compiled(text, name, kind):
    """Code of the user's, free of the `__future__` of this file; UTF-8, also where Python 2 would take ASCII."""
    source = text.encode("utf-8") if not isinstance(text, bytes) else text
    return compile(b"\xef\xbb\xbf" + source, name, kind, 0, True)


def module_of(name, text):
    module = types.ModuleType("bisect_celery_probe_file")
    module.__file__ = name
    sys.modules[module.__name__] = module
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)  # so that tracebacks show its lines
    exec(compiled(text, name, "exec"), module.__dict__)
    return module


# --- what `send` returned ----------------------------------------------------------------------------


def flat(returned, canvas):
    """Every result in it, each with the ids of what runs before it."""
    if returned is None:
        raise NothingSent("`send` returned nothing: return the result, or the id, of what it sent")
    if is_text(returned):
        return [(returned, list(canvas))]
    canvas = tuple(canvas) + tuple(before(returned))
    if hasattr(returned, "results"):  # a group's
        return [one for result in returned.results for one in flat(result, canvas)]
    if hasattr(returned, "id"):
        return [(returned, list(canvas))]
    return [one for result in returned for one in flat(result, canvas)]


def is_text(value):
    return isinstance(value, (type(""), type(b"".decode("ascii"))))  # two types in Python 2


def before(result):
    """The ids of the tasks that a result's canvas runs before it: a chain's earlier links, a chord's header."""
    found = []
    parent = getattr(result, "parent", None)
    while parent is not None:
        found.extend(ids_of(parent))
        parent = getattr(parent, "parent", None)
    return found


def ids_of(result):
    if hasattr(result, "results"):
        return [id_ for one in result.results for id_ in ids_of(one)]
    return [result.id]
