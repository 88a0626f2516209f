"""What an image is built from: which revisions share one, and what a build never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package_index import lay

from bisect_celery.environment.images.dockerfile import parse
from bisect_celery.environment.images.recipe import Recipe, needs_buildkit, recipe
from bisect_celery.environment.images.run_steps import wants
from bisect_celery.model import Build, ImageFacts

TREE = {
    "requirements.txt": "-r requirements/base.txt\nredis\n",
    "requirements/base.txt": "celery\n",
    "manage.py": "",
    "shop/__init__.py": "",
    "shop/tasks.py": "one",
    "shop/static/a.css": "",
    "docker/entrypoint.sh": "#!/bin/sh\n",
    "README.md": "",
}

CLEAN = """
FROM python:3.11
WORKDIR /app
COPY requirements.txt .
COPY requirements ./requirements
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN python manage.py collectstatic --noinput
CMD ["celery", "-A", "shop", "worker"]
"""
SLOPPY = """
FROM python:3.11
WORKDIR /app
COPY . .
RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/* \\
    && pip install --upgrade pip && pip install -r requirements.txt
RUN useradd -m app && chown -R app /app
USER app
"""
INSTALLED = "FROM python:3.11\nWORKDIR /app\nCOPY . .\nRUN pip install -e .\n"


@dataclass(frozen=True)
class Made:
    """A recipe with the key it has for its tree."""

    recipe: Recipe
    key: str

    @property
    def seen(self) -> set[str]:
        """The files of the tree that the build sees."""
        return {source for _, source in self.recipe.context if source is not None}


def made(
    folder: Path, dockerfile: str, changes: Mapping[str, str | None] | None = None, build: Build | None = None,
    facts: ImageFacts | None = None, overlays: frozenset[str] = frozenset(),
) -> Made:  # fmt: skip
    files: dict[str, str | bytes] = {
        path: text for path, text in {**TREE, "Dockerfile": dockerfile, **(changes or {})}.items() if text is not None
    }
    lay(folder, files)
    found = recipe(folder, build or Build(), lambda _: facts or ImageFacts("sha256:base"), overlays)
    return Made(found, found.key(folder, "x86_64"))


def test_code_that_nothing_reads_is_in_no_key_and_in_no_build(tmp_path: Path) -> None:
    first = made(tmp_path / "a", CLEAN)
    assert first.seen == {"requirements.txt", "requirements/base.txt"}
    assert first.recipe.left_out == ("python manage.py collectstatic --noinput",)
    assert not first.recipe.whole
    assert "collectstatic" not in first.recipe.text
    assert ("shop/tasks.py", "/app/shop/tasks.py") in first.recipe.laid
    assert first.recipe.folder_of("") == "/app"
    assert first.recipe.folder_of("shop") == "/app/shop"
    assert made(tmp_path / "b", CLEAN, {"shop/tasks.py": "two", "shop/new.py": "", "README.md": None}).key == first.key


@pytest.mark.parametrize("layout", [CLEAN, SLOPPY])
def test_whatever_is_installed_from_has_a_key_of_its_own(tmp_path: Path, layout: str) -> None:
    changes = [
        {},
        {"requirements.txt": "-r requirements/base.txt\nredis==5\n"},
        {"requirements/base.txt": "celery<5\n"},
        {"Dockerfile": layout.replace("3.11", "3.12")},
        {"requirements.txt": "-r requirements/more.txt\n", "requirements/more.txt": "celery\n"},
        {"requirements.txt": "-r requirements/more.txt\n", "requirements/more.txt": "celery<5\n"},
    ]
    keys = [made(tmp_path / str(number), layout, change).key for number, change in enumerate(changes)]
    assert len(set(keys)) == len(changes)


def test_one_copy_before_the_installation_is_reduced_to_what_is_installed_from(tmp_path: Path) -> None:
    first = made(tmp_path / "a", SLOPPY)
    assert first.seen == {"requirements.txt", "requirements/base.txt"}
    assert 'COPY [".bisect-celery/copy-1/", "/app/"]' in first.recipe.text
    assert ("shop/tasks.py", "/app/shop/tasks.py") in first.recipe.laid
    assert "/app/requirements.txt" not in {target for _, target in first.recipe.laid}
    assert made(tmp_path / "b", SLOPPY, {"shop/tasks.py": "two"}).key == first.key


@pytest.mark.parametrize(
    "dockerfile",
    [
        INSTALLED,
        "FROM python\nCOPY . /app\nRUN make install\n",
        "FROM python\nCOPY . /app\nRUN pip install -r /app/requirements.txt && $(cat x)\n",
        "FROM python\nCOPY . /app\nRUN pip install /app\n",
        "FROM python\nCOPY . /app\nRUN pip install -r /app/requirements.txt | tee log\n",
        "FROM python\nCOPY . /app\nRUN pip install -r /app/requirements.txt < /app/manage.py\n",
        "FROM python\nCOPY . /app\nRUN --mount=type=bind,target=/x make\n",
        "FROM python AS b\nCOPY . /app\nRUN make\nFROM python\nCOPY --from=b /app /app\n",
        "FROM python\nRUN --mount=type=bind,target=/src pip install /src\nCOPY . /app\n",
        "FROM python\nCOPY . /app\nCOPY ${A#b} /\n",
        "FROM python\nCOPY . /app\nRUN pip install -r /app/requirements.txt\nRUN <<END\nmake\nEND\n",
        "FROM python AS a\nRUN x\nFROM python\nCOPY . /app\nCOPY --from=a /app/shop /app/shop\n",
        "FROM python\nCOPY --chmod=755 . /app\n",
        "FROM python\nCOPY . /app\nCOPY lib-$TARGETARCH.so /lib/\n",
    ],
)
def test_where_anything_may_be_read_each_content_is_built(tmp_path: Path, dockerfile: str) -> None:
    first, second = made(tmp_path / "a", dockerfile), made(tmp_path / "b", dockerfile, {"shop/tasks.py": "two"})
    assert first.seen == {*TREE, "Dockerfile"}
    assert first.key != second.key
    shared = {target for path, target in first.recipe.laid if path == "shop/tasks.py"}
    assert not first.recipe.left_out
    assert not shared or "--mount" in dockerfile


def test_why_each_content_is_built_is_said(tmp_path: Path) -> None:
    assert made(tmp_path / "a", INSTALLED).recipe.whole == (
        "line 4, `RUN pip install -e .` may read all that was copied before it",
    )


@pytest.mark.parametrize("line", ["-e .\n", "./libs/common\n", "--find-links wheels\nx\n"])
def test_requirements_that_name_code_take_all_of_it(tmp_path: Path, line: str) -> None:
    changes = {"requirements/base.txt": f"celery\n{line}"}
    assert made(tmp_path, SLOPPY, changes).seen == {*TREE, "Dockerfile"}


def test_stages_that_the_wanted_one_is_not_made_of_are_no_part_of_it(tmp_path: Path) -> None:
    text = (
        "FROM node AS web\nCOPY . .\nRUN npm run build\n"
        "FROM python AS wheels\nCOPY requirements requirements\nCOPY requirements.txt .\n"
        "RUN pip wheel -r requirements.txt\n"
        "FROM python AS base\nCOPY --from=wheels /w /w\nRUN pip install --no-cache x\n"
        "FROM base AS development\nCOPY . /app\nRUN make\n"
        "FROM base AS production\nWORKDIR /srv/shop\nCOPY . .\n"
    )
    found = made(tmp_path, text)
    assert found.seen == {"requirements.txt", "requirements/base.txt"}
    assert "npm" not in found.recipe.text
    assert "make" not in found.recipe.text
    assert found.recipe.folder_of("") == "/srv/shop"
    wanted = made(tmp_path, text, build=Build(target="development"))
    assert "shop/tasks.py" in wanted.seen
    assert "make" in wanted.recipe.text


def test_files_are_copied_where_the_engine_copies_them(tmp_path: Path) -> None:
    text = (
        "ARG HOME_OF_APP=/srv\nFROM python\nARG HOME_OF_APP\nENV APP=${HOME_OF_APP}/app\nWORKDIR $APP\n"
        "COPY manage.py ./\nCOPY shop/ shop/\nCOPY docker/*.sh /bin/\nCOPY README.md /about.md\n"
        'ADD ["requirements.txt", "requirements", "/srv/all/"]\n'
    )
    found = made(tmp_path, text)
    assert set(found.recipe.placed) == {
        ("manage.py", "/srv/app/manage.py"), ("shop/__init__.py", "/srv/app/shop/__init__.py"),
        ("shop/tasks.py", "/srv/app/shop/tasks.py"), ("shop/static/a.css", "/srv/app/shop/static/a.css"),
        ("docker/entrypoint.sh", "/bin/entrypoint.sh"), ("README.md", "/about.md"),
        ("requirements.txt", "/srv/all/requirements.txt"), ("requirements/base.txt", "/srv/all/base.txt"),
    }  # fmt: skip
    other = made(tmp_path, text, build=Build(args=(("HOME_OF_APP", "/opt"),)))
    assert ("manage.py", "/opt/app/manage.py") in other.recipe.placed
    assert other.key != found.key


def test_a_context_of_its_own_and_what_it_ignores(tmp_path: Path) -> None:
    dockerfile = "FROM python\nCOPY . /code/\n"
    changes = {"shop/.dockerignore": "static\n.env\n", "shop/Dockerfile": dockerfile, "shop/.env": ""}
    build = Build(context="shop", dockerfile="shop/Dockerfile")
    found = made(tmp_path, CLEAN, changes, build)
    names = {"shop/__init__.py", "shop/tasks.py", "shop/Dockerfile"}
    assert {path for path, _ in found.recipe.laid} == names
    assert found.recipe.folder_of("shop") == "/code"
    assert found.recipe.folder_of("") is None
    brought = made(tmp_path, CLEAN, changes, build, overlays=frozenset({"shop/.env"}))
    assert {path for path, _ in brought.recipe.laid} == {*names, "shop/.env"}


def test_files_that_are_made_executable_stay_in_the_image(tmp_path: Path) -> None:
    text = "FROM python\nWORKDIR /app\nCOPY . .\nRUN chmod +x docker/entrypoint.sh && chown -R nobody shop/static\n"
    found = made(tmp_path, text)
    assert found.seen == {"docker/entrypoint.sh"}
    assert (".bisect-celery/copy-1/shop/static", None) in found.recipe.context


@pytest.mark.parametrize(
    ("project", "command", "reduced"),
    [
        ('[project]\nname = "a"\n', "uv sync --locked", True),
        ('[project]\nname = "a"\n[build-system]\nrequires = []\n', "uv sync --locked", False),
        ('[project]\nname = "a"\n[build-system]\nrequires = []\n', "uv sync --no-install-project", True),
        ('[project]\nname = "a"\n[tool.uv.workspace]\nmembers = ["x"]\n', "uv sync", False),
        ('[project]\nname = "a"\n[tool.uv.sources]\nx = { path = "x" }\n', "uv sync", False),
        ('[tool.poetry.dependencies]\ncelery = "*"\n', "poetry install --no-root --only main", True),
        ('[tool.poetry.dependencies]\ncelery = "*"\n', "poetry install", False),
        ('[tool.poetry.dependencies]\nx = { path = "x" }\n', "poetry install --no-root", False),
    ],
)
def test_projects_with_a_lock(tmp_path: Path, project: str, command: str, reduced: bool) -> None:
    text = f"FROM python\nWORKDIR /app\nCOPY . .\nRUN --mount=type=cache,target=/c {command}\n"
    found = made(tmp_path, text, {"pyproject.toml": project, "uv.lock": "", "poetry.lock": ""})
    assert ("shop/tasks.py" not in found.seen) is reduced
    assert "pyproject.toml" in found.seen


def test_a_workspace_above_the_project_may_be_read(tmp_path: Path) -> None:
    text = "FROM python\nWORKDIR /app\nCOPY . .\nWORKDIR /app/shop\nRUN uv sync --locked\n"
    project = {"shop/pyproject.toml": '[project]\nname = "a"\n', "shop/uv.lock": ""}
    assert "shop/tasks.py" not in made(tmp_path / "alone", text, project).seen
    above = {**project, "pyproject.toml": '[tool.uv.workspace]\nmembers = ["shop"]\n'}
    assert "shop/tasks.py" in made(tmp_path / "below", text, above).seen


def test_settings_of_uv_above_the_folder_are_read(tmp_path: Path) -> None:
    text = "FROM python\nWORKDIR /app\nCOPY . .\nWORKDIR /app/shop\nRUN uv pip install -r ../requirements.txt\n"
    found = made(tmp_path, text, {"uv.toml": "", "shop/uv.toml": ""})
    assert found.seen == {"requirements.txt", "requirements/base.txt", "uv.toml", "shop/uv.toml"}


def test_a_step_reads_what_was_copied_before_it_though_it_is_replaced_later(tmp_path: Path) -> None:
    text = (
        "FROM python\nWORKDIR /app\nCOPY requirements/base.txt requirements.txt\nRUN pip install -r requirements.txt\n"
        "COPY . .\n"
    )
    assert made(tmp_path, text, {"requirements.txt": "redis\n"}).seen == {"requirements/base.txt"}


def test_an_image_that_copies_by_itself_and_one_that_changes(tmp_path: Path) -> None:
    plain = made(tmp_path, CLEAN)
    assert made(tmp_path, CLEAN, facts=ImageFacts("sha256:newer")).key != plain.key
    triggered = made(tmp_path, CLEAN, facts=ImageFacts("sha256:base", triggers=("COPY . /src",)))
    assert triggered.seen == {*TREE, "Dockerfile"}
    assert triggered.recipe.whole


def test_a_link_is_followed_by_the_engine_and_not_by_us(tmp_path: Path) -> None:
    (tmp_path / "code").symlink_to("shop")
    found = made(tmp_path, "FROM python\nCOPY code /app\n")
    assert "shop/tasks.py" in found.seen
    assert found.recipe.whole


def test_what_only_buildkit_understands_is_known() -> None:
    assert needs_buildkit("FROM a\nRUN --mount=type=cache,target=/x y\n") == "line 2, `RUN y`"
    assert needs_buildkit("FROM a\nCOPY --from=b --chown=c d e\nRUN x\n") == ""


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("pip install -r a", {"/w/a"}),
        ("pip install -r /x/a -c b celery 'x>1' git+https://host/y.git", {"/x/a", "/w/b"}),
        ("PIP_NO_CACHE=1 python -m pip install --requirement=a", {"/w/a"}),
        ("cd /x && pip install -ra", {"/x/a"}),
        ('echo "a; b" && pip3 install -r $WHERE/a > /dev/null 2>&1', {"/y/a"}),
        ("pip install -qr a", None),
        ("pip install -r a && ./more.sh", None),
        ("pip install -r a &", None),
        ("if true; then pip install -r a; fi", None),
    ],
)
def test_what_a_command_wants(command: str, files: set[str] | None) -> None:
    run = parse(f"FROM a\nRUN {command}\n").stages[0].instructions[0]
    found = wants(run, "/w", {"WHERE": "/y"})
    assert (None if found is None else set(found.requirements)) == files


NAMES = st.sampled_from([path for path in TREE if not path.startswith("requirements")])


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(NAMES, st.text("abc", max_size=3), max_size=4), st.sampled_from([CLEAN, SLOPPY]))
def test_a_build_never_sees_what_its_key_does_not_name(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, str], layout: str
) -> None:
    """So that no image can hold another revision's code, whatever its steps do."""
    first = made(tmp_path_factory.mktemp("a"), layout)
    other = made(tmp_path_factory.mktemp("b"), layout, changes)
    assert (first.key, first.recipe.text, first.recipe.context) == (other.key, other.recipe.text, other.recipe.context)
    assert not other.seen & set(changes)
    whole = made(tmp_path_factory.mktemp("c"), INSTALLED, changes)
    same = all(TREE[path] == text for path, text in changes.items())
    assert (whole.key == made(tmp_path_factory.mktemp("d"), INSTALLED).key) is same
