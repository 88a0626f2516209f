"""The container stack on a real engine: a worker that works, a wall that holds, and nothing left behind."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from container_support import owned_by, owner_now, started

from bisect_celery import proc
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import symptom
from bisect_celery.core.scenario import parse
from bisect_celery.environment.images.image import image_environment
from bisect_celery.errors import Cancelled, InfraError, UserError
from bisect_celery.lab import earlier
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.watch import Watch
from bisect_celery.model import Build, Environment, Kind, Owner, Place, Probe, Program, Running, Tree, WorkerImage
from bisect_celery.stack.containers import sweep as container_sweep
from bisect_celery.stack.containers.available import available
from bisect_celery.stack.containers.images import remove_image
from bisect_celery.stack.containers.kept import kept_volumes, remove_kept_volume
from bisect_celery.stack.containers.runner import builder_environment
from bisect_celery.stack.containers.stack import ContainerStack
from bisect_celery.stack.engine.api import OWNER_LABEL, Engine
from bisect_celery.stack.engine.build import REPOSITORY

pytestmark = pytest.mark.docker

VOLUME = "bisect-celery-tests"
CANARY = "canary-7f3a"
IMAGE_PYTHON = "/usr/bin/env", "python3", "-I", "-c"
START = 90.0


def environ() -> dict[str, str]:
    """This process's environment, with small workers, a volume of the tests' own, and a secret for builds only."""
    ours = {"BISECT_CELERY_WORKER_MEMORY": "256m", "BISECT_CELERY_ENVIRONMENTS_VOLUME": VOLUME}
    return {**os.environ, **ours, "UV_INDEX_CANARY_PASSWORD": CANARY}


def authorities() -> Path | None:
    path = os.environ.get("SSL_CERT_FILE")
    return Path(path) if path else None


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    state = tmp_path_factory.mktemp("state")
    with started("test-stack", state, environ=environ(), ca_bundle=authorities()) as made:
        yield made
        made.stop()  # and once more


@pytest.fixture(scope="module")
def celery(stack: ContainerStack) -> Environment:
    """Celery in the environments' volume, installed by a builder."""
    home = f"{stack.runner.root}/environments/test-celery-{stack.runner.platform}"
    uv = stack.runner.uv()[0]
    script = (
        f"test -e {home}/done || {{ rm -rf {home} && {uv} venv -q {home} && "
        f"{uv} pip install -q --compile-bytecode --python {home}/bin/python celery==5.4.0 'setuptools<66' && "
        f"touch {home}/done; }}"
    )
    cancel = Token()
    result = stack.runner.run(["sh", "-ec", script], env=dict(os.environ), source=None, deadline=180, cancel=cancel)
    assert result.code == 0, result.text
    return Environment("test", f"{home}/bin/python", f"{home}/bin")


APP = """
import threading
from celery import Celery

app = Celery("app")


@app.task
def add(a, b):
    return a + b


@app.task(acks_late=True)
def hang():
    threading.Event().wait()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    folder = tmp_path / "layout"
    (folder / "package").mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    (folder / "package" / "data.txt").write_text("data")
    (folder / "link").symlink_to("package/data.txt")
    script = folder / "script.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    return folder


@pytest.fixture
def place(stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path) -> Iterator[Place]:
    with stack.place(f"t-{tmp_path.name}", layout, celery, tmp_path / "artifacts", Token()) as made:
        yield made


def program(name: str, *argv: str, env: Mapping[str, str] | None = None, **more: Any) -> Program:
    whole = {"PATH": "/usr/local/bin:/usr/bin:/bin", **(env or {})}
    return Program(name, argv, tuple(whole.items()), **more)


def script(name: str, text: str, *arguments: str, **more: Any) -> Program:
    return program(name, *IMAGE_PYTHON, text, *arguments, **more)


def finish(running: Running, deadline: float = 30.0) -> str:
    """Wait for a program's end; its standard output."""
    assert Token().wait(lambda: not running.alive(), deadline), running.err.read_text()
    return running.out.read_text()


def worker_of(place: Place, celery: Environment) -> Program:
    argv = (celery.python, "-m", "celery", "-A", "app", "-b", place.broker_url, "worker", "-c", "2", "-l", "INFO")
    env = {"HOME": place.work_dir, "PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{celery.bin}:/usr/bin:/bin"}
    return Program("worker", argv, tuple(env.items()))


def sent_by(place: Place, celery: Environment, expression: str, count: int) -> None:
    text = f"import app\nfor _ in range({count}): app.{expression}\nprint('sent')"
    env = {"HOME": place.work_dir, "CELERY_BROKER_URL": place.broker_url, "PYTHONDONTWRITEBYTECODE": "1"}
    sender = place.start(program("sender", celery.python, "-c", text, env=env))
    assert finish(sender) == "sent\n", sender.err.read_text()


def test_what_a_private_program_says_is_no_artifact(
    stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path
) -> None:
    artifacts = tmp_path / "artifacts"
    with stack.place("private", layout, celery, artifacts, Token()) as place:
        sender = place.start(program("sender", "sh", "-c", "echo secret; echo trouble >&2", private=True))
        assert finish(sender) == "secret\n"
        assert not sender.out.is_relative_to(artifacts)
    assert {path.name: path.read_text() for path in artifacts.iterdir()} == {"sender.err": "trouble\n"}
    assert not sender.out.parent.exists()


# --- what it is for ----------------------------------------------------------------------------------


def test_it_is_available_and_says_what_it_is(stack: ContainerStack) -> None:
    fit, why = available(environ())
    assert fit
    assert "Docker" in why
    facts = stack.facts
    assert (facts.name, facts.broker, facts.emulated, facts.walled) == ("container", "rabbitmq", False, True)
    assert facts.broker_version[0].isdigit()
    assert all(image.startswith("sha256:") for _, image in stack.images)


def test_a_celery_worker_works_in_a_place(place: Place, celery: Environment) -> None:
    sent_by(place, celery, "add.delay(2, 3)", 5)
    worker = place.start(worker_of(place, celery))
    done = Token().wait(lambda: worker.err.read_text().count("succeeded in") == 5, START)
    assert done, worker.err.read_text()
    assert Token().wait(lambda: [(q.ready, q.unacked) for q in place.queues() if q.name == "celery"] == [(0, 0)], 10)
    assert worker.alive()
    assert worker.exit_code() is None
    worker.stop()
    worker.stop()
    assert not worker.alive()
    assert worker.exit_code() == -signal.SIGKILL


def test_py_spy_beside_a_hung_worker_sees_its_children(place: Place, celery: Environment) -> None:
    worker = place.start(worker_of(place, celery))
    sent_by(place, celery, "hang.delay()", 2)
    assert Token().wait(lambda: worker.err.read_text().count("received") == 2, START)

    def hung() -> int:
        return sum(any(frame.startswith("hang ") for frame in dump.frames) for dump in place.dump(worker))

    # The log says "received" a moment before the bodies run.
    assert Token().wait(lambda: hung() == 2, START, poll=0.2)
    dumps = place.dump(worker)
    assert dumps[0].role == "parent"
    assert {dump.role for dump in dumps[1:]} == {"child"}
    peaks = place.memory(worker, at_end=True)
    assert set(peaks) == {dump.pid for dump in dumps[1:]}
    assert all(5_000 < peak < 500_000 for peak in peaks.values())
    assert place.memory(worker, at_end=False) == {}
    assert worker.alive()
    worker.stop()
    assert place.dump(worker) == ()
    assert place.memory(worker, at_end=True) == {}


def test_programs_of_a_place_share_checkout_and_work_folder(place: Place) -> None:
    listing = "import os; print(sorted(os.listdir('.')), os.getcwd(), open('link').read(), os.access('script.sh', 1))"
    out = finish(place.start(script("list", listing)))
    assert out == f"['app.py', 'link', 'package', 'script.sh'] {place.checkout} data True\n"
    write = "import os, sys; open('made', 'w').close(); open(sys.argv[1] + '/db', 'w').write('x')"
    finish(place.start(script("prepare", write, place.work_dir)))
    text = f"import os; print(os.path.exists('made'), open('{place.work_dir}/db').read(), os.listdir('{place.guest}'))"
    out = finish(place.start(script("read", text)))
    assert out.startswith("True x [")
    guests = Path(__file__).resolve().parents[2] / "bisect_celery" / "guest"
    assert all(path.name in out for path in guests.glob("*.py"))
    assert finish(place.start(script("below", "import os; print(os.getcwd())", folder="package"))) == (
        f"{place.checkout}/package\n"
    )


def test_each_place_is_fresh(stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        with stack.place("same-name", layout, celery, tmp_path / str(number), Token()) as place:
            text = f"import os; print(os.path.exists('made'), os.listdir('{place.work_dir}')); open('made', 'w')"
            found.append(finish(place.start(script("look", text))))
            assert place.queues() == ()
    assert found == ["False []\n"] * 2
    assert not (layout / "made").exists()


def test_output_input_and_ends_of_programs(place: Place) -> None:
    echo = (
        "import sys\nfor line in sys.stdin:\n  print('got', line.strip(), flush=True)\n  print('err', file=sys.stderr)"
    )
    running = place.start(script("echo", echo, stdin=True))
    for word in ("one", "two"):
        running.write(word)
        assert Token().wait(lambda word=word: f"got {word}\n" in running.out.read_text(), 10)  # type: ignore[misc]
    running.stop()
    assert running.err.read_text() == "err\nerr\n"
    running.write("nobody reads this")

    ended = place.start(script("status", "raise SystemExit(3)"))
    finish(ended)
    assert ended.exit_code() == 3
    ended.stop()
    assert ended.exit_code() == 3

    killed = place.start(script("signal", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    finish(killed)
    assert killed.exit_code() == -signal.SIGSEGV

    missing = place.start(program("missing", "/no/such/program"))
    finish(missing)
    assert missing.exit_code() == 127
    assert "No such file" in missing.err.read_text()


def test_much_output_arrives_whole(place: Place) -> None:
    running = place.start(script("much", "import sys; sys.stdout.write('0123456789' * 400000)"))
    assert len(finish(running)) == 4_000_000


def test_stop_ends_children_that_left_their_group(place: Place) -> None:
    text = "import os, time\nif os.fork() == 0: os.setsid()\nprint('up', flush=True)\ntime.sleep(600)"
    running = place.start(script("daemon", text))
    assert Token().wait(lambda: running.out.read_text().count("up") == 2, 20)
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 10
    with Engine.connect() as engine:
        assert engine.state(running.container) is None  # type: ignore[attr-defined]


def test_a_container_removed_by_somebody_else_is_no_exit_of_the_program(place: Place) -> None:
    running = place.start(script("lost", "import time; time.sleep(600)"))
    with Engine.connect() as engine:
        engine.remove(running.container)  # type: ignore[attr-defined]

    def noticed() -> bool:
        try:
            return not running.alive()
        except InfraError:
            return True

    assert Token().wait(noticed, 20)
    with pytest.raises(InfraError):
        running.exit_code()


# --- the wall ----------------------------------------------------------------------------------------

REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def connect(host, port):
    with socket.create_connection((host, port), timeout=3):
        return "connected"

def resolve(name):
    return "connected by " + str(socket.getaddrinfo(name, 443))

def ask(server):
    question = bytes.fromhex("123401000001000000000000") + b"\\x04pypi\\x03org\\x00\\x00\\x01\\x00\\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.sendto(question, (server, 53))
        return "connected, status %d" % (asking.recv(512)[3] & 15)

def tried(function, *words):
    try:
        return function(*words)
    except OSError as error:
        return type(error).__name__

targets, servers = json.loads(sys.argv[1]), json.loads(sys.argv[2])
with ThreadPoolExecutor(50) as pool:
    found = {host: pool.submit(tried, connect, host, port) for host, port in targets}
    found.update({"name " + name: pool.submit(tried, resolve, name) for name in ("pypi.org", "example.com")})
    found.update({"resolver " + server: pool.submit(tried, ask, server) for server in servers})
print(json.dumps({what: future.result() for what, future in found.items()}))
"""


@contextmanager
def listener() -> Iterator[int]:
    """Somebody who listens on all of this machine's addresses, IPv4 and IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()


def own_addresses() -> list[str]:
    """Every address of this machine but the loopback: LAN, docker0, bridges of the session, IPv6 of each interface."""
    found = set()
    routes = Path("/proc/net/fib_trie").read_text().split("\n")
    for line, following in itertools.pairwise(routes):
        if "/32 host LOCAL" in following:
            found.add(line.split()[-1])
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits = line.split()[0]
        address = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
        found.add(f"{address}%eth0" if address.startswith("fe80") else address)
    return sorted(address for address in found if not address.startswith("127.") and not address.endswith(":0001"))


def gateways() -> list[str]:
    """The first address of every network of the engine, also of those where the host has none."""
    with Engine.connect() as engine:
        configured = [network["IPAM"]["Config"] or [] for network in engine.api.networks()]
    subnets = [config["Subnet"] for configs in configured for config in configs if "." in config["Subnet"]]
    return [subnet.rpartition(".")[0] + ".1" for subnet in subnets]


def resolvers() -> list[str]:
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return [words[1] for line in lines if (words := line.split())[:1] == ["nameserver"] and "." in words[1]]


def test_a_program_reaches_the_broker_and_nothing_else(stack: ContainerStack, place: Place) -> None:
    with listener() as port:
        host = sorted({*own_addresses(), *gateways()})
        assert len(host) >= 3
        outside = [["1.1.1.1", 443], ["8.8.8.8", 53], *_of_the_index()]
        targets = json.dumps([[address, port] for address in host] + outside)
        asked = json.dumps([*resolvers(), "127.0.0.11", "8.8.8.8"])
        walled = json.loads(finish(place.start(script("reach", REACH, targets, asked)), 120))
        open_words = [*IMAGE_PYTHON, REACH, targets, asked]
        control = stack.runner.run(open_words, env={}, source=None, deadline=120, cancel=Token())
    assert len(walled) >= len(host) + 4
    # The engine's resolver answers in there, for the broker's name; about the outside it can only say SERVFAIL.
    assert walled.pop("resolver 127.0.0.11") in ("connected, status 2", "TimeoutError")
    assert [target for target, how in walled.items() if how.startswith("connected")] == []
    # The same question from the builder's network: the host's listener is reached, so the test could have failed.
    reached = json.loads(control.text)
    assert any(reached[address] == "connected" for address in host)
    broker = json.dumps([["rabbitmq", 5672]])
    assert json.loads(finish(place.start(script("broker", REACH, broker, "[]")), 60))["rabbitmq"] == "connected"


def _of_the_index() -> list[list[object]]:
    """An address of the package index as this machine sees it: what a builder reaches."""
    try:
        return [[socket.getaddrinfo("pypi.org", 443, socket.AF_INET)[0][4][0], 443]]
    except OSError:
        return []


IDENTITY = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
written = {}
for path in sys.argv[1:]:
    try:
        open(os.path.join(path, "written"), "w").close()
        written[path] = "written"
    except OSError as error:
        written[path] = type(error).__name__
kept = {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "NoNewPrivs", "Uid")}
print(json.dumps([kept, written, dict(os.environ), open("/proc/mounts").read()]))
"""


def test_a_program_has_no_capability_and_writes_nothing_that_stays(place: Place) -> None:
    running = place.start(script("identity", IDENTITY, "/bisect-celery", "/etc", "/usr/bin", "/proc/sys", "/"))
    status, written, environment, mounts = json.loads(finish(running))
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert set(status["Uid"].split()) == {"65534"}
    assert all(how.endswith("Error") for how in written.values()), written
    assert CANARY not in json.dumps(environment)
    assert not [name for name in environment if name.startswith(("PIP_", "UV_", "SSL_", "RABBITMQ"))]
    assert any(
        line.split()[1:2] == ["/bisect-celery"] and "ro" in line.split()[3].split(",") for line in mounts.splitlines()
    )
    with Engine.connect() as engine:
        described = engine.inspect(running.container)  # type: ignore[attr-defined]
    assert described is not None
    assert {mount["Type"] for mount in described["Mounts"]} == {"volume"}
    assert [mount["Destination"] for mount in described["Mounts"] if mount["RW"]] == ["/trial"]


def test_limits_hold(place: Place) -> None:
    hog = place.start(script("hog", "kept = [bytearray(1 << 20) for _ in range(600)]; print('had it')"))
    assert finish(hog, 60) == ""
    assert hog.exit_code() == -signal.SIGKILL
    assert hog.oom_killed  # type: ignore[attr-defined]
    many = (
        "import threading\nend = threading.Event()\nstarted = 0\ntry:\n  while started < 2000:\n"
        "    threading.Thread(target=end.wait, daemon=True).start(); started += 1\n"
        "except RuntimeError: print(started, flush=True)\nimport os; os._exit(0)"
    )
    crowd = place.start(script("crowd", many))
    assert 0 < int(finish(crowd, 60)) < 512
    assert not crowd.oom_killed  # type: ignore[attr-defined]


def test_the_administrator_is_in_no_argument_and_no_environment(stack: ContainerStack) -> None:
    assert stack._broker is not None
    with Engine.connect() as engine:
        described = engine.inspect(f"{stack._prefix}-rabbitmq")
    assert stack._broker.admin_password not in json.dumps(described)


# --- builds ------------------------------------------------------------------------------------------


def test_a_build_works_on_a_copy_and_sees_the_index_settings(stack: ContainerStack, layout: Path) -> None:
    text = "import os; print(sorted(os.listdir('.')), os.environ['UV_INDEX_URL']); open('app.py', 'w').write('gone')"
    env = {
        "UV_INDEX_URL": "https://index.example/simple",
        "UV_CACHE_DIR": "/home/me/.cache/uv",
        "SSL_CERT_DIR": "/etc/x",
    }
    words = [*IMAGE_PYTHON, text]
    result = stack.runner.run(words, env=env, source=layout, deadline=60, cancel=Token())
    assert result.text == "['app.py', 'link', 'package', 'script.sh'] https://index.example/simple\n"
    assert (layout / "app.py").read_text() == APP


def test_what_a_build_sees_of_the_caller() -> None:
    given = {
        "UV_CACHE_DIR": "/home/me/.cache",
        "UV_FIND_LINKS": "/opt/wheels",
        "UV_INDEX_URL": "https://index.example/simple",
        "UV_EXTRA_INDEX_URL": "file:///opt/pypi",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "https_proxy": "http://proxy:3128",
        "PATH": "/home/me/bin",
    }
    seen = builder_environment(given, authorities=True)
    assert seen["UV_INDEX_URL"] == given["UV_INDEX_URL"]
    assert seen["https_proxy"] == given["https_proxy"]
    assert seen["UV_CACHE_DIR"] == "/bisect-celery/cache"
    assert seen["SSL_CERT_FILE"] == seen["PIP_CERT"] == "/build/authorities.pem"
    assert not {"UV_FIND_LINKS", "UV_EXTRA_INDEX_URL", "PATH"} & set(seen)
    assert "SSL_CERT_FILE" not in builder_environment(given, authorities=False)


def test_a_build_keeps_its_deadline_and_is_cancelled(stack: ContainerStack) -> None:
    sleep = [*IMAGE_PYTHON, "import time; time.sleep(600)"]
    began = time.monotonic()
    with pytest.raises(InfraError, match="did not end within 1 s"):
        stack.runner.run(sleep, env={}, source=None, deadline=1, cancel=Token())
    token = Token()
    threading.Timer(1.0, token.set).start()
    with pytest.raises(Cancelled):
        stack.runner.run(sleep, env={}, source=None, deadline=600, cancel=token)
    assert time.monotonic() - began < 30
    assert not [one for one in owned_by(owner_now("test-stack")) if "builder-" in one and not one.endswith("builder-1")]


def test_a_build_tells_its_status_and_both_streams(stack: ContainerStack) -> None:
    words = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    result = stack.runner.run(words, env={}, source=None, deadline=60, cancel=Token())
    assert result.code == 7
    assert sorted(result.text.split()) == ["err", "out"]


def test_interpreters_and_files_of_the_volume(stack: ContainerStack, celery: Environment) -> None:
    path, version = stack.runner.interpreter(None)
    minor = ".".join(version.split(".")[:2])
    assert path.startswith("/")
    assert stack.runner.interpreter(minor)[1] == version
    with pytest.raises(UserError) as refused:
        stack.runner.interpreter("3.99")
    assert "3.99" in refused.value.message
    assert stack.runner.read(f"{Path(celery.bin).parent}/done") == b""
    assert b"home = " in (stack.runner.read(f"{Path(celery.bin).parent}/pyvenv.cfg") or b"")
    assert stack.runner.read(f"{stack.runner.root}/no/such/file") is None


# --- nothing is left ---------------------------------------------------------------------------------


def test_a_place_leaves_nothing_also_when_its_trial_fails(
    stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path
) -> None:
    def of_the_place() -> list[str]:
        return [one for one in owned_by(owner_now("test-stack")) if "failing" in one]

    def fail() -> None:
        with stack.place("failing", layout, celery, tmp_path / "artifacts", Token()) as place:
            place.start(script("one", "import time; time.sleep(600)"))
            place.start(script("two", "import time; time.sleep(600)"))
            assert len(of_the_place()) == 3  # two containers, one volume
            raise RuntimeError("the trial failed")

    with pytest.raises(RuntimeError, match="the trial failed"):
        fail()
    assert of_the_place() == []


KILLED = """
import os, sys
from pathlib import Path
from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Program
from bisect_celery.stack.containers.stack import ContainerStack

state, layout = Path(sys.argv[1]), Path(sys.argv[2])
authorities = Path(sys.argv[3]) if sys.argv[3] else None
owner = proc.own("test-killed")
stack = ContainerStack(owner=owner, state=state, environ=os.environ, why="", ca_bundle=authorities)
stack.start(Token())
stack.runner.interpreter(None)
with stack.place("t", layout, Environment("", "", ""), state / "artifacts", Token()) as place:
    place.start(Program("sleep", ("sleep", "600"), ()))
    print(owner.label(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_after_a_sigkill_a_sweep_removes_all_and_only_that(stack: ContainerStack, layout: Path, tmp_path: Path) -> None:
    ours = owned_by(owner_now("test-stack"))
    words = [sys.executable, "-c", KILLED, str(tmp_path / "state"), str(layout), str(authorities() or "")]
    with subprocess.Popen(words, env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        owner = Owner.parse(process.stdout.readline().decode().strip())
        assert owner is not None
        assert len(owned_by(owner)) >= 6  # broker, keeper, program, two networks, the place's volume
        assert container_sweep.sweep(lambda found: not proc.is_alive(found)) == []
        process.kill()
        process.wait()
        elsewhere = replace(owner, machine="another-machine")
        assert container_sweep.remove_session(elsewhere) == []
        # A session that starts elsewhere just now sweeps as well, so what this sweep itself removed may be less.
        container_sweep.sweep(lambda found: not proc.is_alive(found))
    assert owned_by(owner) == []
    assert sorted(owned_by(owner_now("test-stack"))) == sorted(ours)


def test_a_sweep_leaves_other_machines_alone(stack: ContainerStack) -> None:
    theirs = replace(owner_now("theirs"), machine="another-machine")
    name = f"{stack._prefix}-theirs"
    with Engine.connect() as engine:
        engine.create_volume(name, {OWNER_LABEL: theirs.label()})
        try:
            assert container_sweep.sweep(lambda owner: owner.machine != proc.machine_id()) == []
            assert owned_by(theirs) == [f"volume {name}"]
            assert container_sweep.remove_session(theirs) == [f"volume {name}"]
        finally:
            engine.remove_volume(name)


# --- when it cannot be had ---------------------------------------------------------------------------


def test_without_an_engine_it_is_said_and_sweeping_is_harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    began = time.monotonic()
    assert available(environ()) == (False, f"no container engine answers at unix://{tmp_path}/no.sock (DOCKER_HOST)")
    assert time.monotonic() - began < 5
    assert container_sweep.sweep(lambda owner: True) == []
    with pytest.raises(InfraError, match="does not answer"):
        ContainerStack(owner=owner_now("none"), state=tmp_path, environ=environ(), why="")


def test_an_engine_on_another_machine_is_asked_nothing_unless_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.invalid:2376")
    monkeypatch.setattr(Engine, "connect", lambda *_, **__: pytest.fail("it was asked"))
    fit, why = available(environ())
    assert not fit
    assert "on build.invalid (DOCKER_HOST)" in why
    assert "--remote-engine" in why
    with pytest.raises(UserError, match=r"build\.invalid") as refused:
        ContainerStack(owner=owner_now("far"), state=tmp_path, environ=environ(), why="")
    assert "--remote-engine" in refused.value.hint
    assert container_sweep.sweep(lambda owner: True) == []
    assert kept_volumes(environ()) == []


def test_an_engine_that_was_named_and_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.invalid:2376")
    fit, why = available(environ(), remote=True)
    assert not fit
    assert "the container engine does not answer" in why
    assert "build.invalid" in why


def test_a_missing_image_is_said_with_what_to_do(tmp_path: Path) -> None:
    chosen = {**environ(), "BISECT_CELERY_WORKER_IMAGE": "registry.invalid/no/such:image"}
    fit, why = available(chosen)
    assert not fit
    assert "registry.invalid/no/such:image" in why
    owner = owner_now("test-missing")
    made = ContainerStack(owner=owner, state=tmp_path, environ=chosen, why="")
    with pytest.raises(InfraError) as refused:
        made.start(Token())
    assert "registry.invalid/no/such:image" in refused.value.message
    assert "scripts/build-images" in refused.value.hint
    assert "BISECT_CELERY_WORKER_IMAGE" in refused.value.hint
    assert owned_by(owner) == []


def test_the_volume_that_stays_can_be_listed_and_deleted() -> None:
    name = f"bisect-celery-test-{owner_now('kept').pid}-kept"
    named = {**environ(), "BISECT_CELERY_ENVIRONMENTS_VOLUME": name}
    with Engine.connect() as engine:
        assert kept_volumes(named) == []
        engine.create_volume(name, {})
        try:
            assert [found for found, _ in kept_volumes(named)] == [name]
            remove_kept_volume(name)
            assert kept_volumes(named) == []
        finally:
            engine.remove_volume(name)


# --- faults, and state from before -------------------------------------------------------------------

PATIENT = Deadlines(boot=90, quiet=20, total=120)


def plan_of(*steps: dict[str, Any]) -> Plan:
    return Plan("app", Probe("app.add", "[1, 2]", count=4), ("-c", "2"), scenario=parse(list(steps)) if steps else ())


def test_a_worker_that_is_cut_off_and_whose_broker_restarts_comes_back(
    stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path
) -> None:
    plan = plan_of({"send": 4}, {"wait": "finished"}, {"restart-broker": 0.5}, {"cut": 0.5}, {"restart-worker": True})
    with stack.place("faults", layout, celery, tmp_path / "artifacts", Token(), alone=True) as place:
        seen = Watch(place, plan, celery, PATIENT, Token(), walled=True).run()
    assert symptom(seen).symptom.kind is Kind.COMPLETED, (symptom(seen), seen)
    assert len(seen.faults) == 3


def test_what_one_place_leaves_another_begins_with(
    stack: ContainerStack, celery: Environment, layout: Path, tmp_path: Path
) -> None:
    plan = plan_of()
    with stack.place("old", layout, celery, tmp_path / "old", Token()) as place:
        folder = f"{place.work_dir}/media"
        finish(place.start(program("mark", "sh", "-c", f"mkdir {folder}; echo 1 > {folder}/a")))
        seen = Watch(place, plan, celery, PATIENT, Token(), walled=True).leave()
        left = earlier.save(place, Tree("old", "old"), seen, 2, tmp_path / "earlier")
    assert (left.queues, left.messages) == (1, 4)
    with stack.place("new", layout, celery, tmp_path / "new", Token()) as place:
        earlier.put(left, place)
        look = place.start(program("look", "sh", "-c", f"cat {place.work_dir}/media/a && rm {place.work_dir}/media/a"))
        assert finish(look) == "1\n", look.err.read_text()
        two = replace(plan, beside=(("-c", "1"),))
        seen = Watch(place, two, celery, PATIENT, Token(), walled=True, left=left.ids).run()
    assert symptom(seen).symptom.kind is Kind.COMPLETED, (symptom(seen), seen)
    assert [message.wave for message in seen.messages] == [0] * 4 + [1] * 4 + [2] * 3, "a slot more, in a second worker"


def health_of(running: Running) -> list[str]:
    """The health check of a program's container: a project's own would send to the broker."""
    with Engine.connect() as engine:
        found: list[str] = (engine.inspect(running.container) or {})["Config"]["Healthcheck"]["Test"]  # type: ignore[attr-defined]
        return found


OWN_IMAGE = """
FROM bisect-celery/worker:local
WORKDIR /srv/app
COPY requirements.txt .
RUN mkdir -p /usr/local/lib/python3.11/dist-packages/celery-9.dist-info .venv && touch .venv/made \\
    && printf 'Metadata-Version: 2.1\\nName: celery\\nVersion: 9\\n' \\
    > /usr/local/lib/python3.11/dist-packages/celery-9.dist-info/METADATA
COPY . .
COPY conf/app.conf /etc/app.conf
RUN useradd --uid 4321 app && chown -R app /srv/app
USER app
ENV FROM_IMAGE=yes
HEALTHCHECK --interval=1s --retries=1 CMD touch /srv/app/health
ENTRYPOINT ["/bin/false"]
"""


def test_programs_in_a_project_s_image_see_their_tree_and_no_other(stack: ContainerStack, tmp_path: Path) -> None:
    def environment(name: str, **files: str) -> Environment:
        common = {"Dockerfile": OWN_IMAGE, "requirements.txt": f"# {tmp_path}\n"}
        for path, text in {**common, **files}.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        images, cancel, worker = stack.own_images(), Token(), WorkerImage(build=Build())
        folder = tmp_path / name
        return image_environment(
            folder, worker, subfolder="", overlays=frozenset(), images=images, cancel=cancel, tells=told.append
        )

    told: list[str] = []
    first = environment("first", **{"shop/a.py": "first", "conf/app.conf": "one", "link/it": ""})
    second = environment("second", **{"shop/b.py": "second", "conf/app.conf": "two"})
    assert len(told) == 2, told
    assert first.image is not None
    assert second.image is not None
    assert first.image.id == second.image.id
    assert (first.packages[0], first.image.user, first.image.root) == (("celery", "9"), 4321, "/srv/app")
    look = "id -u; pwd; echo $FROM_IMAGE; find . -type f | sort; cat shop/* /etc/app.conf; touch shop/written"
    common = ["./.venv/made", "./Dockerfile", "./conf/app.conf"]
    seen = {
        "first": [*common, "./link/it", "./requirements.txt", "./shop/a.py", "firstone"],
        "second": [*common, "./requirements.txt", "./shop/b.py", "secondtwo"],
    }
    try:
        for name, one in (("first", first), ("second", second)):
            with stack.place(f"own-{name}", tmp_path / name, one, tmp_path / f"{name}-artifacts", Token()) as place:
                assert place.checkout == "/srv/app"
                lines = finish(place.start(program("look", "sh", "-c", look))).split("\n")
                assert lines == ["4321", "/srv/app", "yes", *seen[name]]
                again = place.start(program("again", "ls", "/srv/app/shop"))
                assert "written" in finish(again)
                assert health_of(again) == ["NONE"]
    finally:
        with Engine.connect() as engine:
            remove_image(engine, f"{REPOSITORY}:{first.key}")
