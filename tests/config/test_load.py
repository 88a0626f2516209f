"""Settings from four layers, typed, with their sources; refusals in one sentence."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.config import KEYS, Loaded, load
from bisect_celery.config.settings import SETTINGS, Setting
from bisect_celery.errors import UserError
from bisect_celery.model import Request


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "services/mail").mkdir(parents=True)
    return tmp_path


def loaded(
    root: Path,
    flags: dict[str, object] | None = None,
    *,
    environment: dict[str, str] | None = None,
    typed_in: str = "",
    toml: str | None = None,
    pyproject: str | None = None,
) -> Loaded:
    if toml is not None:
        (root / "bisect-celery.toml").write_text(toml)
    if pyproject is not None:
        (root / "pyproject.toml").write_text(pyproject)
    return load(flags or {}, typed_in=root / typed_in, root=root, caller_environment=environment or {})


LAYERS = ("flags", "environment", "bisect-celery.toml", "pyproject.toml")


@given(st.sets(st.sampled_from(LAYERS), min_size=1))
def test_the_highest_layer_that_speaks_wins(tmp_path_factory: pytest.TempPathFactory, said: set[str]) -> None:
    found = loaded(
        tmp_path_factory.mktemp("project"),
        {"app": "by_flags"} if "flags" in said else {"app": None},
        environment={"BISECT_CELERY_APP": "by_environment"} if "environment" in said else {},
        toml='app = "by_toml"' if "bisect-celery.toml" in said else "",
        pyproject='[tool.bisect-celery]\napp = "by_pyproject"' if "pyproject.toml" in said else "[tool.other]\na = 1",
    )
    winner = next(layer for layer in LAYERS if layer in said)
    names = {"flags": "by_flags", "environment": "by_environment", "bisect-celery.toml": "by_toml"}
    assert found.settings["app"] == names.get(winner, "by_pyproject")
    sources = {"flags": "--app", "environment": "BISECT_CELERY_APP", "bisect-celery.toml": "bisect-celery.toml"}
    assert found.sources["app"] == sources.get(winner, "[tool.bisect-celery] of pyproject.toml")


@given(st.lists(st.dictionaries(st.sampled_from("ABCD"), st.sampled_from("xyz")), min_size=4, max_size=4))
def test_variables_add_up_and_the_higher_layer_wins(
    tmp_path_factory: pytest.TempPathFactory, layers: list[dict[str, str]]
) -> None:
    def table(values: dict[str, str]) -> str:
        return "".join(f'{name} = "{value}"\n' for name, value in values.items())

    found = loaded(
        tmp_path_factory.mktemp("project"),
        {"env": [f"{name}={value}" for name, value in layers[0].items()]},
        environment={"BISECT_CELERY_ENV": " ".join(f"{name}={value}" for name, value in layers[1].items())},
        toml=f"[env]\n{table(layers[2])}",
        pyproject=f"[tool.bisect-celery.env]\n{table(layers[3])}",
    )
    expected = {**layers[3], **layers[2], **layers[1], **layers[0]}
    assert {one.name: one.value for one in found.variables} == expected


def test_every_key_is_known_in_every_layer(project: Path) -> None:
    (project / "vars").write_text("X=1")
    (project / "faults.toml").write_text("[[scenario]]\nsend = 20\n[[scenario]]\ncut = 3\n")
    (project / "probe.py").write_text("def send(app): ...")
    (project / "stuck.json").write_text('{"body": "[[1], {}]", "headers": {"task": "t"}, "properties": {}}')
    text = {
        "app": "shop", "worker": "-c 2", "task": "t", "args": "[1]", "kwargs": "{}", "expect": "1", "count": "3",
        "check": "value > 3", "script": "probe.py", "message": "stuck.json", "judge": "latency, memory",
        "effect": "30", "log-must": "a", "log-must-not": "b",
        "queue": "q", "send": "guest", "done-log": "done", "prepare": "make", "python": "3.11", "match": "any",
        "output": "out", "budget": "5", "fails": "1/5", "confidence": "0.9", "ceiling": "60",
        "stack": "process", "broker": "embedded", "scenario": "faults.toml", "upgrade-from": "good",
        "first-parent": "true", "env": "A=1", "env-file": "vars", "pass": "HERE", "overlay": "vars",
        "start": "celeryd", "beside": "-c 1 -Q mail", "service": "redis, postgresql", "migrate": "migrate",
        "workload": "shop", "periodic": "nightly", "compose": "compose.yaml",
        "dockerfile": "Dockerfile", "build-context": "services", "target": "prod",
        "build-arg": "A=1", "image": "shop:1",
        "rabbitmq-image": "rabbitmq:3.13", "remote-engine": "true",
    }  # fmt: skip
    assert set(text) == set(KEYS)
    environment = {f"BISECT_CELERY_{key.replace('-', '_').upper()}": value for key, value in text.items()}
    by_environment = loaded(project, environment={**environment, "HERE": "there"})
    switches = ("first-parent", "remote-engine")
    flags: dict[str, object] = {key.replace("-", "_"): value for key, value in text.items() if key not in switches}
    by_flags = loaded(project, {**flags, "first_parent": True, "remote_engine": True}, environment={"HERE": "there"})
    plain = ("count", "effect", "budget", "ceiling", "confidence", *switches)
    toml = "\n".join(f"{key} = {value if key in plain else repr(value)}" for key, value in text.items() if key != "env")
    by_toml = loaded(project, toml=f"{toml}\n[env]\nA = 1\n", environment={"HERE": "there"})
    assert by_environment.settings == by_flags.settings == by_toml.settings
    variables = [{one.name: one.value for one in found.variables} for found in (by_environment, by_flags, by_toml)]
    assert variables == [{"A": "1", "X": "1", "HERE": "there"}] * 3
    assert by_environment.overlays == by_flags.overlays == by_toml.overlays


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.field], ids=lambda one: one.key)
def test_every_setting_has_a_place_in_the_request(setting: Setting) -> None:
    operator.attrgetter(setting.field)(Request(Path("/r"), "a", "b", "shop"))


def test_what_stands_beside_the_workload_is_heard_last(project: Path) -> None:
    shop = project / "services/mail"
    (shop / "bisect-celery.toml").write_text('app = "mail"\nworkload = "nowhere"\noverlay = ["local.py"]')
    (shop / "local.py").write_text("")
    (project / "bisect-celery.toml").write_text('task = "t"')
    found = loaded(project, {"workload": "services/mail"})
    assert found.settings == {"workload": shop, "task": "t", "app": "mail"}
    assert [one.source for one in found.overlays] == [shop / "local.py"]


def test_the_nearest_file_is_read_and_its_paths_are_seen_from_it(project: Path) -> None:
    (project / "bisect-celery.toml").write_text('app = "root"\noutput = "out"')
    (project / "services/mail/bisect-celery.toml").write_text('app = "mail"')
    assert loaded(project, typed_in="services/mail").settings == {"app": "mail"}
    assert loaded(project, typed_in="services").settings == {"app": "root", "output": project / "out"}
    assert loaded(project, {"output": "here"}, typed_in="services").settings["output"] == project / "services/here"
    assert loaded(project, typed_in="services/mail").folder == "services/mail"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"aap": "x"}, "Did you mean `app`"),
        ({"args": "[a, b]"}, "the shell took the double quotes away"),
        ({"args": "['a']"}, "JSON knows only double quotes"),
        ({"args": '{"a": 1}'}, "not a list"),
        ({"kwargs": "[1]"}, "not an object"),
        ({"expect": "ok"}, "--expect '\"ok\"'"),
        ({"expect": "NaN"}, "not JSON"),
        ({"check": "value >"}, "not a Python expression"),
        ({"check": "total > 3"}, "says nothing about `value`"),
        ({"script": "none.py"}, "cannot be read"),
        ({"message": "none.json"}, "cannot be read"),
        ({"judge": "latency,memry"}, "Did you mean memory"),
        ({"service": "redis,postgre"}, "Did you mean postgres"),
        ({"service": "postgres mysql"}, "two databases"),
        ({"count": "many"}, "a whole number"),
        ({"count": "-1"}, "a whole number"),
        ({"budget": "0"}, "above 0"),
        ({"scenario": "none.toml"}, "cannot be read"),
        ({"fails": "often"}, "1/5, 20%, 0.2"),
        ({"fails": "6/5"}, "at most 1"),
        ({"fails": "1/0"}, "1/5"),
        ({"confidence": "95"}, "between 0.5 and 1"),
        ({"match": "sam"}, "Did you mean same"),
        ({"stack": "vm"}, "container or process"),
        ({"app": "shop/celery.py"}, "not a module"),
        ({"worker": "-Q 'a"}, "quote that is not closed"),
        ({"done-log": "("}, "regular expression"),
        ({"env": ["A"]}, "--pass A"),
        ({"env": ["=x"]}, "NAME=VALUE"),
        ({"pass": ["NOT_SET"]}, "not set here"),
        ({"env-file": ["none.env"]}, "cannot be read"),
        ({"overlay": ["none.py"]}, "is not a file"),
        ({"overlay": ["here:../out"]}, "leave the tree"),
        ({"overlay": ["here:.git/config"]}, "leave the tree"),
        ({"task": " "}, "is empty"),
    ],
)
def test_refusals(project: Path, flags: dict[str, object], said: str) -> None:
    (project / "here").write_text("")
    with pytest.raises(UserError) as caught:
        loaded(project, flags)
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("woker = 1", "Did you mean `worker`"),
        ("python = 3.10", 'python = "3.1"'),
        ("app = ", "is not TOML"),
        ("count = '3'", "a whole number"),
        ("first-parent = 1", "true or false"),
        ("args = [2020-01-01]", "no word for"),
        ("first-parent = true\nfirst_parent = true", "stands twice"),
        ("[env]\nA = []", "A"),
    ],
)
def test_refusals_in_a_file(project: Path, toml: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(project, toml=toml)
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_misspelt_variable_is_told_but_other_variables_of_ours_are_left_alone(project: Path) -> None:
    with pytest.raises(UserError, match="BISECT_CELERY_WORKR"):
        loaded(project, environment={"BISECT_CELERY_WORKR": "x"})
    for name in ("BISECT_CELERY_HOME", "BISECT_CELERY_WORKER_IMAGE", "BISECT_CELERY_OWNER"):
        assert loaded(project, environment={name: "x"}).settings == {}


def test_json_may_be_written_as_toml(project: Path) -> None:
    found = loaded(project, toml='args = [1, "a"]\nkwargs = {b = true}\nexpect = "[1]"').settings
    assert (found["args"], found["kwargs"], found["expect"]) == ('[1, "a"]', '{"b": true}', "[1]")


def test_no_value_of_an_argument_is_repeated_in_an_error(project: Path) -> None:
    with pytest.raises(UserError) as caught:
        loaded(project, {"args": "[canary"})
    assert "canary" not in caught.value.message + caught.value.hint


def test_an_overlay_keeps_its_place_or_goes_where_it_is_told(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "local_settings.py"
    outside.write_text("")
    (project / "services/mail/.env").write_text("")
    found = loaded(
        project, {"overlay": [".env", str(outside), f"{outside}:conf/local.py"]}, typed_in="services/mail"
    ).overlays
    assert [one.target for one in found] == ["services/mail/.env", "services/mail/local_settings.py", "conf/local.py"]


# --- secrets -----------------------------------------------------------------------------------------


def secrets_of(project: Path, **flags: object) -> set[str]:
    environment = {"HERE": "canary-pass", "FLAG": "true"}
    return set(loaded(project, flags, environment=environment).secrets)


@pytest.mark.parametrize(
    ("variable", "secrets"),
    [
        ("SECRET_KEY=canary", {"canary"}),
        ("DB_PASSWORD=canary", {"canary"}),
        ("SENTRY_DSN=https://canary@x.io/1", {"https://canary@x.io/1", "canary"}),
        ("BROKER_URL=amqp://user:can%40ary@host//", {"can%40ary", "can@ary"}),
        ("AWS_ACCESS_KEY_ID=canary", {"canary"}),
        ("STRIPE_KEY=canary", {"canary"}),
        ("MONKEY_PATCH=yes-please", set()),
        ("CACHE_KEY_PREFIX=shop", set()),
        ("DEBUG=true", set()),
        ("NAME=shop", set()),
        ("URL=http://localhost:8000/", set()),
        ("BROKER_URL=amqp://guest:guest@localhost//", set()),
    ],
)
def test_which_variables_are_secret(project: Path, variable: str, secrets: set[str]) -> None:
    assert secrets_of(project, env=[variable]) == secrets


def test_an_example_is_made_to_be_shown(project: Path) -> None:
    (project / ".env.example").write_text("SHOP_NAME=canary-shown\nSHOP_TOKEN=canary-token\n")
    assert secrets_of(project, env_file=[".env.example"]) == {"canary-token"}


def test_what_comes_by_name_or_file_is_secret_but_for_what_everybody_knows(project: Path) -> None:
    (project / "vars").write_text("A=canary-file\nDEBUG=1\nLOG_LEVEL=debug\nDJANGO_SETTINGS_MODULE=shop.settings\n")
    assert secrets_of(project, **{"pass": ["HERE,FLAG"], "env_file": ["vars"]}) == {"canary-pass", "canary-file"}


def test_overlays_are_searched(project: Path) -> None:
    (project / ".env").write_text("A=canary-1\nB=true\n")
    (project / "local_settings.py").write_text(
        "DEBUG = True\nSECRET_KEY = 'canary-2'\nDATABASES = {'default': {'PASSWORD': \"canary-3\", 'NAME': 'shop'}}\n"
        "URL = 'redis://:canary-4@cache/0'\n"
    )
    found = secrets_of(project, overlay=[".env", "local_settings.py"])
    assert found == {"canary-1", "canary-2", "canary-3", "canary-4"}
