"""Which of a tree's files decide, and where its own code is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from package_index import lay

from bisect_celery.environment import Kind, detect_dependencies, source_roots
from bisect_celery.environment.caller import installation_environment
from bisect_celery.environment.requirements import local_path, logical_lines, modern, name_of
from bisect_celery.environment.tree import Folder

PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["celery"]\n'
BLACK = "[tool.black]\nline-length = 100\n"


@pytest.mark.parametrize(
    ("files", "kind", "first"),
    [
        ({"requirements.txt": "celery", "pyproject.toml": BLACK}, Kind.REQUIREMENTS, "requirements.txt"),
        ({"requirements.txt": "celery", "pyproject.toml": PROJECT}, Kind.REQUIREMENTS, "requirements.txt"),
        ({"requirements.txt": "sphinx", "pyproject.toml": PROJECT}, Kind.PROJECT, "pyproject.toml"),
        ({"requirements.txt": "sphinx", "pyproject.toml": BLACK}, Kind.REQUIREMENTS, "requirements.txt"),
        ({"poetry.lock": 'name = "celery"', "requirements.txt": "celery"}, Kind.POETRY_LOCK, "poetry.lock"),
        ({"uv.lock": "celery", "poetry.lock": "celery", "pyproject.toml": PROJECT}, Kind.UV_LOCK, "uv.lock"),
        ({"Pipfile": "[packages]\ncelery='*'", "Pipfile.lock": '"celery"'}, Kind.PIPFILE_LOCK, "Pipfile.lock"),
        ({"Pipfile": "[packages]\ncelery='*'"}, Kind.PIPFILE, "Pipfile"),
        ({"setup.py": "setup(install_requires=['celery'])"}, Kind.SETUP, "setup.py"),
        ({"setup.cfg": "[options]\ninstall_requires = celery\n"}, Kind.SETUP, "setup.cfg"),
        ({"setup.cfg": "[flake8]\n", "requirements.txt": "celery"}, Kind.REQUIREMENTS, "requirements.txt"),
        ({"pyproject.toml": "[tool.poetry.dependencies]\ncelery = '^5'"}, Kind.POETRY, "pyproject.toml"),
        (
            {"requirements/local.txt": "-r base.txt", "requirements/production.txt": "-r base.txt",
             "requirements/base.txt": "celery"},
            Kind.REQUIREMENTS, "requirements/production.txt",
        ),
        (
            {"requirements/dev.txt": "celery", "requirements/docs.txt": "celery", "requirements/web.txt": "celery"},
            Kind.REQUIREMENTS, "requirements/web.txt",
        ),
        ({"requirements-dev.txt": "celery", "requirements-prod.txt": "celery"},
         Kind.REQUIREMENTS, "requirements-prod.txt"),
        ({"requirements.in": "celery", "requirements.txt": "celery"}, Kind.REQUIREMENTS, "requirements.txt"),
        ({"requirements.in": "celery"}, Kind.REQUIREMENTS, "requirements.in"),
        ({"requirements.txt": "-e .\ndjango==4.2", "setup.py": "setup(install_requires=['celery'])"},
         Kind.REQUIREMENTS, "requirements.txt"),
        ({"dev-requirements.txt": "celery", "pip-requirements.txt": "celery"},
         Kind.REQUIREMENTS, "pip-requirements.txt"),
        ({"requirements.txt": "# nothing\n", "requirements/base.txt": "celery"},
         Kind.REQUIREMENTS, "requirements/base.txt"),
    ],
)  # fmt: skip
def test_which_file_decides(tmp_path: Path, files: dict[str, str | bytes], kind: Kind, first: str) -> None:
    found = detect_dependencies(lay(tmp_path / "tree", files))
    assert found is not None
    assert (found.kind, found.files[0]) == (kind, first)


def test_a_subfolder_looks_upwards(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"requirements.txt": "celery", "a/b/requirements.txt": "sphinx", "a/x.py": ""}
    found = detect_dependencies(lay(tmp_path / "tree", files), subfolder="a/b")
    assert found is not None
    assert found.files == ("requirements.txt",)


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("celery --hash=canary")
    layout = lay(tmp_path / "tree", {"app.py": ""})
    (layout / "requirements.txt").symlink_to("../secret.txt")
    assert detect_dependencies(layout) is None
    assert Folder(layout).read("../secret.txt") is None


@pytest.mark.parametrize(
    ("files", "subfolder", "roots"),
    [
        ({"pyproject.toml": PROJECT, "src/x/__init__.py": ""}, "", ("src",)),
        ({"src/x/__init__.py": "", "requirements.txt": "celery"}, "", ()),
        ({"setup.py": "setup(package_dir={'': 'lib'}, install_requires=['celery'])", "lib/x.py": ""}, "", ("lib",)),
        ({"setup.cfg": "[options]\npackage_dir =\n    = lib\ninstall_requires = celery", "lib/x.py": ""}, "", ("lib",)),
        ({"pyproject.toml": PROJECT + '[tool.setuptools.packages.find]\nwhere = ["code"]', "code/x.py": ""},
         "", ("code",)),
        ({"m/pyproject.toml": PROJECT, "m/src/x/__init__.py": ""}, "m", ("m/src",)),
        ({"requirements.txt": "celery\n-e libs/other\n-e ./libs/common\n./a", "libs/common/setup.py": "",
          "libs/common/c.py": "",
          "a/pyproject.toml": "", "a/src/a.py": ""}, "", ("libs/common", "a/src")),
        ({"requirements.txt": "celery"}, "", ()),
    ],
)  # fmt: skip
def test_where_code_is_found(
    tmp_path: Path, files: dict[str, str | bytes], subfolder: str, roots: tuple[str, ...]
) -> None:
    assert source_roots(lay(tmp_path / "tree", files), subfolder) == roots


@pytest.mark.parametrize(
    ("line", "name", "local"),
    [
        ("celery", "celery", None),
        ("Django_Celery.beat[x]>=1 ; python_version<'3'", "django-celery-beat", None),
        ("-e .", None, "."),
        ("-e .[dev]", None, "."),
        (".", None, "."),
        ("./libs/x", None, "./libs/x"),
        ("../x.whl", None, "../x.whl"),
        ("-e file:///a/b", None, "/a/b"),
        ("x @ file:./a", "x", "./a"),
        ("x @ ./a", "x", "./a"),
        ("x @ https://h/x.whl", None, None),
        ("-e git+https://h/x.git#egg=x", None, None),
        ("-e libs/x", None, "libs/x"),
        ("-e git+ssh://git@h/x", None, None),
        ("-e https://h/x.zip", None, None),
        ("--index-url https://h", None, None),
    ],
)
def test_requirement_lines(line: str, name: str | None, local: str | None) -> None:
    assert local_path(line) == local
    if name is not None and local is None:
        assert name_of(line) == name


def test_logical_lines() -> None:
    text = "a==1 \\\n  --hash=sha256:x # why\n\n# b\nc @ git+https://h/c#egg=c\n"
    assert list(logical_lines(text)) == ["a==1    --hash=sha256:x", "c @ git+https://h/c#egg=c"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-e git+https://h/x.git@1.0#egg=x\n", "x @ git+https://h/x.git@1.0\n"),
        (
            "git+ssh://git@h/x#egg=x&subdirectory=a/b ; python_version<'3'",
            "x @ git+ssh://git@h/x#subdirectory=a/b ; python_version<'3'\n",
        ),
        ("git+https://h/x\n", "git+https://h/x\n"),
        ("-e .\ncelery==5  # git+x#egg=y\n", "-e .\ncelery==5  # git+x#egg=y\n"),
    ],
)
def test_checkouts_as_pip_names_them(old: str, new: str) -> None:
    assert modern(old) == new


def test_what_an_installation_sees_of_the_caller() -> None:
    caller = {
        "PIP_INDEX_URL": "https://own", "PIP_EXTRA_INDEX_URL": "https://more", "HTTPS_PROXY": "p", "no_proxy": "n",
        "UV_INDEX_OWN_PASSWORD": "x", "UV_SYSTEM_PYTHON": "1", "AWS_SECRET_ACCESS_KEY": "canary",
        "DATABASE_URL": "canary", "PYTHONPATH": "canary", "UV_EXCLUDE_NEWER": "2020-01-01",
    }  # fmt: skip
    seen = installation_environment(caller)
    assert "canary" not in seen.values()
    assert seen["UV_DEFAULT_INDEX"] == "https://own"
    assert seen["UV_EXTRA_INDEX_URL"] == "https://more"
    assert seen["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert {"HTTPS_PROXY", "no_proxy", "UV_INDEX_OWN_PASSWORD"} <= set(seen)
    assert not {"UV_SYSTEM_PYTHON", "UV_EXCLUDE_NEWER"} & set(seen)
    assert installation_environment({"PIP_INDEX_URL": "a", "UV_INDEX_URL": "b"}) == {"UV_INDEX_URL": "b"}
