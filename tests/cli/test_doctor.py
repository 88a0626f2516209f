"""`doctor`: what is here is named as it is, what is missing with the way to get it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bisect_celery.flow.doctor import Check, best_stack
from bisect_celery.stack.services.postgres import find_postgres


def doctor(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bisect_celery", "doctor", *words],
        env={**os.environ, "BISECT_CELERY_HOME": str(tmp_path / "home"), **env},
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_what_is_here_is_told_as_data(tmp_path: Path) -> None:
    ended = doctor(tmp_path, "--json", DOCKER_HOST="tcp://127.0.0.1:9")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    checks = {check["name"]: check for check in said["checks"]}
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    assert checks["git"]["found"].startswith(git)
    assert "%d.%d.%d" % sys.version_info[:3] in checks["interpreters"]["found"]  # noqa: UP031
    assert not checks["container stack"]["well"]
    assert "No container engine answers at tcp://127.0.0.1:9 (DOCKER_HOST)" in checks["container stack"]["help"]
    assert "does not answer" in checks["container engine"]["help"]
    assert said["fit"]
    assert said["stack"].startswith("processes")
    assert checks["redis-server"]["well"] == bool(shutil.which("redis-server") or shutil.which("valkey-server"))
    assert ("PostgreSQL" in (checks["databases"]["found"] or "")) == bool(find_postgres())


def test_without_git_no_trial_can_be_made_and_it_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    ended = doctor(tmp_path, PATH=str(tmp_path / "bin"), DOCKER_HOST="tcp://127.0.0.1:9")
    assert ended.returncode == 5, ended.stdout
    assert ended.stdout.startswith("missing   git")
    assert ended.stdout.rstrip().endswith("No trial can be made here yet.")
    assert "Traceback" not in ended.stderr


def test_an_engine_on_another_machine_is_named_and_not_asked(tmp_path: Path) -> None:
    said = json.loads(doctor(tmp_path, "--json", DOCKER_HOST="ssh://me@build.invalid").stdout)
    engine = next(check for check in said["checks"] if check["name"] == "container engine")
    assert "on build.invalid (DOCKER_HOST)" in engine["help"]
    assert "--remote-engine" in engine["help"]
    said = json.loads(doctor(tmp_path, "--json", "--remote-engine", DOCKER_HOST="tcp://build.invalid:2376").stdout)
    engine = next(check for check in said["checks"] if check["name"] == "container engine")
    assert "--remote-engine" not in engine["help"]
    assert engine["found"] is None


@pytest.mark.docker
def test_the_engine_says_what_it_is(tmp_path: Path) -> None:
    said = json.loads(doctor(tmp_path, "--json").stdout)
    found = {check["name"]: check["found"] or "" for check in said["checks"]}
    assert "cgroup v" in found["container engine"]
    assert found["container engine"].startswith(("Docker ", "Podman "))
    assert "container" in found["route out of trials"]


def test_the_stack_is_the_best_there_is() -> None:
    rabbitmq, containers = Check("rabbitmq-server", "here"), Check("container stack", "here")
    assert best_stack((containers, rabbitmq)) == "containers with RabbitMQ"
    assert best_stack((Check("container stack", None), rabbitmq)) == "processes with a private RabbitMQ"
    assert best_stack((Check("container stack", None), Check("rabbitmq-server", None))).endswith("embedded broker")
