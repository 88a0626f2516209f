"""A project's compose file as a clean checkout has it: what stands in for files and values that are not committed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bisect_celery.config import Composed, load
from bisect_celery.config.listing import Cached, FolderListing
from bisect_celery.errors import UserError
from bisect_celery.flow.composed import composed
from bisect_celery.stack.compose.project import find

pytestmark = pytest.mark.compose

WORKER = "image: shop, command: celery -A shop worker"


def said(folder: Path, files: Mapping[str, str], *, user: Mapping[str, str] | None = None, **flags: object) -> Composed:
    """What is made of a revision's `files` by somebody whose folder has `user`'s as well."""
    tree, root = folder / "tree", folder / "folder"
    for place, contents in ((tree, files), (root, user or {})):
        place.mkdir(parents=True)
        for path, content in contents.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(content)
    loaded, scratch = load(flags, typed_in=root, root=root, caller_environment={}), folder / "scratch"
    found = composed(loaded, Cached(FolderListing(tree)), scratch)
    assert found is not None
    assert not scratch.exists() or not list(scratch.iterdir()), "passwords lie nowhere afterwards"
    return found


def given(found: Composed) -> dict[str, str]:
    return {one.name: one.value for one in found.variables}


def test_an_example_stands_in_for_what_is_not_committed(tmp_path: Path) -> None:
    files = {
        "docker-compose.yml": f"""\
version: "3.8"
services:
  worker: {{{WORKER}, env_file: [.env, conf/mail.env, conf/none.env], environment: {{KEY: "${{SECRET_KEY}}"}}}}
  db: {{image: "postgres:$TAG", environment: {{POSTGRES_PASSWORD: "$POSTGRES_PASSWORD"}}}}
""",
        ".env.example": "TAG=15\nSECRET_KEY=change-me\nPOSTGRES_PASSWORD=\nSMTP_PASSWORD=\nNAME=shop\nLICENSE=trial\n"
        "API_TOKEN=t0ken-9\n",
        "conf/mail.env.dist": "MAIL=yes\n",
    }
    found = said(tmp_path, files)
    assert found.companions[0].image == "postgres:15"
    variables = given(found)
    assert (variables["NAME"], variables["MAIL"], variables.get("SMTP_PASSWORD", "")) == ("shop", "yes", "")
    assert variables["KEY"] == variables["SECRET_KEY"] != "change-me"
    assert len(variables["POSTGRES_PASSWORD"]) == 64
    assert dict(found.companions[0].environment)["POSTGRES_PASSWORD"] == variables["POSTGRES_PASSWORD"]
    assert ".env is neither committed nor in your folder, so .env.example stands in" in found.stood_in
    assert "conf/mail.env is neither committed nor in your folder, so conf/mail.env.dist stands in" in found.stood_in
    assert any("conf/none.env" in note and "`--overlay FILE:conf/none.env`" in note for note in found.stood_in)
    assert not {"shop", "trial"} & set(found.secrets)
    assert "t0ken-9" in found.secrets


def test_the_users_own_file_comes_before_an_example_and_names_the_compose_files(tmp_path: Path) -> None:
    other = f"services: {{worker: {{{WORKER}, environment: {{A: $A}}}}, search: {{image: search, profiles: [all]}}}}"
    files = {
        "docker-compose.yml": "services: {nothing: {image: x}}\n",
        "dev.yml": f"version: '3.9'\n{other}\n",
        ".env.example": "A=shown\n",
    }
    found = said(tmp_path, files, user={".env": "A=own\nCOMPOSE_FILE=dev.yml\nCOMPOSE_PROFILES=all\n"})
    assert (found.files, given(found)) == (("dev.yml",), {"A": "own"})
    assert [one.name for one in found.companions] == ["search"]
    assert not any(".env" in note for note in found.stood_in)


def test_a_value_that_must_be_there_is_named_with_its_flag_and_a_password_is_ours(tmp_path: Path) -> None:
    worker = f"{{{WORKER}, environment: {{A: '${{REGION:?say it}}', B: '${{DB_PASSWORD:?}}', C: '${{PLACE:?}}'}}}}"
    files = {"compose.yaml": f"version: '3.9'\nservices: {{worker: {worker}}}\n"}
    (note,) = said(tmp_path / "one", files).notes
    assert note.startswith("found, and not used: ")
    assert "REGION, PLACE must have a value: `--env REGION=VALUE --env PLACE=VALUE`, or `--env-file FILE`." in note
    found = said(tmp_path / "two", files, env=["REGION=north", "PLACE=x"])
    assert given(found)["A"] == "north"
    assert len(given(found)["B"]) == 64
    assert "nobody set DB_PASSWORD: a word of ours (`--env NAME=VALUE`)" in found.stood_in
    with pytest.raises(UserError, match="cannot be resolved") as refused:
        said(tmp_path / "three", {}, user=files, compose=[str(tmp_path / "three" / "folder" / "compose.yaml")])
    assert "--env REGION=VALUE" in refused.value.hint


def test_secrets_are_the_users_files_overlays_come_first_and_none_is_shown(tmp_path: Path) -> None:
    file = f"""\
version: "3.8"
services:
  worker: {{{WORKER}, secrets: [db_password, api]}}
  db: {{image: postgres, environment: {{POSTGRES_PASSWORD_FILE: /run/secrets/db_password}}, secrets: [db_password]}}
secrets: {{db_password: {{file: ./secrets/db.txt}}, api: {{file: secrets/api.txt}}}}
"""
    own = tmp_path / "own.txt"
    tmp_path.joinpath("own.txt").write_text("from-an-overlay-3\n")
    user = {"secrets/db.txt": "horse-staple-9\n", "secrets/api.txt": "not-this\n"}
    found = said(tmp_path, {"docker-compose.yml": file}, user=user, overlay=[f"{own}:secrets/api.txt"])
    assert dict(found.worker_files) == {
        "/run/secrets/db_password": b"horse-staple-9\n", "/run/secrets/api": b"from-an-overlay-3\n",
    }  # fmt: skip
    assert found.companions[0].files == (("/run/secrets/db_password", b"horse-staple-9\n"),)
    assert {"horse-staple-9", "from-an-overlay-3"} <= set(found.secrets)
    assert found.notes == found.stood_in == ()


def test_a_program_of_old_that_does_not_know_the_format_says_how_to_get_another(tmp_path: Path) -> None:
    program = find()
    assert program is not None
    files = {"compose.yaml": f"services: {{worker: {{{WORKER}}}}}\nsecrets: {{a: {{environment: A}}}}\n"}
    (*notes,) = said(tmp_path, files).notes
    assert bool(notes) == program.first
    assert all("docker-compose 1." in note and "docker-compose-plugin" in note for note in notes)


def test_images_are_built_from_folders_that_hold_no_compose_file(tmp_path: Path) -> None:
    files = {
        "docker-compose.yml": """\
services:
  proxy: {build: {context: ./apps/proxy}}
  worker: {build: ./apps/api, command: celery -A shop worker, depends_on: [db]}
  migrator:
    build: ./apps/api
    restart: no
  db: {image: "postgres:16"}
""",
        "apps/api/Dockerfile": "FROM python:3.11\n",
        "apps/proxy/Dockerfile": "FROM nginx\n",
    }
    found = said(tmp_path, files)
    assert [one.name for one in found.companions] == ["db"]
    assert found.commands
    assert found.notes == ()
