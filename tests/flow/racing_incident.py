"""Intermittent incidents: a race at boot that a worker loses one start in two, or one in five.

The mechanism is real. When the worker boots, a thread a price list reads it from disk and stores it; the list of the
primary source must win. The culprit drops the guard that saw to it, so that whoever stores last wins, and one of the
lists lacks a price that the task needs. Threads are started in the order of a set, which Python shuffles anew in each
process (PYTHONHASHSEED), so no list is favoured by being started first: of `sources` lists each is the last one equally
often. A start therefore fails one time in `sources`, with every one of its tasks: probes of one start are all alike.
"""

from __future__ import annotations

from pathlib import Path

from small_incident import APP, APP_MODULE, REQUIREMENTS, Files, Incident, commit, git

CULPRIT_TITLE = "Tidy the price lists"
NAMES = ("catalogue", "promotions", "outlet", "wholesale", "archive")
GUARD = '        if CURRENT.get("source") != PRIMARY:\n            CURRENT.update(source=name, prices=prices)\n'

_SOURCES = '''\
"""Prices come from several lists, which are read at once when a worker boots."""

import json
import threading
from pathlib import Path

NAMES = {names}
PRIMARY = "catalogue"
CURRENT = {{}}
_lock = threading.Lock()


def read(name):
    """One list, as it stands in its file."""
    return json.loads(Path(__file__).with_name(name + ".json").read_text())


def store(name):
    prices = read(name)
    with _lock:
        if CURRENT.get("source") != PRIMARY:
            CURRENT.update(source=name, prices=prices)


def load():
    """Read all lists; the primary one is in force."""
    threads = [threading.Thread(target=store, args=(name,)) for name in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


load()
'''
_TASKS = '''\
"""What the shop does in the background."""

from shop.app import app
from shop.money import amount
from shop.sources import CURRENT


@app.task(name="shop.tasks.total")
def total(prices):
    """The sum of all prices, with shipping."""
    return amount(sum(prices) + CURRENT["prices"]["shipping"])
'''
_MONEY = "def amount(number):\n    return number\n"

Commits = list[tuple[str, Files]]


def racing(folder: Path, sources: int = 2, *, short: bool = False) -> Incident:
    """Fourteen commits (`short`: six), of which one by one hunk makes a start fail one time in `sources`."""
    names = NAMES[:sources]
    commits = _commits(names)
    if short:
        commits = commits[:1] + commits[5:10]
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    shas = [commit(folder, title, files, number) for number, (title, files) in enumerate(commits)]
    culprit = shas[[title for title, _ in commits].index(CULPRIT_TITLE)]
    return Incident(folder, tuple(shas), culprit, '-        if CURRENT.get("source") != PRIMARY:', words())


def words() -> tuple[str, ...]:
    return (
        "--app", APP, "--worker", "-c 1", "--task", "shop.tasks.total", "--args", "[[1, 2]]", "--count", "2",
        "--env", "SHOP_BROKER={broker_url}", "--stack", "process", "--broker", "embedded",
    )  # fmt: skip


def is_broken(sources: str) -> bool:
    """Whether a tree whose `shop/sources.py` reads so has the race, for those who do not start workers."""
    return bool(sources) and GUARD not in sources


def _commits(names: tuple[str, ...]) -> Commits:
    source = _SOURCES.format(names="{" + ", ".join(f'"{name}"' for name in names) + "}")
    lists = {f"shop/{name}.json": '{"small": 1, "large": 2, "shipping": 3}\n' for name in names}
    lists["shop/promotions.json"] = '{"small": 1, "large": 1}\n'
    first = {
        "requirements.txt": REQUIREMENTS,
        "shop/__init__.py": "",
        "shop/app.py": APP_MODULE,
        "shop/settings.py": "worker_prefetch_multiplier = 1\n",
        "shop/tasks.py": _TASKS,
        "shop/money.py": _MONEY,
        "shop/sources.py": source,
        **lists,
    }
    tidied = source.replace(GUARD, "        CURRENT.update(source=name, prices=prices)\n")
    tidied = tidied.replace("One list, as it stands in its file.", "One list.")
    later = tidied.replace("Read all lists; the primary one is in force.", "Read all lists.")
    tasks = _TASKS.replace('"""What the shop does in the background."""', '"""Background work of the shop."""')
    money = "def amount(number):\n    # cents are rounded where invoices are written\n    return number\n"
    return [
        ("Begin the shop", first),
        ("Say what this is", {"README.md": "A shop.\n"}),
        ("Note who to ask", {"README.md": "A shop.\n\nAsk Mara.\n"}),
        ("Name the primary list", {"README.md": "A shop.\n\nAsk Mara. The catalogue is the primary list.\n"}),
        ("List currencies", {"shop/currencies.py": "KNOWN = ('EUR', 'SEK')\n"}),
        ("Set a time limit", {"shop/settings.py": "worker_prefetch_multiplier = 1\ntask_time_limit = 60\n"}),
        (CULPRIT_TITLE, {"shop/sources.py": tidied, "shop/tasks.py": tasks, "shop/money.py": money}),
        ("Add a currency", {"shop/currencies.py": "KNOWN = ('EUR', 'NOK', 'SEK')\n"}),
        ("Shorten a docstring", {"shop/sources.py": later}),
        ("Say how to pay", {"PAYING.md": "By card.\n"}),
        ("Name the currencies' file", {"PAYING.md": "By card. Currencies: shop/currencies.py.\n"}),
        ("Add another currency", {"shop/currencies.py": "KNOWN = ('DKK', 'EUR', 'NOK', 'SEK')\n"}),
        ("Raise the time limit", {"shop/settings.py": "worker_prefetch_multiplier = 1\ntask_time_limit = 90\n"}),
        ("Ask somebody else", {"README.md": "A shop.\n\nAsk Tore.\n"}),
    ]
