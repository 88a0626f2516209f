"""The compose program of this machine resolves a project's file; nothing of the caller's environment fills it in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bisect_celery.stack.compose import project
from bisect_celery.stack.compose.project import NotResolved, Program, Resolved, find, readable, resolve

FILE = """\
services:
  worker:
    image: ${IMAGE:-python:3.11}
    env_file: .env
    environment: {FROM_CALLER: "${STOLEN}", BARE: , COST: "5$$", GIVEN: "${GIVEN}"}
    command: celery -A shop worker
  db: {image: "postgres:16", volumes: ["data:/var/lib/postgresql/data", "./conf:/etc/conf:ro"]}
volumes: {data: {}}
"""
pytestmark = pytest.mark.compose


@pytest.fixture
def program() -> Program:
    found = find()
    assert found is not None
    return found


def resolved(program: Program, folder: Path, text: str = FILE) -> Resolved:
    (folder / "compose.yaml").write_text(text)
    return resolve(program, [folder / "compose.yaml"], folder, "shop", {"GIVEN": "said"})


def test_a_file_is_resolved(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOLEN", "the caller's")
    monkeypatch.setenv("BARE", "the caller's")
    (tmp_path / ".env").write_text("IMAGE=python:3.12\nPASSWORD=s3cret\n")
    found = resolved(program, tmp_path)
    worker = found.document["services"]["worker"]
    assert worker["image"] == "python:3.12"
    given = {name: value for name, value in worker["environment"].items() if value}
    assert given == {"IMAGE": "python:3.12", "PASSWORD": "s3cret", "COST": "5$", "GIVEN": "said"}
    assert found.unset == ("STOLEN",)
    mounts = str(found.document["services"]["db"]["volumes"])
    assert f"{tmp_path}/conf" in mounts
    assert "the caller's" not in str(found)


def test_why_a_file_cannot_be_resolved(program: Program, tmp_path: Path) -> None:
    with pytest.raises(NotResolved, match=r"\.env") as refused:
        resolved(program, tmp_path)
    assert str(tmp_path) not in str(refused.value)
    with pytest.raises(NotResolved, match=r"say it in \.env"):
        resolved(program, tmp_path, 'services: {a: {image: "x:${PASSWORD:?say it in .env}"}}')
    with pytest.raises(NotResolved):
        resolved(program, tmp_path, "services: {a: [")


def test_the_plugin_is_asked_before_the_program_of_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in (
        ("docker", 'test "$1 $2" = "compose version" && echo v2.26.1'),
        ("docker-compose", "echo 1.29.2"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    assert find() == Program(("docker", "compose"), "2.26.1")
    (tmp_path / "docker").write_text("#!/bin/sh\necho \"docker: 'compose' is not a docker command.\" >&2; exit 1\n")
    assert find() == Program(("docker-compose",), "1.29.2")
    (tmp_path / "docker-compose").unlink()
    monkeypatch.setattr(project.shutil, "which", lambda _: None)
    assert find() is None


def test_a_bare_no_is_a_word_to_every_version(program: Program, tmp_path: Path) -> None:
    text = "services:\n  migrator:\n    image: shop\n    restart: no\n  worker: {image: shop}\n"
    assert readable(text.encode()) == text.replace("restart: no", 'restart: "no"').encode()
    said = resolved(program, tmp_path, readable(text.encode()).decode())
    assert said.document["services"]["migrator"]["image"] == "shop"


def test_what_is_not_a_bare_no_stays() -> None:
    text = b'services:\n  a: {restart: always}\n  b:\n    restart: "no"\n  c:\n    command: restart: no way\n'
    assert readable(text) == text
