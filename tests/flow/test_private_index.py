"""A company's own package index: its credentials serve the installation, and are nowhere else, in either stack.

The package is on an index of ours that answers nobody without them. The task says what a trial can see: its variables,
its home, and the files that a build had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "environment"))

from package_index import Index, lay, serve

pytestmark = pytest.mark.network

USER, PASSWORD = "robot", "pa55-of-the-index-Wq7"
TASKS = """\
import glob
import os

import company_rates
from celery import Celery

app = Celery("shop", broker="amqp://", backend="rpc://", task_acks_late=True)


@app.task
def seen():
    files = glob.glob(os.path.expanduser("~/.netrc")) + glob.glob(os.path.expanduser("~/.config/*/*"))
    files += glob.glob("/build/**/.netrc", recursive=True)
    return {"rate": company_rates.VERSION, "files": files, "variables": sorted(map("=".join, os.environ.items()))}
"""
CHECK = (
    "value['rate'] == '1.2' and value['files'] == [] and "
    f"not any('{PASSWORD}' in one or one.startswith(('PIP_', 'UV_', 'NETRC')) for one in value['variables'])"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private") / "shop"
    lay(folder, {"requirements.txt": "celery==5.5.2\ncompany-rates\n", "shop.py": TASKS})
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Rates of the company"]):
        subprocess.run([*git, *words], check=True)
    return folder


def served(address: str) -> Iterator[Index]:
    index = Index(login=f"{USER}:{PASSWORD}")
    index.add("company-rates", "1.2")
    with serve(index, address):
        yield index


@pytest.fixture
def index() -> Iterator[Index]:
    yield from served("127.0.0.1")


def with_login(index: Index) -> str:
    return index.url.replace("://", f"://{USER}:{PASSWORD}@")


def netrc(index: Index) -> str:
    host = index.url.split("/")[2].split(":")[0]
    return f"machine {host} login {USER} password {PASSWORD}\n"


def pip_conf(url: str, index: Index) -> str:
    host = index.url.split("/")[2]
    return f"[global]\nextra-index-url = {url}\ntrusted-host = {host}\n"


WAYS: dict[str, Callable[[Index], dict[str, str]]] = {
    "pip.conf": lambda index: {".config/pip/pip.conf": pip_conf(with_login(index), index)},
    "pip.conf and netrc": lambda index: {".pip/pip.conf": pip_conf(index.url, index), ".netrc": netrc(index)},
    "uv.toml and netrc": lambda index: {
        ".config/uv/uv.toml": f'[[index]]\nname = "company"\nurl = "{index.url}"\n', ".netrc": netrc(index),
    },
}  # fmt: skip


def tried(bench: Bench, home: Path, *stack: str) -> None:
    """A good trial, although the task looks for everything; and the password is in nothing that was written."""
    for name in [name for name in bench.environment() if name.startswith(("PIP_", "UV_"))]:
        bench.extra[name] = ""
    # Caches of environments are shared with other tests; a private package's must not come from one.
    bench.caches = home.parent / "caches"
    bench.extra |= {"HOME": str(home), "XDG_CONFIG_HOME": "", "BISECT_CELERY_TEST_UV_CACHE": uv_cache()}
    ended = bench.run("try", "--app", "shop", "--task", "shop.seen", "--check", CHECK, "--json", *stack)
    assert ended.code == 0, ended.text
    assert json.loads(ended.out)["verdict"] == "good", ended.text
    kept = [path for root in (bench.state, bench.caches, bench.temporary) for path in root.rglob("*")]
    found = [path for path in kept if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert not found
    assert PASSWORD not in ended.text


def uv_cache() -> str:
    return os.environ.get("BISECT_CELERY_TEST_UV_CACHE", "")


@pytest.mark.parametrize("way", WAYS)
def test_installed_from_it_and_nothing_of_it_in_the_trial(
    way: str, index: Index, project: Path, bench_at: Callable[[Path], Bench], tmp_path: Path
) -> None:
    lay(tmp_path / "home", WAYS[way](index))
    tried(bench_at(project), tmp_path / "home", "--stack", "process", "--broker", "embedded")
    assert index.requests, "the package came from elsewhere"


@pytest.mark.docker
@pytest.mark.parametrize("way", list(WAYS)[1:2])
def test_in_containers(way: str, project: Path, bench_at: Callable[[Path], Bench], tmp_path: Path) -> None:
    for index in served(bridge()):
        lay(tmp_path / "home", WAYS[way](index))
        bench = bench_at(project)
        began = int(time.time())
        tried(bench, tmp_path / "home", "--stack", "container")
        assert index.requests, "the package came from elsewhere"
        looked_at, found = kept_since(began)
        assert looked_at > 10
        assert found == []


def kept_since(began: int) -> tuple[int, list[str]]:
    """How many files are newer of what stays at the engine (environments, uv's cache), and which have the password."""
    volume = f"{os.environ.get('BISECT_CELERY_ENVIRONMENTS_VOLUME') or 'bisect-celery-environments'}:/kept:ro"
    new = f"find /kept -type f -newermt @{began}"
    script = f"{new} | wc -l; {new} -exec grep -l {PASSWORD} {{}} +; true"
    words = ["docker", "run", "--rm", "-v", volume, "bisect-celery/worker:local", "sh", "-c", script]
    count, *found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    return int(count), found


def bridge() -> str:
    """The address of this machine that containers see; nothing outside it can come there."""
    words = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
