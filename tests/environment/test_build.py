"""Environments, built by the real uv from an index of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from package_index import Index, lay, serve, wheel

from bisect_celery.environment import EnvironmentFailed, LocalRunner, build, builder
from bisect_celery.environment.resolve import MARKER
from bisect_celery.errors import Cancelled, InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Stage

Builder = Callable[..., Environment]

PROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["celery"]\n'


def versions(environment: Environment) -> dict[str, str]:
    return dict(environment.packages)


def test_without_a_lock_everything_is_as_of_the_date(built: Builder) -> None:
    old = built({"requirements.txt": "celery\n"})
    new = built({"requirements.txt": "celery\n"}, as_of="2025-06-01T00:00:00Z")
    assert versions(old) == {"celery": "1.0", "kombu": "1.5", "setuptools": "65.0"}
    assert versions(new) == {"celery": "2.0", "kombu": "2.0", "setuptools": "65.0"}
    assert old.key != new.key


def test_pinned_requirements_get_the_rest_as_of_the_date(built: Builder) -> None:
    assert versions(built({"requirements.txt": "celery==1.0\n"}))["kombu"] == "1.5"


def test_its_python_imports_what_was_installed_with_bytecode_compiled(built: Builder) -> None:
    environment = built({"requirements.txt": "celery\n"})
    said = subprocess.run(
        [environment.python, "-c", "import celery, sys; print(celery.VERSION, celery.__cached__, sys.prefix)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert said[0] == "1.0"
    assert Path(said[1]).is_file()
    assert Path(environment.bin, "python").exists()
    assert said[2] == str(Path(environment.bin).parent)


def test_the_same_content_costs_no_second_question(built: Builder, index: Index) -> None:
    first = built({"requirements.txt": "celery\n", "app.py": "a = 1"})
    asked = len(index.requests)
    second = built({"requirements.txt": "celery\n", "app.py": "a = 2"})
    assert second == first
    assert len(index.requests) == asked


def test_other_words_for_the_same_set_share_an_environment(built: Builder) -> None:
    plain = built({"requirements.txt": "celery==1.0\nkombu==1.5\n"})
    commented = built({"requirements.txt": "# ours\nkombu==1.5\ncelery==1.0  # pinned\n"})
    assert plain.key == commented.key


def test_pyproject_alone(built: Builder) -> None:
    assert versions(built({"pyproject.toml": PROJECT}))["celery"] == "1.0"


def test_an_extra_that_alone_leads_to_celery_is_taken_in(built: Builder) -> None:
    project = (
        '[project]\nname = "s"\nversion = "1"\ndependencies = []\n[project.optional-dependencies]\nw = ["celery"]\n'
    )
    assert versions(built({"pyproject.toml": project}))["celery"] == "1.0"


BACKEND = """
import os, pathlib
def prepare_metadata_for_build_wheel(folder, settings=None):
    needs = pathlib.Path("deps.list").read_text().split(",")
    os.mkdir(folder + "/shop-1.dist-info")
    lines = ["Metadata-Version: 2.1", "Name: shop", "Version: 1"] + ["Requires-Dist: " + need for need in needs]
    pathlib.Path(folder, "shop-1.dist-info", "METADATA").write_text(chr(10).join(lines) + chr(10))
    return "shop-1.dist-info"
def build_wheel(*args, **kwargs):
    raise SystemExit("the project itself must not be built")
"""


EXTRA = '[project]\nname = "extra"\nversion = "1.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\n'
EXTRA += 'backend-path = ["."]\n'
EXTRA_BACKEND = """
import zipfile
def build_wheel(folder, *args, **kwargs):
    name = "extra-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as archive:
        archive.writestr("extra.py", "")
        info = "extra-1.0.dist-info/"
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: extra\\nVersion: 1.0\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", "")
    return name
"""


def test_requirements_that_a_backend_computes_from_any_file(built: Builder) -> None:
    files = {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\ndynamic = ["dependencies"]\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n# celery\n',
        "backend.py": BACKEND,
        "setup.py": "# celery",
        "deps.list": "celery",
    }
    assert versions(built(files))["kombu"] == "1.5"
    assert versions(built({**files, "deps.list": "celery,kombu==1.0"}))["kombu"] == "1.0"


@pytest.mark.network
def test_a_setup_py(tmp_path: Path, cancel: Token) -> None:
    setup = "from setuptools import setup\nsetup(name='shop', version='1', install_requires=['celery<' + str(5)])\n"
    layout = lay(tmp_path / "tree", {"setup.py": setup})
    runner = LocalRunner(tmp_path / "builds")
    environment = build(layout, subfolder="", python=None, as_of="2020-12-01T00:00:00Z", runner=runner, cancel=cancel)
    assert versions(environment)["celery"] == "4.4.7"
    assert sorted(path.name for path in layout.iterdir()) == ["setup.py"]


def test_an_app_in_a_subfolder_uses_the_nearest_file_that_leads_to_celery(built: Builder) -> None:
    environment = built(
        {"requirements.txt": "celery==1.0\nkombu==1.0\n", "services/mail/requirements.txt": "celery\nkombu==1.5\n"},
        subfolder="services/mail",
    )
    assert versions(environment)["kombu"] == "1.5"


def test_includes_are_followed_and_count(built: Builder) -> None:
    files = {"requirements/prod.txt": "-r base.txt\nkombu\n", "requirements/base.txt": "celery\n"}
    first = built(files)
    second = built({**files, "requirements/base.txt": "celery\n-c ../pins.txt\n", "pins.txt": "kombu==1.0\n"})
    assert versions(first)["kombu"] == "1.5"
    assert versions(second)["kombu"] == "1.0"


def test_powershell_requirements(built: Builder) -> None:
    assert versions(built({"requirements.txt": "celery==1.0\r\n".encode("utf-16")}))["celery"] == "1.0"


def test_the_project_itself_is_not_installed_but_its_requirements_are(built: Builder) -> None:
    files = {"requirements.txt": "-e .\n", "pyproject.toml": PROJECT, "src/shop/__init__.py": ""}
    environment = built(files)
    assert set(versions(environment)) == {"celery", "kombu", "setuptools"}


def test_an_archive_of_the_tree_is_installed_and_its_content_counts(built: Builder) -> None:
    path = "vendor/extra-1.0-py3-none-any.whl"
    requirements = f"celery\n./{path}\n"
    first = built({"requirements.txt": requirements, path: wheel("extra", "1.0", code="X = 1\n")})
    second = built({"requirements.txt": requirements, path: wheel("extra", "1.0", code="X = 2\n")})
    assert versions(first)["extra"] == "1.0"
    assert first.key != second.key


def test_wheels_in_a_folder_of_the_tree(built: Builder) -> None:
    environment = built(
        {
            "app/requirements.txt": "--find-links wheels\ncelery\nextra==1.0\n",
            "app/wheels/extra-1.0-py3-none-any.whl": wheel("extra", "1.0"),
        },
        subfolder="app",
    )
    assert versions(environment)["extra"] == "1.0"


def test_an_index_without_upload_dates_is_asked_without_a_date(built: Builder, index: Index) -> None:
    index.packages = {
        name: [(file, content, None) for file, content, _ in files] for name, files in index.packages.items()
    }
    assert versions(built({"requirements.txt": "celery\n"}))["celery"] == "2.0"


def test_a_checkout_as_old_pip_names_it(built: Builder, tmp_path: Path) -> None:
    repository = lay(tmp_path / "extra", {"pyproject.toml": EXTRA, "backend.py": EXTRA_BACKEND})
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=repository, check=True)
    environment = built({"requirements.txt": f"celery\n-e git+file://{repository}#egg=extra\n"})
    assert versions(environment)["extra"] == "1.0"


def test_the_project_is_known_by_name_but_its_code_is_the_trees(built: Builder) -> None:
    project = PROJECT.replace('"1"', '"3.2"') + '[project.scripts]\nshop = "shop:main"\n'
    environment = built({"pyproject.toml": project, "src/shop.py": ""})
    code = (
        "import importlib.metadata as m, importlib.util as u\n"
        "print(m.version('shop'), [e.value for e in m.entry_points(name='shop')], u.find_spec('shop'))"
    )
    said = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "3.2 ['shop:main'] None"
    assert "shop" not in versions(environment)
    other = built({"pyproject.toml": project.replace("3.2", "3.3"), "src/shop.py": ""})
    assert other.key != environment.key


def test_what_is_not_installed_in_production_has_no_name_here(built: Builder) -> None:
    environment = built({"requirements.txt": "celery\n", "pyproject.toml": PROJECT})
    code = "import importlib.metadata as m; m.version('shop')"
    assert b"PackageNotFound" in subprocess.run([environment.python, "-c", code], capture_output=True).stderr


def test_celery_itself_needs_no_celery(built: Builder) -> None:
    project = PROJECT.replace('"shop"', '"celery"').replace('["celery"]', '["kombu"]')
    environment = built({"pyproject.toml": project, "celery/__init__.py": ""})
    assert set(versions(environment)) == {"kombu", "setuptools"}


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "from setuptools import setup\nsetup(name='shop', install_requires=['celery', 'kombu==1.0'])"},
        {"setup.py": "import setuptools\nsetuptools.setup(name='s', install_requires='celery\\nkombu==1.0')"},
        {"setup.cfg": "[metadata]\nname = s\n[options]\ninstall_requires =\n  celery ; os_name!='x'\n  kombu==1.0\n"},
        {
            "setup.py": "from setuptools import setup\nsetup()",
            "setup.cfg": "[options]\ninstall_requires=celery;kombu==1.0",
        },
    ],
)
def test_requirements_in_plain_lists_need_no_backend(built: Builder, files: dict[str, str | bytes]) -> None:
    assert versions(built(files)) == {"celery": "1.0", "kombu": "1.0", "setuptools": "65.0"}


def test_an_index_that_the_project_configures_for_uv(built: Builder) -> None:
    own = Index()
    with serve(own):
        own.add("private", "1.0")
        project = PROJECT.replace('["celery"]', '["celery", "private"]')
        project += f'[[tool.uv.index]]\nname = "own"\nurl = "{own.url}"\n'
        assert versions(built({"pyproject.toml": project}))["private"] == "1.0"
        assert (
            versions(built({"requirements.txt": f"--extra-index-url {own.url}\ncelery\nprivate"}))["private"] == "1.0"
        )


def test_a_step_killed_in_the_middle_leaves_its_lock_to_the_next(tmp_path: Path) -> None:
    target, marks = tmp_path / "environments" / "key", tmp_path / "marks"
    slow = f"mkdir -p {target}/bin && touch {target}/bin/half {marks} && exec tail -f /dev/null"
    quick = f"test ! -e {target}/bin/half && mkdir -p {target}/lib/python3.1/site-packages"
    job = {"step": "install", "target": str(target), "marker": MARKER, "lock": "", "beside_tree": False, "metadata": {}}

    def start(script: str) -> subprocess.Popen[bytes]:
        listed = ["sh", "-c", "echo '[]'"]
        argv = [
            sys.executable,
            builder.__file__,
            json.dumps({**job, "commands": [["sh", "-c", script]], "list": listed}),
        ]
        return subprocess.Popen(argv, start_new_session=True)

    first = start(slow)
    deadline = time.monotonic() + 20
    while not marks.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = start(quick)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.3)  # the first still holds the lock
    os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert second.wait(20) == 0
    assert (target / MARKER).is_file()


# --- the project's failures are facts about the tree -------------------------------------------------


@pytest.mark.parametrize(
    ("requirements", "missing", "said"),
    [
        ("celery==9.9\n", ("package", "celery"), "celery==9.9"),
        ("celery\nno-such-thing\n", ("package", "no-such-thing"), "no-such-thing"),
        ("celery\nkombu==1.0\nkombu==1.5\n", None, "requirements.txt"),
        ("celery = 3\n", None, "requirements.txt"),
        ("celery==2.0\n", ("package", "celery"), "2024-09-01"),
    ],
)
def test_unsatisfiable(built: Builder, requirements: str, missing: tuple[str, str] | None, said: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        built({"requirements.txt": requirements})
    failure = caught.value.failure
    assert failure.stage is Stage.ENVIRONMENT
    assert said in failure.reason
    assert failure.lines
    assert missing is None or missing in failure.missing


def test_nothing_says_what_is_needed(built: Builder) -> None:
    with pytest.raises(EnvironmentFailed, match=r"requirements\*\.txt"):
        built({"app.py": "", "pyproject.toml": "[tool.black]\n"})


def test_celery_is_not_among_them(built: Builder) -> None:
    with pytest.raises(EnvironmentFailed, match="does not lead to Celery") as caught:
        built({"requirements.txt": "kombu\n"})
    assert caught.value.failure.missing == (("package", "celery"),)


def test_a_package_that_does_not_build_is_named(built: Builder, index: Index) -> None:
    index.add_file(
        "broken", "broken-1.0.tar.gz", _sdist("broken", "raise SystemExit('pg_config executable not found.')")
    )
    with pytest.raises(EnvironmentFailed) as caught:
        built({"requirements.txt": "celery\nbroken\n"})
    failure = caught.value.failure
    assert ("package", "broken") in failure.missing
    assert ("program", "pg_config") in failure.missing
    assert "does not build" in failure.reason


def _sdist(name: str, build_code: str) -> bytes:
    """A source archive whose in-tree backend runs `build_code`: no build requirements are needed."""
    import io
    import tarfile

    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"def build_wheel(*a, **k):\n    {build_code}\nprepare_metadata_for_build_wheel = build_wheel\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


# --- the machine's failures are never ----------------------------------------------------------------


def test_an_index_nobody_listens_at(built: Builder, caller: dict[str, str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        caller["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        with pytest.raises(InfraError, match="cannot be reached"):
            built({"requirements.txt": "celery\n"})


@pytest.mark.parametrize(
    ("status", "said"), [(500, "cannot be reached"), (503, "cannot be reached"), (401, "credentials")]
)
def test_an_index_that_fails(built: Builder, index: Index, status: int, said: str) -> None:
    index.status = status
    with pytest.raises(InfraError, match=said):
        built({"requirements.txt": "celery\n"})


def test_an_index_that_goes_away_between_resolving_and_installing(built: Builder, index: Index) -> None:
    files = {"requirements.txt": "celery\n"}
    answer = index.answer
    index.answer = lambda path: answer(path) if path.startswith("/simple") else (502, "text/plain", b"")  # type: ignore[method-assign]
    with pytest.raises(InfraError):
        built(files)
    index.answer = answer  # type: ignore[method-assign]
    assert versions(built(files))["celery"] == "1.0"


def test_uv_that_is_not_there(built: Builder, runner: LocalRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "uv", lambda: ("/nonexistent/uv",))
    with pytest.raises(InfraError, match="uv could not work"):
        built({"requirements.txt": "celery\n"})


def test_a_full_disk(built: Builder, runner: LocalRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "uv-full"
    script.write_text(
        "#!/bin/sh\necho 'error: failed to write' >&2\n"
        "echo '  cause: No space left on device (os error 28)' >&2\nexit 2\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(runner, "uv", lambda: (str(script),))
    with pytest.raises(InfraError, match="disk is full"):
        built({"requirements.txt": "celery\n"})


# --- killed, shared, cancelled -----------------------------------------------------------------------


def test_a_build_that_was_killed_is_built_again(built: Builder, runner: LocalRunner) -> None:
    files: dict[str, str | bytes] = {"requirements.txt": "celery\n"}
    whole = built(files)
    folder = Path(whole.bin).parent
    (folder / MARKER).unlink()
    (next(folder.glob("lib/python*/site-packages")) / "celery.py").unlink()
    assert built(files) == whole
    assert (next(folder.glob("lib/python*/site-packages")) / "celery.py").is_file()


def test_a_failed_build_leaves_nothing_that_could_be_used(built: Builder, index: Index, runner: LocalRunner) -> None:
    answer = index.answer
    index.answer = lambda path: answer(path) if path.startswith("/simple") else (502, "text/plain", b"")  # type: ignore[method-assign]
    index.packages["kombu"] = [entry for entry in index.packages["kombu"]]
    with pytest.raises(InfraError):
        built({"requirements.txt": "celery\n"})
    assert not list(Path(runner.root, "environments").glob("*/bin"))


def test_two_sessions_build_the_same_environment_at_once(
    runner: LocalRunner, caller: dict[str, str], cancel: Token, tmp_path: Path
) -> None:
    layout = lay(tmp_path / "tree", {"requirements.txt": "celery\n"})
    found: list[Environment | BaseException] = []

    def session() -> None:
        own = LocalRunner(Path(runner.root), caller)
        try:
            found.append(build(layout, subfolder="", python=None, as_of="2024-09-01T00:00:00Z", runner=own,
                               cancel=cancel, caller=caller))  # fmt: skip
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=session) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(isinstance(one, Environment) for one in found), found
    assert len(set(map(repr, found))) == 1


def test_a_cancelled_session_does_not_wait(built: Builder, cancel: Token) -> None:
    cancel.set()
    with pytest.raises(Cancelled):
        built({"requirements.txt": "celery\n"})


def test_the_tree_is_left_as_it_was(built: Builder, tmp_path: Path) -> None:
    built({"requirements.txt": "-e .\n", "pyproject.toml": PROJECT})
    left = sorted(path.name for path in (tmp_path / "tree-1").rglob("*"))
    assert left == ["pyproject.toml", "requirements.txt"]
    assert not list((tmp_path / "builds" / "scratch").iterdir())


def test_nothing_of_the_callers_environment_reaches_a_build(
    built: Builder, index: Index, caller: dict[str, str]
) -> None:
    caller["AWS_SECRET_ACCESS_KEY"] = "canary"
    told = "import os, sys; sys.exit('seen: %s' % sorted(os.environ.items()))"
    index.add_file("nosy", "nosy-1.0.tar.gz", _sdist("nosy", told))
    with pytest.raises(EnvironmentFailed) as caught:
        built({"requirements.txt": "celery\nnosy\n"})
    assert "seen:" in "\n".join(caught.value.failure.lines)
    assert "canary" not in "\n".join(caught.value.failure.lines)


@pytest.mark.network
def test_a_real_celery_from_the_real_index(tmp_path: Path, cancel: Token) -> None:
    layout = lay(tmp_path / "tree", {"requirements.txt": "celery==5.4.0\n"})
    runner = LocalRunner(tmp_path / "builds")
    environment = build(
        layout, subfolder="", python=None, as_of="2024-09-01T00:00:00+00:00", runner=runner, cancel=cancel
    )
    assert versions(environment)["kombu"] == "5.4.0"
    said = subprocess.run([f"{environment.bin}/celery", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("5.4.0")
    shutil.rmtree(tmp_path / "builds")
