"""Detection on layouts as projects have them: what is found, from where, and what is asked when it is not clear."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from bisect_celery.config import Detected, FolderListing, describe, detect, load, to_request
from bisect_celery.errors import UserError

CELERY_PY = """
import os
from celery import Celery
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
app = Celery('shop')
app.autodiscover_tasks()
"""
MANAGE = """
import os, sys
if __name__ == '__main__':
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings.prod')
"""
DJANGO = {"manage.py": MANAGE, "shop/__init__.py": "", "shop/celery.py": CELERY_PY, "shop/settings/prod.py": ""}


class Tree:
    """A `Listing` of texts."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def paths(self) -> Sequence[str]:
        return list(self.files)

    def read(self, path: str) -> bytes | None:
        return self.files[path].encode() if path in self.files else None


def found(files: dict[str, str], *, typed_in: str = "", app: str | None = None) -> Detected:
    return detect(Tree(files), typed_in=typed_in, app=app)


def app(files: dict[str, str], **more: str) -> tuple[str, str]:
    detected = found(files, **more)
    return detected.app, detected.subfolder


# --- the app, from Python files ----------------------------------------------------------------------


def test_django() -> None:
    detected = found(DJANGO)
    assert (detected.app, detected.subfolder, detected.app_source) == ("shop", "", "shop/celery.py:5")
    assert (detected.django_settings, detected.django_source) == ("shop.settings.prod", "manage.py")
    assert detected.worker == ("-c", "2")


def test_django_without_manage_py_takes_what_the_app_sets() -> None:
    detected = found({"shop/__init__.py": "", "shop/celery.py": CELERY_PY})
    assert (detected.django_settings, detected.django_source) == ("shop.settings", "shop/celery.py")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tasks.py": "from celery import Celery\napp = Celery('tasks', broker='amqp://')"}, ("tasks", "")),
        ({"worker.py": "import celery\ncelery = celery.Celery()"}, ("worker", "")),
        ({"worker.py": "from celery import Celery\ncelery_app = Celery()"}, ("worker:celery_app", "")),
        ({"a/__init__.py": "", "a/b/__init__.py": "", "a/b/queue.py": "app = Celery()"}, ("a.b.queue", "")),
        ({"a/__init__.py": "from celery import Celery\ncelery = Celery()"}, ("a", "")),
        ({"back/a/__init__.py": "", "back/a/celery.py": CELERY_PY}, ("a", "back")),
        ({"src/a/__init__.py": "", "src/a/celery.py": CELERY_PY, "pyproject.toml": ""}, ("a", "")),
        ({"src/a/__init__.py": "", "src/a/celery.py": CELERY_PY}, ("a", "src")),
        ({"m/src/a/__init__.py": "", "m/src/a/celery.py": CELERY_PY, "m/setup.py": ""}, ("a", "m")),
        ({"app.py": "from celery import Celery as C\nqueue: C = C('x')"}, ("app:queue", "")),
        ({"app.py": "from celery import Celery\nclass Mine(Celery):\n    pass\napp = Mine('x')"}, ("app", "")),
        ({"app.py": "try:\n    import x\n    app = Celery()\nexcept OSError:\n    app = 0"}, ("app", "")),
        ({"app.py": "from f import make_celery\nflask = 1\ncelery = make_celery(flask)"}, ("app", "")),
        ({"strange_name.py": "from celery import Celery\napp = Celery()"}, ("strange_name", "")),
        ({"old.py": "from celery import Celery\nprint 'python 2'\napp = Celery('x')\n"}, ("old", "")),
        (
            {"app.py": "app = Celery()", "tests/app.py": "app = Celery()", "docs/c.py": "x = Celery()"},
            ("app", ""),
        ),
        ({"tests/app.py": "from celery import Celery\napp = Celery()"}, ("app", "tests")),
    ],
)  # fmt: skip
def test_apps(files: dict[str, str], expected: tuple[str, str]) -> None:
    assert app(files) == expected


@pytest.mark.parametrize(
    "code",
    [
        "def make():\n    app = Celery()\n    return app",
        "if __name__ == '__main__':\n    app = Celery()",
        "app = Flask()\napp.celery = None",
        "# app = Celery()",
        "text = 'app = Celery()'",
        "app = NotCelery()",
    ],
)
def test_what_is_no_app(code: str) -> None:
    with pytest.raises(UserError, match="No Celery app was found"):
        found({"app.py": f"from celery import Celery\n{code}\n"})


def test_several_are_listed_with_their_commands() -> None:
    with pytest.raises(UserError) as caught:
        found(
            {"a/celery_app.py": CELERY_PY, "b/worker.py": CELERY_PY, "c.py": "from celery import Celery\nq = Celery()"}
        )
    assert caught.value.message == "There are 3 Celery apps here: say which one."
    assert caught.value.hint.splitlines() == [
        "cd a && bisect-celery run GOOD BAD --app celery_app    (a/celery_app.py:5)",
        "cd b && bisect-celery run GOOD BAD --app worker    (b/worker.py:5)",
        "bisect-celery run GOOD BAD --app c:q    (c.py:2)",
    ]


MONOREPO = {
    "services/mail/app/__init__.py": "", "services/mail/app/celery.py": CELERY_PY,
    "services/mail/Procfile": "worker: celery -A app worker -Q mail\n",
    "services/shop/app/__init__.py": "", "services/shop/app/celery.py": CELERY_PY,
    "services/shop/Procfile": "worker: celery -A app worker -Q shop\n",
}  # fmt: skip


def test_a_monorepo_knows_the_folder_it_was_typed_in() -> None:
    detected = found(MONOREPO, typed_in="services/shop")
    assert (detected.app, detected.subfolder, detected.worker) == ("app", "services/shop", ("-Q", "shop", "-c", "2"))
    with pytest.raises(UserError, match="There are 2 Celery apps"):
        found(MONOREPO)
    with pytest.raises(UserError, match="There are 2 Celery apps"):
        found(MONOREPO, typed_in="docs")


def test_the_users_app_is_located_and_its_start_line_found() -> None:
    detected = found(MONOREPO, typed_in="services/mail", app="app.celery:app")
    assert (detected.app, detected.subfolder, detected.worker[:2]) == (
        "app.celery:app",
        "services/mail",
        ("-Q", "mail"),
    )
    nowhere = found({"README": ""}, typed_in="x", app="made.at.run_time")
    assert (nowhere.app, nowhere.subfolder, nowhere.app_source) == ("made.at.run_time", "x", "--app")


# --- the start line ----------------------------------------------------------------------------------

COMPOSE = "services:\n  w:\n    "
OTHER = "from celery import Celery\nx = Celery()"
APP = {"proj/__init__.py": "", "proj/celery.py": CELERY_PY, "proj/other.py": OTHER}


def started(files: dict[str, str]) -> Detected:
    return found({**APP, **files})


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("Procfile", "web: gunicorn x\nworker: celery -A proj worker -c 4 -Q a,b -l info\n", "-c 4 -Q a,b"),
        ("Procfile", "worker: python -m celery --app=proj worker --concurrency=${WORKERS:-3} -B\n", "--concurrency 3"),
        ("Procfile", "worker: celery worker -A proj -E --without-gossip --beat -P solo", "-E --without-gossip -P solo"),
        ("Procfile", "worker: sh -c 'cd app && exec celery -A proj worker -c4 -n a@%h'", "-c 4"),
        ("Procfile", "worker: celery -A proj worker -BEc 2 -Ofair --my-option x", "-E -c 2 -O fair --my-option x"),
        ("Procfile", "a: ./m\nw: newrelic-admin run-program celery -A proj.celery worker -c 2 2>&1 | tee x", "-c 2"),
        ("docker-compose.yml", COMPOSE + "command: celery -A proj worker -Q x -c 2\n", "-Q x -c 2"),
        ("compose.yaml", COMPOSE + "command: ['celery', '-A', 'proj', 'worker', '-c', '2']\n", "-c 2"),
        (
            "docker-compose.yml",
            "x: &x\n  environment:\n    APP: proj\nservices:\n  w:\n    <<: *x\n    environment: [APP=proj]\n"
            "    command: >\n      celery -A $${APP}\n      worker -c 2 --pidfile=\n",
            "-c 2",
        ),
        (
            "docker-compose.yml",
            "services:\n  w:\n    entrypoint: [celery]\n    command: [-A, proj, worker, --autoscale, '4,1']\n",
            "--autoscale 4,1",
        ),
        ("docker-compose.yml", COMPOSE + "command: |\n      ./wait\n      celery -A proj worker -c 2\n", "-c 2"),
        ("docker-compose.yml", COMPOSE + 'command: bash -c "./wait db && celery -A proj worker -c 3"\n', "-c 3"),
        ("Dockerfile", 'FROM python\nCMD ["celery", "-A", "proj", "worker", "-c", "2", "--loglevel", "x"]\n', "-c 2"),
        ("Dockerfile", "ENV N=5\nCMD celery -A proj \\\n  worker -c $N\n", "-c 5"),
        (
            "deploy/worker.service",
            "[Service]\nEnvironment=\"APP=proj\"\n"
            "ExecStart=/srv/venv/bin/celery -A ${APP} worker --uid=www -c 2 --logfile=/x\n",
            "-c 2",
        ),
        ("etc/supervisor/conf.d/w.conf", "[program:w]\ncommand=/v/bin/celery -A proj worker -c 2 -n w@%%h\n", "-c 2"),
        ("bin/work", "#!/bin/sh\nset -e\nQ=a,b\nexec celery -A proj worker -Q $Q -c 2 \"$@\"\n", "-Q a,b -c 2"),
        ("scripts/w.sh", "celery \\\n  -A proj \\\n  worker -c `nproc` -X a\n", "-X a -c 2"),
        ("Makefile", "Q := mail\nworker:\n\t@celery -A proj worker -Q $(Q) -c 2\n", "-Q mail -c 2"),
        (
            "k8s/worker.yaml",
            "spec:\n  containers:\n  - image: x\n    env: [{name: Q, value: mail}]\n    command: [celery]\n"
            "    args: ['-A', 'proj', 'worker', '-Q', '$Q', '-c', '2']\n",
            "-Q mail -c 2",
        ),
        ("Procfile", "worker: celery -A proj worker", "-c 2"),
    ],
)  # fmt: skip
def test_start_lines(path: str, text: str, words: str) -> None:
    detected = started({path: text})
    assert (detected.app.partition(".")[0], detected.subfolder) == ("proj", "")
    assert " ".join(detected.worker) == words
    assert detected.worker_source.startswith(f"{path}:")


def test_what_was_left_out_is_told() -> None:
    left_out = started({"Procfile": "w: celery -A proj worker -B -l debug -c $N --purge\n"}).left_out
    assert left_out == (
        "-B: beat's",
        "-l: the harness sets its own",
        "-c: its value is not known here",
        "--purge: it empties queues",
    )


@pytest.mark.parametrize(
    "line",
    [
        "beat: celery -A proj beat",
        "flower: celery -A proj flower",
        "x: celery -A proj inspect active",
        "# celery -A proj worker",
    ],
)
def test_what_starts_no_worker(line: str) -> None:
    with pytest.raises(UserError, match="There are 2"):
        started({"Procfile": line})


def test_production_comes_before_development_and_the_rest_is_told() -> None:
    detected = started(
        {
            "docker-compose.dev.yml": "services:\n  w:\n    command: celery -A proj worker -Q dev -c 1\n",
            "docker-compose.yml": "services:\n  w:\n    command: celery -A proj worker -Q mail -c 2\n",
            "Procfile": "mail: celery -A proj worker -Q mail -c 2\nprint: celery -A proj worker -Q print -c 3\n",
        }
    )
    assert (detected.worker, detected.worker_source) == (("-Q", "mail", "-c", "2"), "Procfile:1")
    assert dict(detected.other_workers) == {
        ("-Q", "print", "-c", "3"): "Procfile:2",
        ("-Q", "dev", "-c", "1"): "docker-compose.dev.yml:3",
    }


def test_a_start_line_decides_between_apps_and_two_do_not() -> None:
    assert started({"Procfile": "w: celery -A proj.other:x worker -c 2"}).app == "proj.other:x"
    both = "a: celery -A proj worker\nb: celery -A proj.other:x worker\n"
    with pytest.raises(UserError) as caught:
        started({"Procfile": both})
    assert "--app proj.other:x    (Procfile:2)" in caught.value.hint


def test_two_ways_to_write_one_app_are_one() -> None:
    detected = started({"Procfile": "a: celery -A proj worker -c 2\nb: celery -A proj.celery:app worker -c 3\n"})
    assert (detected.app, detected.worker, len(detected.other_workers)) == ("proj", ("-c", "2"), 1)


def test_a_start_line_for_code_in_a_folder_below() -> None:
    files = {
        "docker-compose.yml": COMPOSE + "working_dir: /code/backend\n    command: celery -A api worker -c 2\n",
        "backend/api/__init__.py": "", "backend/api/celery.py": CELERY_PY,
        "other/api/__init__.py": "", "other/api/celery.py": CELERY_PY,
    }  # fmt: skip
    assert app(files) == ("api", "backend")


def test_a_manage_py_in_src_is_where_things_are_started() -> None:
    files = {"pyproject.toml": "", "src/manage.py": MANAGE, "src/shop/__init__.py": "", "src/shop/celery.py": CELERY_PY}
    assert app(files) == ("shop", "src")


def test_compose_variables_from_the_file_beside_it() -> None:
    files = {
        ".env": "QUEUES=mail\n",
        "docker-compose.yml": "services:\n  w:\n    command: celery -A proj worker -Q ${QUEUES} -c 2\n",
    }
    assert started(files).worker == ("-Q", "mail", "-c", "2")


def test_yaml_that_is_a_template_is_read_as_lines() -> None:
    files = {"deploy/w.yaml": "{{- if .x }}\nspec:\n  command: celery -A proj worker -c 2 {{ .y }}\n{{- end }}\n"}
    assert started(files).worker == ("-c", "2")


# --- what cannot be run yet, and what is not there ---------------------------------------------------


OLD_MANAGE = "import settings\nif __name__ == '__main__':\n    execute_manager(settings)\n"


@pytest.mark.parametrize(
    ("files", "start", "subfolder", "settings"),
    [
        (
            {"Procfile": "worker: python manage.py celery worker -c 2\n", "manage.py": MANAGE},
            "manage.py celery worker", "", "shop.settings.prod",
        ),
        (
            {"shop/settings.py": "import djcelery\ndjcelery.setup_loader()\n", "shop/manage.py": OLD_MANAGE},
            "manage.py celeryd", "shop", "settings",
        ),
        (
            {"etc/d.service": "WorkingDirectory=/srv/shop/web\nExecStart=/x/python manage.py celeryd -c 2\n",
             "web/manage.py": OLD_MANAGE, "tools/manage.py": MANAGE},
            "manage.py celeryd", "web", "settings",
        ),
    ],
)  # fmt: skip
def test_django_celery_of_old(files: dict[str, str], start: str, subfolder: str, settings: str) -> None:
    """Its app is the settings' own, found where `manage.py` stands."""
    seen = found(files)
    assert (seen.app, seen.start, seen.subfolder) == ("djcelery.app", start, subfolder)
    assert (seen.worker, seen.django_settings) == (("-c", "2"), settings)


def test_django_celery_without_its_manage() -> None:
    with pytest.raises(UserError, match=r"no manage\.py"):
        found({"etc/celeryd.service": "ExecStart=/x/python manage.py celeryd -l info\n"})


def test_a_worker_of_before_celery_3() -> None:
    seen = found(
        {"Procfile": "w: celeryd --app=shop.jobs -c 4\n", "shop/__init__.py": "", "shop/jobs.py": "celery = Celery()\n"}
    )
    assert (seen.app, seen.start, seen.worker) == ("shop.jobs", "celeryd", ("-c", "4"))


def test_an_app_that_is_not_in_the_tree() -> None:
    with pytest.raises(UserError, match="names the app lost"):
        found({"Procfile": "w: celery -A lost worker"})


def test_a_listing_that_reads_many_is_not_asked_one_by_one() -> None:
    class Bulk(Tree):
        def read(self, path: str) -> bytes | None:
            raise AssertionError(path)

        def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
            return {path: self.files[path].encode() for path in paths}

    assert detect(Bulk({**DJANGO, "Procfile": "w: celery -A shop worker -c 3"})).worker == ("-c", "3")


def test_nothing_at_all() -> None:
    with pytest.raises(UserError) as caught:
        found({"README.md": "celery -A x worker"})
    assert "Procfile" in caught.value.message
    assert "--app" in caught.value.hint


def test_a_folder_of_this_machine_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "out.py").write_text(CELERY_PY)
    project = tmp_path / "project"
    project.mkdir()
    (project / "worker.py").symlink_to(tmp_path / "out.py")
    with pytest.raises(UserError):
        detect(FolderListing(project))
    (project / "tasks.py").write_text(CELERY_PY)
    assert detect(FolderListing(project)).app == "tasks"


# --- the whole request -------------------------------------------------------------------------------


def test_a_request_says_where_everything_came_from(tmp_path: Path) -> None:
    (tmp_path / "bisect-celery.toml").write_text('task = "shop.tasks.send"\ncount = 30\n[env]\nA_TOKEN = "canary"\n')
    loaded = load({"match": "any", "args": "[1]"}, typed_in=tmp_path, root=tmp_path, caller_environment={})
    detected = found({**DJANGO, "Procfile": "w: celery -A shop worker -Q a -c 3 -B\nv: celery -A shop worker -c 9\n"})
    request = to_request(loaded, detected, good="v1", bad="HEAD", paths=["shop"], repository=tmp_path)
    assert (request.app, request.worker, request.paths) == ("shop", ("-Q", "a", "-c", "3"), ("shop",))
    assert (request.probe.task, request.probe.count, request.probe.args) == ("shop.tasks.send", 30, "[1]")
    assert request.environment == (("A_TOKEN", "canary"),)
    assert request.secrets == ("canary",)
    assert request.django_settings == "shop.settings.prod"
    sources = dict(request.sources)
    assert sources["app"] == "Procfile:1"
    assert sources["worker"] == "Procfile:1"
    assert sources["worker left out"] == "-B: beat's"
    assert sources["other workers"] == "-c 9 (Procfile:2)"
    assert sources["match"] == "--match"
    assert sources["task"] == "bisect-celery.toml"


def test_describe_hides_secrets_and_names_defaults(tmp_path: Path) -> None:
    loaded = load(
        {"env": ["URL=amqp://u:canary@h//"], "app": "x"}, typed_in=tmp_path, root=tmp_path, caller_environment={}
    )
    request = to_request(loaded, Detected("x", "--app"), good="a", bad="b", repository=tmp_path)
    rows = {key: (value, source) for key, value, source in describe(request)}
    assert rows["env URL"] == ("amqp://u:***@h//", "--env")
    assert rows["app"] == ("x", "--app")
    assert rows["budget"] == ("30", "default")
    assert rows["worker"] == ("-c 2", "default")


def test_a_whole_start_line_may_be_pasted_as_worker(tmp_path: Path) -> None:
    line = "celery -A shop worker -c 4 -Q mail -B -l info"
    loaded = load({"worker": line, "app": "shop"}, typed_in=tmp_path, root=tmp_path, caller_environment={})
    request = to_request(loaded, Detected("shop", "--app"), good="a", bad="b", repository=tmp_path)
    assert request.worker == ("-c", "4", "-Q", "mail")


@pytest.mark.parametrize(
    ("said", "beside"),
    [
        ("-c 1 -Q mail", (("-c", "1", "-Q", "mail"),)),
        (["-c 1 -Q mail", "celery -A shop worker -Q 'a b' -B"], (("-c", "1", "-Q", "mail"), ("-Q", "a b"))),
    ],
)
def test_further_workers_are_read_like_the_first(tmp_path: Path, said: object, beside: object) -> None:
    loaded = load({"beside": said, "app": "shop"}, typed_in=tmp_path, root=tmp_path, caller_environment={})
    request = to_request(loaded, Detected("shop", "--app"), good="a", bad="b", repository=tmp_path)
    assert request.beside == beside
    assert request.worker == ("-c", "2")
    rows = {key: value for key, value, _ in describe(request)}
    assert rows["beside"] == ", ".join(map(shlex.join, request.beside))


def test_the_harness_needs_a_queue_to_send_to(tmp_path: Path) -> None:
    loaded = load({"send": "harness"}, typed_in=tmp_path, root=tmp_path, caller_environment={})
    with pytest.raises(UserError, match="where to send"):
        to_request(loaded, Detected("shop", "--app"), good="a", bad="b", repository=tmp_path)
