"""The report as a whole: golden texts for every outcome, its schema, its size, and what must never be in it."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import incident
import jsonschema
import pytest
from from_types import PLAIN, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bisect_celery.core.redact import Redactor
from bisect_celery.errors import InfraError
from bisect_celery.model import Outcome, Session, Skipped, StackFacts, Tally, Tree
from bisect_celery.report import fit
from bisect_celery.report.build import build
from bisect_celery.report.model import Report
from bisect_celery.report.render import as_json, markdown, write

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[1] / "docs" / "report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def report(session: Session) -> Report:
    redact = Redactor(session.request.secrets)
    return build(session, redact, redact.exact)


def ended(outcome: Outcome) -> Session:
    """The founding incident, had it ended otherwise."""
    whole = incident.session(outcome=outcome, headline="")
    searched = whole.judged[:5]
    nothing = dataclasses.replace(whole, culprit=None, judged=searched)
    return {
        Outcome.CONFIRMED: whole,
        Outcome.COMMIT_ONLY: dataclasses.replace(
            whole,
            judged=searched,
            culprit=dataclasses.replace(
                incident.culprit(), cause=(), fix=(), patch="", caveats=("Taking back any one hunk stops the app.",)
            ),
        ),
        Outcome.PREDATES_GOOD: nothing,
        Outcome.NO_CULPRIT: nothing,
        Outcome.CANDIDATES: dataclasses.replace(
            nothing,
            candidates=(incident.CULPRIT, incident.BROKEN),
            skipped=(dataclasses.replace(whole.skipped[0], adjoins=True),),
        ),
        Outcome.ENDS_WRONG: dataclasses.replace(
            nothing,
            headline="BAD completes 20 of 20 here; what differs in production is not in this run.",
            judged=(searched[0], incident.judged(2, incident.BAD_END.tree, "ffffffffff", incident.GOOD, "bad end")),
            bad_symptom=incident.GOOD,
            skipped=(),
            bisect_log="",
            advice=("Try production's variables: `--env NAME=VALUE`", "Try its start line: `--worker '-c 8'`"),
        ),
        Outcome.INFRA: dataclasses.replace(nothing, headline="The disk is full; this says nothing about the code."),
        Outcome.INTERRUPTED: dataclasses.replace(nothing, finished_at=None),
    }[outcome]


# --- what it looks like ------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_reads_as_agreed(outcome: Outcome) -> None:
    """`UPDATE_GOLDEN=1 pytest tests/report` writes the files anew: read the difference before you commit it."""
    golden = HERE / "golden" / f"{outcome}.md"
    text = markdown(report(ended(outcome)))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_follows_the_schema(outcome: Outcome) -> None:
    data = as_json(report(ended(outcome)))
    VALIDATOR.validate(data)
    assert json.loads(json.dumps(data)) == data
    assert data["outcome"] == outcome


def test_the_schema_is_one_and_tells_everything_that_is_written() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    data = as_json(report(incident.session()))
    assert set(data) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    assert set(data["culprit"]["cause"][0]) == set(SCHEMA["$defs"]["atom"]["properties"])
    for wrong in ({"outcome": "done"}, {"symptoms": {"good": "fine", "bad": None}}, {"more": 1}, {"culprit": {}}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate({**data, **wrong})


def test_candidates_come_with_their_probabilities() -> None:
    known = ((incident.CULPRIT.sha, 0.6123), (incident.BROKEN.sha, 0.0041))
    shown = report(dataclasses.replace(ended(Outcome.CANDIDATES), probabilities=known))
    assert [one["probability"] for one in as_json(shown)["candidates"]] == [0.6123, 0.0041]
    VALIDATOR.validate(as_json(shown))
    assert "- **61 %** `cccccccccc`" in markdown(shown)
    assert "- **less than 1 %** `bbbbbbbbbb`" in markdown(shown)


def test_an_intermittent_row_holds_by_its_rate_and_not_by_every_trial() -> None:
    whole = incident.session()
    assert whole.culprit is not None
    rows = (
        Tally("parent", Tree(incident.PARENT_TREE, "9"), 0, 18, rate=0.3, held=True),
        Tally("culprit", Tree(incident.CULPRIT.tree, "c"), 2, 6, should_fail=True, rate=0.3, held=True),
        Tally("culprit without the cause", Tree("8" * 40, "c minus"), 0, 4, rate=0.3),
    )
    shown = report(dataclasses.replace(whole, culprit=dataclasses.replace(whole.culprit, confirmation=rows)))
    assert [row["holds"] for row in as_json(shown)["confirmation"]] == [True, True, None]
    assert "**2 / 6** |" in markdown(shown)
    assert "**0 / 4** (too few to say)" in markdown(shown)
    VALIDATOR.validate(as_json(shown))


def test_the_json_says_what_was_found() -> None:
    data = as_json(report(incident.session()))
    assert data["culprit"]["sha"] == "c" * 40
    assert data["culprit"]["cause"] == data["culprit"]["fix"]
    atom = data["culprit"]["cause"][0]
    assert (atom["path"], atom["header"]) == ("shop/__init__.py", "@@ -2,1 +1,0 @@")
    assert atom["lines"] == ["-from shop import regions  # noqa: F401"]
    assert data["symptoms"] == {"good": "completed", "bad": "executed-not-acked"}
    assert (data["stack"], data["broker"], data["emulated"]) == ("process", "rabbitmq", False)
    assert [row["trials"] for row in data["confirmation"]] == [[6, 10, 14], [7, 11, 15], [8, 12, 16], [9, 13, 17]]
    assert data["trials"][3]["verdict"] == "bad"
    assert data["elapsed"] == 95.0


def test_the_first_screen_has_what_to_do_and_the_guilty_line() -> None:
    screen = markdown(report(incident.session())).splitlines()[:20]
    text = "\n".join(screen)
    for needed in ("cccccccccc", "git apply fix.patch", "shop/__init__.py", "-from shop import regions"):
        assert needed in text
    assert screen.index("### What to do") < screen.index("### The guilty change")


def test_an_emulated_broker_is_said_in_the_first_line() -> None:
    stack = StackFacts("process", "embedded", "0.1.0", True, "no RabbitMQ and no Docker here", False)
    emulated = report(incident.session(stack=stack))
    assert "mulated" in markdown(emulated).splitlines()[0]
    assert as_json(emulated)["emulated"] is True
    assert "mulated" not in markdown(report(incident.session()))


def test_a_session_that_died_without_a_word_is_interrupted_and_says_how_to_go_on() -> None:
    bare = Session("s1", "bisect-celery run v1", incident.session().request, "2026-01-01T00:00:00+00:00")
    data = as_json(report(bare))
    VALIDATOR.validate(data)
    assert data["outcome"] == "interrupted"
    assert data["trials"] == []
    assert "`bisect-celery resume s1`" in markdown(report(bare))


@pytest.mark.parametrize("outcome", [Outcome.INFRA, Outcome.INTERRUPTED])
def test_the_resume_command_is_there_once_whatever_is_advised(outcome: Outcome) -> None:
    for advice in ((), ("Free some space",), ("Free some space, then `bisect-celery resume 20251203-101500-k3`",)):
        text = markdown(report(dataclasses.replace(ended(outcome), advice=advice)))
        assert text.count("bisect-celery resume 20251203-101500-k3") == 1


def test_a_count_that_contradicts_the_claim_is_marked() -> None:
    culprit = incident.culprit()
    rows = (dataclasses.replace(culprit.confirmation[0], failed=1), *culprit.confirmation[1:])
    text = markdown(report(incident.session(culprit=dataclasses.replace(culprit, confirmation=rows))))
    assert "**1 / 3** (not as it should)" in text
    assert text.count("not as it should") == 1


def test_a_skip_next_to_the_culprit_is_said_aloud() -> None:
    skipped = (Skipped(incident.BROKEN, "whatever", adjoins=True),)
    assert "**1 of them right before the culprit:**" in markdown(report(incident.session(skipped=skipped)))
    assert "None of them stands right before the culprit." in markdown(report(incident.session()))


def test_a_fix_that_is_not_the_cause_is_shown_as_well() -> None:
    other = dataclasses.replace(incident.ATOM, number=4, path="shop/celery.py", lines=("-lazy = True",))
    text = markdown(report(incident.session(culprit=dataclasses.replace(incident.culprit(), fix=(other,)))))
    assert "-from shop import regions" in text
    assert "-lazy = True" in text


def test_rendering_needs_no_django_settings() -> None:
    script = """
import sys
sys.path[:0] = sys.argv[1:]
import incident
from bisect_celery.report.build import build
assert not any(name.split(".")[0] == "django" for name in sys.modules)
from bisect_celery.report.render import markdown
assert markdown(build(incident.session(), str))
from django.conf import settings
assert not settings.configured
"""
    argv = [sys.executable, "-c", script, str(HERE), str(HERE.parents[1])]
    subprocess.run(argv, check=True, timeout=60, env={"DJANGO_SETTINGS_MODULE": "none.such"})


def test_every_value_in_the_template_is_escaped() -> None:
    source = (HERE.parents[1] / "bisect_celery/report/templates/report.md").read_text()
    used = re.findall(r"\{\{(.*?)\}\}", source)
    assert len(used) > 40
    safe = r"\|(text|title|prose|code|codecell|seconds|percent|numbers|day|count:\"\w+\"|fence|diff|command)\s*$"
    assert [value for value in used if not re.search(safe, value)] == []


# --- what must never be in it ------------------------------------------------------------------------

CANARY = "c4n4ryS3cretZq"


def outputs(session: Session) -> str:
    """All that leaves the house."""
    whole = report(session)
    return "\n".join((markdown(whole), json.dumps(as_json(whole), ensure_ascii=False), whole.patch))


def planted() -> Session:
    """Private, not known as secret: only its place tells that it must not be shown."""
    whole = incident.session()
    seen = incident.stuck()
    message = dataclasses.replace(
        seen.messages[0], value=f'"{CANARY}"', detail=f"ValueError: {CANARY}", state="FAILURE", exception="ValueError"
    )
    url = f"redis://user:{CANARY}@cache:6379/0"
    seen = dataclasses.replace(
        seen,
        messages=(message, *seen.messages[1:]),
        errors=(f"ERROR {CANARY}",),
        foreign_broker=url,
        worker=dataclasses.replace(seen.worker, result_backend=url, registered=(CANARY,)),
        dumps=(*seen.dumps, dataclasses.replace(seen.dumps[0], frames=(f"f (x.py:1) {CANARY}", f"x = '{CANARY}'"))),
    )
    boot = incident.unbootable()
    assert boot.failure is not None
    failure = dataclasses.replace(boot.failure, reason=f"ImportError: {CANARY}", lines=(f"log {CANARY}",))
    judged = list(whole.judged)
    for place, observation in ((1, seen), (3, seen), (2, dataclasses.replace(boot, failure=failure))):
        one = judged[place]
        judged[place] = dataclasses.replace(
            one,
            trial=dataclasses.replace(one.trial, observation=observation, artifacts=f"/tmp/{CANARY}"),
            judgement=dataclasses.replace(one.judgement, rule=f"because {CANARY}"),
        )
    probe = dataclasses.replace(whole.request.probe, args=f'["{CANARY}"]', kwargs=f'{{"k": "{CANARY}"}}')
    environment = (("REGION", CANARY), ("SETTING", f"x-{CANARY}"))
    request = dataclasses.replace(whole.request, probe=probe, environment=environment, secrets=())
    given = f'--args \'["{CANARY}"]\' --kwargs \'{{"k": "{CANARY}"}}\' --env REGION={CANARY} --env SETTING=x-{CANARY}'
    assert whole.bad_symptom is not None
    return dataclasses.replace(
        whole,
        judged=tuple(judged),
        request=request,
        command=f"bisect-celery run v1 HEAD {given}",
        advice=(f"Ends swapped? `bisect-celery run HEAD v1 {given}`",),
        bad_symptom=dataclasses.replace(whole.bad_symptom, exception="ValueError", template=f"no {CANARY} found"),
        differences=(dataclasses.replace(whole.differences[0], theirs=url),),
        skipped=(dataclasses.replace(whole.skipped[0], reason=f"ImportError: {CANARY}"),),
    )


def test_private_things_that_nobody_named_secret_are_not_shown() -> None:
    text = outputs(planted())
    assert CANARY not in text
    for kept in ("--args …", "redis://***@cache:6379/0", "no … found", "SETTING=…"):
        assert kept in text


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_known_secret_in_any_string_of_a_session_is_not_shown(data: st.DataObject) -> None:
    text = st.sampled_from([CANARY, f"a {CANARY} b", f"x=`{CANARY}`|{CANARY}", f"amqp://u:{CANARY}@h/\n{CANARY}"])
    # what git, the tool and the clock give cannot hold a secret; all else can
    session: Session = data.draw(values(Session, {**PLAIN, str: text, Path: text.map(Path)}))
    request = dataclasses.replace(session.request, secrets=(CANARY,))
    shown = outputs(dataclasses.replace(session, id="s1", request=request))
    assert CANARY not in SHAS.sub("", shown)


SHAS = re.compile(r'"(?:sha|tree)": "(?:[^"\\]|\\.)*"')


def test_a_patch_keeps_what_only_looks_like_a_secret_and_says_when_it_was_changed() -> None:
    culprit = incident.culprit()
    guessed = culprit.patch + '+password = os.environ["X"]\n'
    whole = report(incident.session(culprit=dataclasses.replace(culprit, patch=guessed)))
    assert whole.patch == guessed
    assert whole.culprit is not None
    assert whole.culprit.caveats == ()
    known = culprit.patch + "+key = 'value-of-the-key'\n"
    whole = report(incident.session(culprit=dataclasses.replace(culprit, patch=known)))
    assert "value-of-the-key" not in whole.patch
    assert whole.culprit is not None
    assert "does not apply" in whole.culprit.caveats[0]


# --- hostile content ---------------------------------------------------------------------------------


def test_hostile_titles_paths_and_code_break_nothing() -> None:
    title = "Fix #12 | @jane </details> ``` <script>x</script> ![x](https://evil.example/y)"
    whole = incident.session()
    assert whole.culprit is not None
    atom = dataclasses.replace(
        incident.ATOM, path="a`b|c.py", lines=("-```", "-</details>", "+@jane #12", "+x\u202e\x1b[0m")
    )
    revision = dataclasses.replace(whole.culprit.revision, title=title, author="@jane <j@x>")
    judged = tuple(
        dataclasses.replace(
            one, trial=dataclasses.replace(one.trial, tree=dataclasses.replace(one.trial.tree, title=title))
        )
        for one in whole.judged
    )
    culprit = dataclasses.replace(whole.culprit, revision=revision, cause=(atom,), fix=(atom,))
    log = f"# bad: [x] {title}\n```\n</details>\n@jane"
    text = markdown(report(dataclasses.replace(whole, culprit=culprit, judged=judged, bisect_log=log, headline=title)))
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.S | re.M)
    assert not re.search(r"<script|!\[", outside)
    assert not re.search(r"@\w|#\d|https://", html.unescape(outside))
    assert outside.count("<details>") == outside.count("</details>") == 3
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {3, 5, 6, 7}
    assert "\x1b" not in text
    assert "\u202e" not in text


# --- its size ----------------------------------------------------------------------------------------


def huge(factor: int) -> Session:
    whole = incident.session()
    assert whole.culprit is not None
    long = "long | title @x #1 " * 40
    revision = dataclasses.replace(incident.BROKEN, title=long)
    atom = dataclasses.replace(incident.ATOM, lines=("+" + "x|`" * 300,) * factor)
    return dataclasses.replace(
        whole,
        headline=long,
        judged=whole.judged
        + tuple(incident.judged(n, incident.sha("a"), long, incident.BAD, title=long) for n in range(18, 18 + factor)),
        skipped=tuple(Skipped(revision, long, adjoins=n == factor - 1) for n in range(factor)),
        candidates=(revision,) * factor,
        bisect_log="\n".join([f"# bad {'`' * 9} {long}"] * factor),
        differences=whole.differences * factor,
        versions=((long, long),) * factor,
        not_tested=(long,) * factor,
        task_candidates=(long,) * factor,
        advice=(long,) * factor,
        culprit=dataclasses.replace(whole.culprit, cause=(atom,) * 9, fix=(atom, atom), caveats=(long,) * factor),
    )


@pytest.mark.parametrize("factor", [30, 600])
def test_it_always_fits_a_github_comment_and_says_what_is_missing(factor: int) -> None:
    text = markdown(report(huge(factor)))
    assert fit.size(text) <= fit.LIMIT == 65_536
    assert len(text.encode()) < 4 * 65_536
    assert f"of {factor} skipped revisions are shown; report.json has all of them." in text
    assert "right before the culprit" in text, "the doubtful one must not be cut"
    assert "### What to do" in text
    assert text.count("<details>") == text.count("</details>")


def test_what_is_needed_least_goes_first() -> None:
    many = incident.session(bisect_log="\n".join(f"git bisect good {n:040}" for n in range(3000)))
    text = markdown(report(many))
    assert "lines of git's log are shown" in text
    assert f"{2999:040}" in text, "the end of the log is what decided"
    assert "trials are shown" not in text
    assert "shown; report.json" not in markdown(report(incident.session()))


def test_trials_that_the_report_speaks_of_stay() -> None:
    more = tuple(incident.judged(n, incident.sha("a"), "a", incident.BAD) for n in range(18, 900))
    whole = report(incident.session(judged=incident.trials() + more))
    cut = fit.shortened(whole, fit.ROOMS[-3])
    numbers = [one.number for one in cut.trials]
    assert numbers == sorted(numbers)
    assert {1, 2, *range(6, 18)} <= set(numbers)
    assert 899 in numbers
    assert len(numbers) == fit.ROOMS[-3].trials


# --- files -------------------------------------------------------------------------------------------


def test_files_are_written_whole_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    names = [file.name for file in write(report(incident.session()), folder)]
    assert names == ["report.md", "report.json", "fix.patch"]
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)
    assert (folder / "fix.patch").read_text() == incident.PATCH
    VALIDATOR.validate(json.loads((folder / "report.json").read_text()))
    first = (folder / "report.md").stat().st_ino
    write(report(incident.session(headline="another")), folder)
    assert "another" in (folder / "report.md").read_text()
    assert (folder / "report.md").stat().st_ino != first
    assert stat.S_IMODE((folder / "report.md").stat().st_mode) == 0o600


def test_without_a_fix_there_is_no_patch(tmp_path: Path) -> None:
    names = [file.name for file in write(report(ended(Outcome.NO_CULPRIT)), tmp_path)]
    assert names == ["report.md", "report.json"]


def test_a_patch_of_any_bytes_is_written_as_git_gave_it(tmp_path: Path) -> None:
    raw = b"+name = 'caf\xe9'\r\n"
    culprit = dataclasses.replace(incident.culprit(), patch=raw.decode("utf-8", "surrogateescape"))
    write(report(incident.session(culprit=culprit)), tmp_path)
    assert (tmp_path / "fix.patch").read_bytes() == raw


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfraError, match="file") as caught:
        write(report(incident.session()), tmp_path / "file")
    assert "--output" in caught.value.hint


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_there_is_a_report_for_any_session(data: st.DataObject) -> None:
    session: Any = data.draw(values(Session))
    whole = report(session)
    assert fit.size(markdown(whole)) <= fit.LIMIT
    json.dumps(as_json(whole), allow_nan=False)
