"""Which engine is meant is found as the docker client finds it; the client itself is the witness where it is here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bisect_celery.errors import InfraError
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.endpoint import SOCKET, Endpoint, find
from bisect_celery.stack.engine.ssh import words


def context(folder: Path, name: str, host: str, *, skip: bool = False, tls: tuple[str, ...] = ()) -> None:
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": skip}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    for file in tls:
        path = folder / "contexts" / "tls" / identity / "docker" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("pem")


def current(folder: Path, name: str) -> None:
    (folder / "config.json").write_text(json.dumps({"auths": {}, "currentContext": name}))


def test_nothing_said_is_the_socket_of_this_machine(tmp_path: Path) -> None:
    found = find({}, tmp_path)
    assert (found.url, found.machine, found.words, found.tls) == (SOCKET, "", "", None)
    assert found.shares_ports


def test_the_louder_one_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    context(folder, "build", "ssh://me@build.example:2222")
    context(folder, "near", "unix:///run/near.sock")
    current(folder, "near")
    assert find({}, tmp_path).url == "unix:///run/near.sock"
    by_name = find({"DOCKER_CONTEXT": "build"}, tmp_path)
    assert (by_name.machine, by_name.words) == ("build.example", "on build.example (the context build)")
    assert find({"DOCKER_CONTEXT": "default"}, tmp_path).url == SOCKET
    host = {"DOCKER_CONTEXT": "build", "DOCKER_HOST": "tcp://10.0.0.7:2375"}
    assert find(host, tmp_path).machine == "10.0.0.7"
    assert find({"HOME": str(tmp_path)}).url == "unix:///run/near.sock"
    assert find({"HOME": "/nonexistent", "DOCKER_CONFIG": str(folder)}).url == "unix:///run/near.sock"


def test_tls_material_of_a_context_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    context(folder, "safe", "tcp://build.example:2376", tls=("ca.pem", "cert.pem", "key.pem"))
    context(folder, "lax", "tcp://build.example:2376", skip=True, tls=("ca.pem",))
    tls = find({"DOCKER_CONTEXT": "safe"}, tmp_path).tls
    assert tls is not None
    assert tls.verify
    assert [path.name for path in (tls.ca, tls.cert, tls.key) if path] == ["ca.pem", "cert.pem", "key.pem"]
    lax = find({"DOCKER_CONTEXT": "lax"}, tmp_path).tls
    assert lax is not None
    assert (lax.verify, lax.cert) == (False, None)


def test_tls_by_variables(tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    (certificates / "ca.pem").write_text("pem")
    said = {"DOCKER_HOST": "tcp://build.example:2376", "DOCKER_CERT_PATH": str(certificates)}
    tls = find({**said, "DOCKER_TLS_VERIFY": "1"}, tmp_path).tls
    assert tls is not None
    assert tls.verify
    assert tls.ca == certificates / "ca.pem"
    assert find({"DOCKER_HOST": "tcp://build.example:2375"}, tmp_path).tls is None
    assert find({"DOCKER_HOST": "unix:///run/x.sock", "DOCKER_TLS_VERIFY": "1"}, tmp_path).tls is None
    (certificates / "cert.pem").write_text("pem")
    with pytest.raises(InfraError, match=r"key\.pem is not there"):
        find(said, tmp_path)


@pytest.mark.parametrize(
    ("url", "machine", "shares"),
    [
        ("unix:///run/user/1000/docker.sock", "", True),
        ("tcp://127.0.0.1:2375", "", False),
        ("localhost:2375", "", False),
        ("tcp://[::1]:2375", "", False),
        ("tcp://build.example:2376", "build.example", False),
        ("ssh://me@localhost", "localhost", False),
    ],
)
def test_where_an_engine_is(tmp_path: Path, url: str, machine: str, shares: bool) -> None:
    found = find({"DOCKER_HOST": url}, tmp_path)
    assert (found.machine, found.shares_ports) == (machine, shares)


def test_what_cannot_be_read_is_never_another_engine(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    context(folder, "odd", "gopher://build.example")
    current(folder, "gone")
    with pytest.raises(InfraError, match="names the Docker context gone, and there is none"):
        find({}, tmp_path)
    with pytest.raises(InfraError, match="no address of a container engine"):
        find({"DOCKER_CONTEXT": "odd"}, tmp_path)
    with pytest.raises(InfraError, match="no address"):
        find({"DOCKER_HOST": "tcp://"}, tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(InfraError, match="cannot be read"):
        find({}, tmp_path)


def test_an_engine_by_ssh_is_a_socket_brought_here() -> None:
    said = words("ssh://me@build.example:2222/run/user/1000/docker.sock", Path("/tmp/x/s"))
    assert said[0] == "ssh"
    assert said[-9:-1] == ["-l", "me", "-p", "2222", "-L", "/tmp/x/s:/run/user/1000/docker.sock", "--", "build.example"]
    assert "BatchMode=yes" in said
    assert words("ssh://build.example", Path("/s"))[-4:-1] == ["/s:/var/run/docker.sock", "--", "build.example"]
    # What begins with a dash is a host, never an option of ssh's.
    assert words("ssh://-oProxyCommand=x/", Path("/s"))[-3] == "--"


@pytest.mark.docker
def test_the_docker_client_means_the_same(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    assert docker is not None
    folder = tmp_path / ".docker"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def client(*arguments: str) -> str:
        done = subprocess.run([docker, *arguments], env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    client("context", "create", "build", "--docker", "host=tcp://build.example:2375")
    client("context", "use", "build")
    host = client("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    assert find({"DOCKER_CONFIG": str(folder)}) == Endpoint(host, "the context build")
    client("context", "use", "default")
    assert find({"DOCKER_CONFIG": str(folder)}) == find({}, tmp_path)


def test_an_engine_is_trusted_by_its_own_certificates_whatever_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, company = tmp_path / ".docker", tmp_path / "company.pem"
    for path in (company, tmp_path / "ca.pem"):
        path.write_text("pem")
    context(folder, "safe", "tcp://127.0.0.1:2376", tls=("ca.pem",))
    context(folder, "lax", "tcp://127.0.0.1:2376", skip=True, tls=("ca.pem",))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(company))

    def believed(name: str) -> object:
        with Engine.connect(version="1.41", endpoint=find({"DOCKER_CONTEXT": name}, tmp_path)) as engine:
            return engine.api.merge_environment_settings("https://127.0.0.1:2376", {}, None, None, None)["verify"]

    ca = folder / "contexts" / "tls" / hashlib.sha256(b"safe").hexdigest() / "docker" / "ca.pem"
    assert (believed("safe"), believed("lax")) == (str(ca), False)
