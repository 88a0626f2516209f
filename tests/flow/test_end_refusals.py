"""Ends that are not what was said: one sentence, the command or flag that helps, and the right exit status."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import small_incident
from bench import Bench, Ended
from small_incident import Incident, commit, git

USAGE, ENDS = 2, 3
WITHOUT_BROKER = small_incident.words()[:8]
Made = Callable[[Path], Bench]


def refused(ended: Ended, code: int, *pieces: str) -> None:
    """One sentence that says what is wrong, something to type that helps, and nothing of ours in between."""
    assert ended.code == code, ended.text
    assert "Traceback" not in ended.text
    for piece in pieces:
        assert piece in ended.text, f"{piece!r} is not in:\n{ended.text}"
    assert re.search(r"`[^`]+`|bisect-celery run|git [a-z]|--[a-z]", ended.err), "nothing to type"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, caches: Path, failing: Incident) -> Bench:
    """For what is refused before anything is tried."""
    machine = tmp_path_factory.mktemp("plain")
    bench = Bench(failing.folder, machine / "state", caches, machine / "tmp")
    bench.temporary.mkdir()
    return bench


# --- refused before anything is tried ----------------------------------------------------------------------


def test_swapped_ends_come_with_the_corrected_command(plain: Bench, failing: Incident) -> None:
    ended = plain.run("run", "HEAD", failing.good, *failing.words)
    refused(ended, ENDS, "The ends are swapped", f"bisect-celery run {failing.good} HEAD")


def test_one_commit_cannot_be_both_ends(plain: Bench, failing: Incident) -> None:
    refused(plain.run("run", "HEAD", "HEAD", *failing.words), ENDS, "the same commit", "older commit")


def test_an_unknown_revision_is_named(plain: Bench, failing: Incident) -> None:
    refused(plain.run("run", "v9.9", "HEAD", *failing.words), USAGE, "v9.9", "git ")
    refused(plain.run("run", failing.good, "mian", *failing.words), USAGE, "mian", "main")


def test_a_pathspec_that_nothing_touches_is_refused(plain: Bench, failing: Incident) -> None:
    ended = plain.run("run", failing.good, "HEAD", *failing.words, "--", "docs/")
    refused(ended, USAGE, "No commit between GOOD and BAD touches docs", "git log")


def test_wrong_values_are_refused_before_anything_is_made(plain: Bench, failing: Incident) -> None:
    for words in (["--args", "[1"], ["--env", "NAME"], ["--budget", "soon"], ["--match", "sane"], ["--overlay", "no"]):
        refused(plain.run("run", failing.good, "HEAD", *failing.words, *words), USAGE, words[0])


def test_what_was_refused_leaves_no_session(plain: Bench, failing: Incident) -> None:
    refused(plain.run("run", "HEAD", failing.good, *failing.words), ENDS)
    assert plain.sessions() == ()
    assert list(plain.home.sessions.iterdir()) == []
    assert plain.left() == []


def test_a_stack_that_cannot_be_had_names_the_other(plain: Bench, failing: Incident) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    ended = plain.run("run", failing.good, "HEAD", *failing.words, "--stack", "container", env=nowhere)
    refused(ended, USAGE, "embedded broker serves the process stack only")
    words = [word for word in failing.words if word not in ("--broker", "embedded", "--stack", "process")]
    ended = plain.run("run", failing.good, "HEAD", *words, "--stack", "container", env=nowhere)
    refused(ended, USAGE, "The container stack cannot be had", "--stack process")


def test_unrelated_histories_are_refused(bench_at: Made, failing: Incident, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(failing.folder, folder)
    git(folder, "checkout", "--quiet", "--orphan", "other")
    commit(folder, "Begin anew", {"README.md": "Another shop.\n"}, 9)
    refused(bench_at(folder).run("run", "main", "other", *failing.words), ENDS, "no common history", "git merge-base")


def test_a_folder_outside_any_repository_is_refused(bench_at: Made, failing: Incident, tmp_path: Path) -> None:
    ended = bench_at(tmp_path).run("run", "HEAD~1", "HEAD", *failing.words, env={"GIT_CEILING_DIRECTORIES": "/"})
    refused(ended, USAGE, "is not in a git repository")


def test_a_shallow_clone_that_lacks_the_range_is_told_how_to_get_it(
    bench_at: Made, failing: Incident, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{failing.folder}", "shallow")
    bench = bench_at(tmp_path / "shallow")
    refused(bench.run("run", failing.good, "HEAD", *failing.words), USAGE, "git fetch --unshallow")


def test_a_repository_without_an_app_is_refused(bench_at: Made, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, "Nothing", {"README.md": "Nothing.\n"}, 1)
    commit(folder, "Still nothing", {"README.md": "Still nothing.\n"}, 2)
    refused(bench_at(folder).run("run", "HEAD~1", "HEAD"), USAGE, "--app")


# --- ends that do not come to their probes -----------------------------------------------------------------


def two_commits(folder: Path, extra: dict[str, str]) -> Incident:
    """The small incident with other files in it from its first commit on."""
    return small_incident.failing(folder, extra)


def log_lines(ended: Ended) -> list[str]:
    """What is shown of a program's own output: lines that stand further in than ours."""
    return [line for line in ended.err.splitlines() if line.startswith("      ")]


@pytest.mark.network
def test_a_missing_variable_is_named_with_the_flag_that_gives_it(bench_at: Made, failing: Incident) -> None:
    ended = bench_at(failing.folder).run("run", failing.good, "HEAD", *WITHOUT_BROKER, *PROCESS)
    refused(ended, ENDS, "GOOD", "SHOP_BROKER", "--env SHOP_BROKER=VALUE", "--pass SHOP_BROKER", "--env-file")
    assert 1 <= len(log_lines(ended)) <= 5


PROCESS = ("--stack", "process", "--broker", "embedded")


@pytest.mark.network
def test_a_missing_variable_of_the_projects_own_example_is_taken_from_there(bench_at: Made, tmp_path: Path) -> None:
    incident = two_commits(tmp_path / "shop", {"docker/.env.example": "SHOP_BROKER=amqp://guest:guest@rabbit//\n"})
    bench = bench_at(incident.folder)
    ended = bench.run("try", incident.good, *WITHOUT_BROKER, *PROCESS)
    assert "SHOP_BROKER is missing, so every trial has the one variable of docker/.env.example" in ended.err
    assert "good: completed" in ended.out, ended.text


@pytest.mark.network
def test_a_missing_module_is_named_and_an_overlay_gives_it(bench_at: Made, tmp_path: Path) -> None:
    settings = "from shop.local_settings import *\ntask_acks_late = True\nworker_prefetch_multiplier = 1\n"
    incident = two_commits(tmp_path / "shop", {"shop/settings.py": settings})
    bench = bench_at(incident.folder)
    ended = bench.run("run", incident.good, "HEAD", *incident.words)
    refused(ended, ENDS, "shop.local_settings", "--overlay FILE")
    assert 1 <= len(log_lines(ended)) <= 5
    local = tmp_path / "local_settings.py"
    local.write_text("worker_max_tasks_per_child = 100\n")
    given = bench.run("try", incident.good, *incident.words, "--overlay", f"{local}:shop/local_settings.py")
    assert given.code == 0, given.text
    assert "good: completed" in given.out


@pytest.mark.network
def test_a_missing_host_is_named(bench_at: Made, tmp_path: Path) -> None:
    """As a database's driver says it; there is none in this small project."""
    settings = "raise OSError('could not translate host name \"db.internal\" to address: Name or service not known')\n"
    incident = two_commits(tmp_path / "shop", {"shop/settings.py": settings})
    ended = bench_at(incident.folder).run("run", incident.good, "HEAD", *incident.words)
    refused(ended, ENDS, "missing host `db.internal`", "--env")
    assert 1 <= len(log_lines(ended)) <= 5


@pytest.mark.network
def test_a_package_that_cannot_be_had_is_named(bench_at: Made, tmp_path: Path) -> None:
    incident = two_commits(tmp_path / "shop", {"requirements.txt": "celery==5.5.2\nkombu==0.0.999\n"})
    ended = bench_at(incident.folder).run("run", incident.good, "HEAD", *incident.words)
    refused(ended, ENDS, "kombu")
    assert len(log_lines(ended)) <= 5


@pytest.mark.network
def test_an_app_that_insists_on_its_own_broker_is_stopped_before_it_publishes(bench_at: Made, tmp_path: Path) -> None:
    app = (
        "import os\n\nfrom celery import Celery\n\n"
        'for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):\n'
        '    os.environ[name] = "amqp://shop:hunter2-canary@127.0.0.1:9/prod"\n'
        'app = Celery("shop", backend="rpc://", include=["shop.tasks"])\n'
    )
    incident = two_commits(tmp_path / "shop", {"shop/app.py": app})
    ended = bench_at(incident.folder).run("run", incident.good, "HEAD", *incident.words)
    refused(ended, ENDS, "127.0.0.1:9/prod", "{broker_url}", "--env", "--overlay")
    assert "hunter2-canary" not in ended.text


# --- ends that run and are not what was said ---------------------------------------------------------------


@pytest.mark.network
def test_a_bad_end_that_passes_says_what_may_differ_in_production(bench_at: Made, failing: Incident) -> None:
    ended = bench_at(failing.folder).run("run", failing.good, failing.shas[2], *failing.words, "--fails", "9/10")
    refused(ended, ENDS, "BAD completes 12 of 12 here, in 2 starts", "above 78 % per start")
    assert "What differs in production is not in this run." in ended.text
    flags = ("--broker", "--worker", "--env", "--env-file", "--task", "--args", "--prepare", "--count")
    assert [flag for flag in flags if flag not in ended.err] == []
    for subject in ("version", "start line", "variables", "message", "data", "State"):
        assert subject in ended.err


@pytest.mark.network
def test_a_good_end_that_fails_says_so_and_what_to_try(bench_at: Made, failing: Incident) -> None:
    bench = bench_at(failing.folder)
    ended = bench.run("run", failing.culprit, "HEAD", *failing.words)
    refused(ended, ENDS, f"GOOD {failing.culprit[:10]} fails here too", "task-failed(TypeError)", "older GOOD")
    assert f"bisect-celery try {failing.culprit[:10]}" in ended.err
    assert bench.session().outcome == "ends-wrong"


@pytest.mark.network
def test_ends_between_which_it_was_mended_are_not_told_to_be_swapped(
    bench_at: Made, failing: Incident, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(failing.folder, folder)
    git(folder, "revert", "--no-edit", failing.culprit)
    ended = bench_at(folder).run("run", failing.culprit, "HEAD", *failing.words)
    refused(ended, ENDS, "fails here", "completes", "older")
    assert f"bisect-celery run {git(folder, 'rev-parse', 'HEAD')[:10]}" not in ended.err, "that is refused as well"
