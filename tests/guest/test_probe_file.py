"""What the user wrote, run on every interpreter that is to be had: it says the same everywhere."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

from test_sender import GUEST, python  # noqa: F401

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "probe.md"

CHECKS = """
# -*- coding: utf-8 -*-
import json, sys
sys.path.insert(0, sys.argv[1])
import bisect_celery_probe as probe

class Result(object):
    def __init__(self, id_, parent=None):
        self.id, self.parent = id_, parent

class Group(object):
    def __init__(self, results, parent=None):
        self.id, self.results, self.parent = "group", results, parent

def user(check=None, text=None):
    return probe.User(check, text and {"name": "probe.py", "text": text})

def error(make):
    try:
        make()
    except BaseException as raised:
        return type(raised).__name__

def sent(body):
    module = user(text=u"from __main__ import Result, Group\\ndef send(app):\\n    return " + body)
    return [[getattr(one, "id", one), canvas] for one, canvas in module.send(None)]

JUDGE = u"# \\u00e9\\nword = u'\\u00e9'\\ndef send(app): pass\\ndef judge(value, result):\\n    %s"
judged = lambda body: user(text=JUDGE % body).judge(3, None)
print(json.dumps({
    "checks": [user(text_).judge({"total": 4}, None)[0] for text_ in (
        "value['total'] > 3", "value['total'] > 4", "value['other']", "len(value) == 1", u"u'\\u00e9' not in value")],
    "raised": user("value['other']").judge({}, None),
    "nobody": [user().judges(), user("value").judges(), user(text=u"def send(app): pass").judges()],
    "judged": [judged(body) for body in (
        "return True", "return value == 3", "return value == 4", "return 0", "pass", "assert value == 3",
        "assert value == 4, 'off'", "assert value == 4", "return {}['x']", "return len(word) == 1")],
    "one": sent("Result('a')"),
    "id": sent("'a'"),
    "unicode": sent("u'a'"),
    "several": sent("[Result('a'), 'b', (Result('c'),)]"),
    "generated": sent("(Result(name) for name in 'ab')"),
    "chain": sent("Result('c', Result('b', Result('a')))"),
    "chord": sent("Result('body', Group([Result('h1'), Result('h2')], Result('a')))"),
    "group": sent("Group([Result('h1'), Result('h2')], Result('a'))"),
    "refused": [error(lambda: sent(body)) for body in ("None", "[]", "[None]", "3")],
    "no send": error(lambda: user(text=u"x = 1")),
    "broken": error(lambda: user(text=u"def send(:")),
    "future": error(lambda: user(text=u"from __future__ import division\\ndef send(app): pass")),
}))
"""
EXPECTED = {
    "checks": ["true", "false", "raised", "true", "true"],
    "raised": ["raised", "KeyError: 'other'"],
    "nobody": [False, True, False],
    "judged": [
        ["true", None], ["true", None], ["false", None], ["false", None], ["true", None], ["true", None],
        ["false", "off"], ["false", None], ["raised", "KeyError: 'x'"], ["true", None],
    ],
    "one": [["a", []]],
    "id": [["a", []]],
    "unicode": [["a", []]],
    "several": [["a", []], ["b", []], ["c", []]],
    "generated": [["a", []], ["b", []]],
    "chain": [["c", ["b", "a"]]],
    "chord": [["body", ["h1", "h2", "a"]]],
    "group": [["h1", ["a"]], ["h2", ["a"]]],
    "refused": ["NothingSent", "NothingSent", "NothingSent", "TypeError"],
    "no send": "NothingSent",
    "broken": "SyntaxError",
    "future": None,
}  # fmt: skip


def test_it_says_the_same_everywhere(python: str, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "checks.py").write_text(CHECKS.lstrip(), "utf-8")
    ran = subprocess.run([python, str(tmp_path / "checks.py"), str(GUEST)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == EXPECTED


def test_the_documented_file_is_one() -> None:
    block = re.search(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert block is not None
    functions = {
        node.name: len(node.args.args) for node in ast.walk(ast.parse(block[1])) if isinstance(node, ast.FunctionDef)
    }
    assert functions == {"send": 1, "judge": 2}
