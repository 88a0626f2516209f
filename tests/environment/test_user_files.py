"""pip.conf, netrc and uv.toml of the user's: found where pip and uv look for them, in pip's order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from package_index import lay

from bisect_celery.environment import user_files
from bisect_celery.environment.caller import installation_environment
from bisect_celery.environment.user_files import NETRC, UV, files, with_pip_conf


@pytest.fixture(autouse=True)
def no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that tests run on may have a pip.conf of its own."""
    monkeypatch.setattr(user_files, "MACHINES", tmp_path / "etc" / "pip.conf")


def caller(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "machine"), **more}


def test_the_louder_file_wins_and_variables_over_all(tmp_path: Path) -> None:
    lay(tmp_path, {
        "machine/pip/pip.conf": "[global]\nindex-url = https://machine/simple\nretries = 1\ntimeout = 3\n",
        "etc/pip.conf": "[global]\nindex-url = https://etc/simple\n",
            ".pip/pip.conf": "[global]\nindex_url = https://old/simple\ntrusted-host = old\n",
        ".config/pip/pip.conf": "[global]\nindex-url = https://user/simple\n",
        "venv/pip.conf": "[global]\ncert = /company.pem\n",
        "said.conf": "[global]\nextra-index-url =\n    https://one/simple\n    https://two/simple\n",
    })  # fmt: skip
    said = with_pip_conf(
        caller(tmp_path, VIRTUAL_ENV=f"{tmp_path}/venv", PIP_CONFIG_FILE=f"{tmp_path}/said.conf", PIP_RETRIES="9")
    )
    assert {name: value for name, value in said.items() if name.startswith("PIP_")} == {
        "PIP_INDEX_URL": "https://user/simple",
        "PIP_TRUSTED_HOST": "old",
        "PIP_CERT": "/company.pem",
        "PIP_EXTRA_INDEX_URL": "https://one/simple https://two/simple",
        "PIP_DEFAULT_TIMEOUT": "3",
        "PIP_RETRIES": "9",
        "PIP_CONFIG_FILE": f"{tmp_path}/said.conf",
    }
    for_uv = installation_environment(said)
    assert for_uv["UV_DEFAULT_INDEX"] == "https://user/simple"
    assert for_uv["UV_EXTRA_INDEX_URL"] == "https://one/simple https://two/simple"


def test_install_is_louder_than_global_in_whatever_file(tmp_path: Path) -> None:
    lay(tmp_path, {
        "machine/pip/pip.conf": "[install]\nindex-url = https://install/simple\n",
        ".config/pip/pip.conf": "[global]\nindex-url = https://global/simple\n[freeze]\ntimeout = 1\n",
    })  # fmt: skip
    assert with_pip_conf(caller(tmp_path))["PIP_INDEX_URL"] == "https://install/simple"


@pytest.mark.parametrize("content", ["index-url = https://nowhere\n", "[global\n", "[global]\nindex-url\n", "\0"])
def test_what_pip_could_not_read_either_says_nothing(tmp_path: Path, content: str) -> None:
    lay(tmp_path, {".config/pip/pip.conf": content})
    assert with_pip_conf(caller(tmp_path)) == caller(tmp_path)


def test_no_configuration_is_one_too(tmp_path: Path) -> None:
    lay(tmp_path, {".config/pip/pip.conf": "[global]\nindex-url = https://user/simple\n"})
    assert "PIP_INDEX_URL" not in with_pip_conf(caller(tmp_path, PIP_CONFIG_FILE=os.devnull))


def test_files_of_tools_are_where_these_look(tmp_path: Path) -> None:
    assert files(caller(tmp_path)) == {}
    lay(tmp_path, {".netrc": "", ".config/uv/uv.toml": "", "other/netrc": "", "other/uv/uv.toml": ""})
    assert files(caller(tmp_path)) == {NETRC: tmp_path / ".netrc", UV: tmp_path / ".config/uv/uv.toml"}
    other = files(caller(tmp_path, NETRC=f"{tmp_path}/other/netrc", XDG_CONFIG_HOME=f"{tmp_path}/other"))
    assert other == {NETRC: tmp_path / "other/netrc", UV: tmp_path / "other/uv/uv.toml"}


def test_a_folder_of_wheels_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    said = {"PIP_FIND_LINKS": f"{tmp_path} {tmp_path}/gone file://{tmp_path}/gone https://wheels/"}
    assert installation_environment(said)["UV_FIND_LINKS"] == f"{tmp_path} https://wheels/"
    assert "UV_FIND_LINKS" not in installation_environment({"PIP_FIND_LINKS": f"{tmp_path}/gone"})
