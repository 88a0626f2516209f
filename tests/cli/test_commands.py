"""The command line as a person meets it: every documented command exists, every failure is a sentence and a status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from bisect_celery.__main__ import scrub
from bisect_celery.cli import exits, options, terminal
from bisect_celery.cli.app import app, run
from bisect_celery.config.settings import taken_by
from bisect_celery.errors import Cancelled, EndsError, InfraError, UserError
from bisect_celery.model import Judged, Judgement, Kind, Observation, Outcome, Symptom, Tree, Trial, Verdict

ROOT = Path(__file__).resolve().parents[2]


def console() -> Console:
    return Console(file=open(os.devnull, "w"), width=200)


# --- documents against commands ------------------------------------------------------------------------


def options_of(name: str) -> set[str]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {word for parameter in commands[name].params for word in parameter.opts if word.startswith("-")}


def documented() -> list[tuple[str, str]]:
    """(command, its words) of every `bisect-celery …` in the documents."""
    found = []
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "bisect_celery" / "demo" / "README.md"):
        for match in re.finditer(r"bisect-celery (\w+)([^`\n|]*)", path.read_text("utf-8")):
            if match[1] in ("run", "try", "reproduce", "report", "resume", "clean", "demo", "doctor"):
                found.append((match[1], match[2]))
    return found


@pytest.mark.parametrize(("command", "words"), documented())
def test_documented_commands_and_flags_exist(command: str, words: str) -> None:
    known = options_of(command)
    assert set(re.findall(r"(?<!\S)(--[a-z-]+)", words)) <= known


def test_every_flag_in_the_readme_belongs_to_a_command() -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in ("README.md", "docs/probe.md")]
    said = {flag for text in texts for flag in re.findall(r"`(--[a-z-]+)", text)}
    assert said
    assert said <= options_of("run") | options_of("try") | options_of("reproduce")


def test_keys_of_the_readme_are_keys_of_the_configuration() -> None:
    from bisect_celery.config import KEYS

    block = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    keys = re.findall(r"^([\w-]+) =", block[1], re.MULTILINE)
    assert keys
    assert set(keys) <= set(KEYS)


@pytest.mark.parametrize("command", ["run", "try", "reproduce", "demo"])
def test_a_command_takes_the_flags_of_its_settings_and_hands_over_what_was_said(command: str) -> None:
    from typer.testing import CliRunner

    given: dict[str, object] = {}

    def take(settings: options.Settings) -> int:
        given.update(settings)
        return 0

    small = typer.Typer()
    small.command()(options.taking(command)(take))
    took = {setting.key for setting in taken_by(command)}
    assert {f"--{key}" for key in took} <= options_of(command)
    said = {"stack": "process", "env": "A=1", "done-log": "x", "first-parent": None}
    words = [word for key in sorted(took & set(said)) for word in (f"--{key}", said[key]) if word]
    ended = CliRunner().invoke(small, words)
    assert ended.exit_code == 0, ended.output
    expected = {"stack": "process", "env": ["A=1"], "done_log": "x", "first_parent": True}
    assert {name: value for name, value in given.items() if value} == {
        name: value for name, value in expected.items() if name.replace("_", "-") in took
    }
    assert set(given) == {key.replace("-", "_") for key in took}


# --- exit statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (UserError("Wrong.", "Right."), 2),
        (EndsError("Swapped.", "Other way."), 3),
        (InfraError("Docker is gone."), 5),
        (Cancelled(), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_failure_has_its_status(raised: BaseException, status: int) -> None:
    def command() -> int:
        raise raised

    assert exits.told(command, console()) == status


def test_a_crash_of_ours_says_so_and_keeps_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISECT_CELERY_HOME", str(tmp_path))

    def command() -> int:
        raise ZeroDivisionError

    assert exits.told(command, console()) == 1
    kept = tmp_path / "state" / "crash.log"
    assert "ZeroDivisionError" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_every_outcome_has_a_status() -> None:
    assert set(exits.OF_OUTCOME) == set(Outcome)
    assert [outcome for outcome, status in exits.OF_OUTCOME.items() if status == 0] == [Outcome.CONFIRMED]


@pytest.mark.parametrize("words", [["try", "--exit-code", "--no-such-flag"], ["try", "--exit-code", "a", "b"]])
def test_usage_errors_under_exit_code_are_above_what_git_reads_as_bad(words: list[str]) -> None:
    assert run(words, {}) == 130


def test_usage_errors_are_two() -> None:
    assert run(["run"], {}) == 2
    assert run(["no-such-command"], {}) == 2


def test_outside_a_repository_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bisect_celery", "run", "a", "b"]
    env = {**os.environ, "BISECT_CELERY_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "not in a git repository" in ended.stderr.splitlines()[0]
    assert "Traceback" not in ended.stderr


# --- our own environment -----------------------------------------------------------------------------------


def test_what_would_change_our_libraries_is_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://production")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    caller = scrub()
    assert caller["CELERY_BROKER_URL"] == "amqp://production"
    assert not [name for name in os.environ if name.startswith(("CELERY", "DJANGO_", "PYTHON"))]
    assert str(tmp_path) not in sys.path


# --- lines -------------------------------------------------------------------------------------------------


def judged(number: int, kind: Kind, verdict: Verdict, exception: str | None = None) -> Judged:
    trial = Trial(number, Tree("0" * 40, "a1b2c3d4e5", "Tidy up"), Observation(1.0), seconds=3.25)
    return Judged(trial, Judgement(verdict, Symptom(kind, exception), "why it is so"))


def test_trial_lines_are_aligned() -> None:
    lines = [
        terminal.trial_line(one, False, lambda text: text).plain
        for one in (
            judged(1, Kind.COMPLETED, Verdict.GOOD),
            judged(12, Kind.EXECUTED_NOT_ACKED, Verdict.BAD),
            judged(3, Kind.BOOT_FAILED, Verdict.SKIP, "ImportError"),
        )
    ]
    assert [line.split()[0] for line in lines] == ["good", "bad", "skip"]
    assert len({line.index("a1b2c3d4e5") for line in lines}) == 1
    assert len({line.index("3.2 s") for line in lines}) == 1


def test_the_first_line_says_what_was_taken_and_why() -> None:
    line = terminal.stack_line("process", "embedded", True, "no container engine answers")
    assert line == "process stack, embedded broker (emulated): no container engine answers"
    line = terminal.stack_line("container", "rabbitmq", False, "asked for", ["postgres", "redis"])
    assert line == "container stack, rabbitmq broker, postgres, redis: asked for"
