"""The look through a web process's eyes: the fork on every interpreter, and what it sees of real projects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from test_sender import GUEST, python  # noqa: F401  the fixture

# --- the fork and its pipes, everywhere ---------------------------------------------------------------

# Celery as far as the look needs it: what is current is what the task's module says.
FAKE_CELERY = """
import shop
def app_or_default():
    return shop.current
"""
SHOP = """
print("not a word of ours")
class App(object):
    main, set_as_current = "shop", True
class Made(object):
    main, set_as_current = "default", False
app, made, other = App(), Made(), App()
current = app
"""
ASK = """
from __future__ import print_function
import json, os, sys, threading
sys.path[0] = os.getcwd()
sys.path.append(sys.argv[1])
import bisect_celery_web

class Connection(object):
    hostname, port, virtual_host = "production.example", 5672, "/"

def find_app(name):
    __import__(name)
    return sys.modules[name].app

def look(module):
    heard, said = {}, threading.Event()
    def say(**fields):
        heard.update(fields)
        said.set()
    web = bisect_celery_web.Web(find_app, lambda app: [Connection()])
    web.look(say, app="shop", module=module, settings=None, broker={"host": "h", "port": 1, "vhost": "v"})
    assert said.wait(30)
    web.close()
    assert web._pid is None
    return heard

unasked = bisect_celery_web.Web(find_app, None)
pid = unasked._pid
unasked.close()
unasked.close()
try:
    os.kill(pid, 0)
    gone = False
except OSError:
    gone = True
seen = dict((module, look(module)) for module in sys.argv[2:])
assert "shop" not in sys.modules
print(json.dumps({"seen": seen, "gone": gone}))
"""
MODULES = {
    "plain": "import shop",
    "without": "import shop\nshop.current = shop.made",
    "elsewhere": "import shop\nshop.current = shop.other",
    "leaves": "import sys\nsys.exit('no settings')",
    "dies": "import os\nos._exit(3)",
}


def test_the_fork_and_what_comes_back_are_the_same_everywhere(python: str, tmp_path: Path) -> None:  # noqa: F811
    write(tmp_path, {"celery/__init__.py": "", "celery/app.py": FAKE_CELERY, "shop.py": SHOP, "ask.py": ASK.lstrip()})
    write(tmp_path, {f"{name}.py": text for name, text in MODULES.items()})
    asked = [name for name in MODULES if name != "dies"]
    ran = run([python, "ask.py", str(GUEST), *asked, "not_there"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    missing = told["seen"].pop("not_there")
    assert missing["error"] in ("ImportError", "ModuleNotFoundError")
    assert told == {
        "gone": True,
        "seen": {
            "plain": {"app": "project", "broker": "production.example"},
            "without": {"app": "default", "broker": "production.example"},
            "elsewhere": {"app": "another", "broker": "production.example"},
            "leaves": {"error": "SystemExit"},
        },
    }


# --- real projects, by the sender as a trial starts it -----------------------------------------------

BROKER = {"host": "127.0.0.1", "port": 5999, "vhost": "ours", "user": "me"}
URL = "amqp://me:secret@127.0.0.1:5999/ours"
DJANGO = {
    "shop/__init__.py": "",
    "shop/celery.py": """
        import os
        from celery import Celery
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks(["shop"])
    """,
    "shop/settings.py": """
        INSTALLED_APPS = ["shop"]
        CELERY_BROKER_URL = "amqp://production.example//"
    """,
    "shop/tasks.py": """
        from celery import shared_task

        @shared_task
        def work():
            pass
    """,
}
IMPORTED = {"shop/__init__.py": "from .celery import app\n"}
PLAIN = {"shop.py": "from celery import Celery\napp = Celery()\n@app.task(name='shop.tasks.work')\ndef work(): pass\n"}
OURS = {"shop/settings.py": "import os\nINSTALLED_APPS = []\nCELERY_BROKER_URL = os.environ['CELERY_BROKER_URL']\n"}
DIES_IN_WEB = {
    "shop/settings.py": """
        import os, sys
        INSTALLED_APPS = []
        if "shop.celery" not in sys.modules:
            os._exit(3)
    """
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**DJANGO, **IMPORTED}, {"app": "project", "broker": "production.example"}),
        (DJANGO, {"app": "default", "broker": "localhost"}),
        ({**DJANGO, **IMPORTED, **OURS}, {"app": "project", "broker": "ours"}),
        (PLAIN, {"error": "nothing to see"}),
        ({**DJANGO, **DIES_IN_WEB}, {"error": "no word"}),
    ],
    ids=["imported", "not imported", "settings from us", "bound to its app", "dies where a web process starts"],
)
def test_what_a_web_process_sends_by(files: dict[str, str], expected: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path, files)
    said = talk(tmp_path)
    assert said["loaded"]["facts"]["registered"], "the look is no part of loading"
    assert said["web"] == {"event": "web", **expected}


def talk(folder: Path) -> dict[str, dict[str, Any]]:
    """Load the project, wait for what the look has to say, and return what was said, by event."""
    module = "shop.celery" if (folder / "shop").is_dir() else "shop"
    order = {"do": "load", "app": module, "task": "shop.tasks.work", "broker": BROKER}
    environment = {
        "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"), URL),
    }  # fmt: skip
    sender = subprocess.Popen(
        [sys.executable, str(GUEST / "sender.py")], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said: dict[str, dict[str, Any]] = {}
    with sender:
        assert sender.stdin is not None
        assert sender.stdout is not None
        sender.stdin.write(json.dumps(order) + "\n")
        sender.stdin.flush()
        for line in sender.stdout:
            told = json.loads(line)
            said[told["event"]] = told
            assert told["event"] != "failed", told
            if told["event"] == "web":
                break
        assert not children(sender.pid)
        sender.stdin.close()
        assert sender.wait(60) == 0
    return said


def children(pid: int) -> bool:
    """Whether a process has a child that still runs."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z" for child in found)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
