"""Revisions of a library whose code its build makes: built once for each content, unpacked in the tree's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from package_index import lay

from bisect_celery.environment import EnvironmentFailed, LocalRunner, source_roots, wheel
from bisect_celery.environment.caller import installation_environment
from bisect_celery.environment.resolve import Bench
from bisect_celery.environment.tree import Folder
from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token

LIBRARY = "library-under-test"
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"'
MATURIN = '[build-system]\nrequires = ["maturin"]\nbuild-backend = "maturin"'
SCM = '[build-system]\nrequires = ["setuptools", "setuptools_scm>=8"]'
PROJECT = '[project]\nname = "parcels"\nversion = "1"\n'
OWN = f'{PROJECT}[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """\
import os, sys, uuid, zipfile
def build_wheel(directory, settings=None, metadata=None):
    made = open("parcels.c").read()
    if "error" in made:
        sys.exit(made)
    with zipfile.ZipFile(os.path.join(directory, "parcels-1-py3-none-any.whl"), "w") as archive:
        archive.writestr("parcels/__init__.py", "BUILT = %r" % uuid.uuid4().hex)
        archive.writestr("parcels-1.data/platlib/parcels/part.so", made)
        archive.writestr("parcels-1.data/scripts/parcels", "#!python")
        archive.writestr("../outside.txt", "never")
        info = "Metadata-Version: 2.1\\nName: parcels\\nVersion: 1\\nRequires-Dist: amqp>=1\\n"
        archive.writestr("parcels-1.dist-info/METADATA", info)
        archive.writestr("parcels-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("parcels-1.dist-info/RECORD", "")
    return "parcels-1-py3-none-any.whl"
"""
Built = Callable[[str], Folder]


@pytest.fixture
def built(runner: LocalRunner, caller: dict[str, str], cancel: Token, tmp_path: Path) -> Built:
    """`built(content of the .c file)`: a tree with a revision of a library that has a build of its own."""
    path, version = runner.interpreter(None)
    environment = {**installation_environment(caller), "UV_CACHE_DIR": caller["UV_CACHE_DIR"]}
    bench = Bench(runner, path, version, "2024-09-01T00:00:00Z", environment, cancel)
    count = 0

    def make(source: str) -> Folder:
        nonlocal count
        count += 1
        files: dict[str, str | bytes] = {"pyproject.toml": OWN, "backend.py": BACKEND, "parcels.c": source}
        layout = lay(tmp_path / f"tree-{count}", {})
        folder = Folder(lay(layout, {f"{LIBRARY}/{name}": content for name, content in files.items()}))
        wheel.put_built(bench, folder, LIBRARY, lambda _: None)
        return folder

    return make


def test_what_was_built_stands_in_the_trees_place(built: Built) -> None:
    folder = built("int one;")
    place = wheel.beside(LIBRARY)
    assert source_roots(folder.layout, "", LIBRARY) == (place,), "nothing of the sources is on the path"
    assert folder.text(f"{place}/parcels/part.so") == "int one;"
    assert folder.names(place) == ("outside.txt", "parcels", "parcels-1.dist-info")
    said = wheel.metadata(folder, LIBRARY)
    assert said is not None
    assert (said.name, said.requires) == ("parcels", (("Requires-Dist", "amqp>=1"),))
    once = folder.text(f"{place}/parcels/__init__.py")
    assert built("int one;").text(f"{place}/parcels/__init__.py") == once, "one content is built once"
    assert built("int two;").text(f"{place}/parcels/__init__.py") != once


def test_a_revision_that_does_not_build_is_no_evidence(built: Built) -> None:
    with pytest.raises(EnvironmentFailed) as failed:
        built("parcels.c:9: error: expected ';' before '}'")
    assert failed.value.failure.reason == (
        "This revision of the library does not build: parcels.c:9: error: expected ';' before '}'."
    )


@pytest.mark.parametrize(
    "said",
    ["error: command 'gcc' failed: No such file or directory", "parcels.c:1: fatal error: Python.h: No such file",
     "../meson.build:1:0: error: Unknown compiler(s): [['cc'], ['gcc']]", "error: can't find Rust compiler"],
)  # fmt: skip
def test_a_machine_without_a_compiler_judges_no_revision(built: Built, said: str) -> None:
    with pytest.raises(InfraError) as failed:
        built(said)
    assert "build-essential" in (failed.value.hint or "")


@pytest.mark.parametrize(
    ("files", "built_because"),
    [
        ({"pyproject.toml": PROJECT}, None),
        ({"setup.py": "from setuptools import setup\nsetup(name='parcels')"}, None),
        ({"pyproject.toml": PROJECT + HATCHLING}, None),
        ({"setup.py": "setup(name='parcels', ext_modules=[Extension('a', ['a.c'])])"}, "ext_modules in setup.py"),
        ({"setup.py": "setup(name='parcels', cffi_modules=['a.py:ffi'])"}, "cffi_modules in setup.py"),
        ({"setup.py": "setup(**everything)"}, "only its build says what it is called"),
        ({"pyproject.toml": OWN}, "built by backend"),
        ({"pyproject.toml": PROJECT + MATURIN}, "built by maturin"),
        ({"pyproject.toml": PROJECT + SCM}, "its build needs setuptools_scm"),
        ({"pyproject.toml": f"{PROJECT}[tool.hatch.build.hooks.custom]"}, "tool.hatch.build.hooks in pyproject.toml"),
        ({"pyproject.toml": f'{PROJECT}[[tool.setuptools.ext-modules]]\nname = "a"'}, "ext-modules in pyproject.toml"),
    ],
)  # fmt: skip
def test_whose_code_does_not_lie_there_ready(
    tmp_path: Path, files: dict[str, str | bytes], built_because: str | None
) -> None:
    lay(tmp_path / LIBRARY, files)
    assert wheel.why_built(Folder(tmp_path), LIBRARY) == built_because
