"""The store on real SQLite files."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import stat
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from from_types import values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample import judged, session

from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import (
    Atom,
    AtomKind,
    Build,
    Companion,
    Culprit,
    Edit,
    Judged,
    Kind,
    Outcome,
    Revision,
    Session,
    Symptom,
    WorkerImage,
)  # fmt: skip
from bisect_celery.store import Store, withheld


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


def test_a_session_comes_back_with_its_trials_in_order(store: Store) -> None:
    kept = session(headline="so far")
    store.begin(kept)
    for number in (2, 1, 3):
        store.record("s1", judged(number))
    assert store.load("s1") == dataclasses.replace(kept, judged=tuple(map(judged, (1, 2, 3))))
    assert store.trials("s1") == tuple(map(judged, (1, 2, 3)))


def test_saving_replaces_everything_but_the_trials(store: Store) -> None:
    store.begin(session())
    store.record("s1", judged(1))
    done = session(outcome=Outcome.CONFIRMED, headline="found", finished_at="2026-01-02T03:14:05+00:00")
    store.save(done)
    assert store.load() == dataclasses.replace(done, judged=(judged(1),))


@given(values(Session), values(Judged))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_session_survives_another_process_reading_it(
    tmp_path_factory: pytest.TempPathFactory, any_session: Session, any_judged: Judged
) -> None:
    number = abs(any_judged.trial.number) % 1000
    any_judged = dataclasses.replace(any_judged, trial=dataclasses.replace(any_judged.trial, number=number))
    name = "some id"
    kept_back = {"environment": (), "secrets": (), "companions": (), "worker_files": (), "worker_image": None}
    request = dataclasses.replace(any_session.request, **kept_back)
    kept = dataclasses.replace(any_session, id=name, judged=(any_judged,), request=request)
    with Store.open(tmp_path_factory.mktemp("any") / "store.sqlite3") as store:
        store.begin(kept)
        store.close()
        assert store.load(name) == kept


def test_the_same_trial_may_be_judged_anew_but_facts_stay(store: Store) -> None:
    store.begin(session())
    store.record("s1", judged(1))
    anew = dataclasses.replace(judged(1).judgement, rule="another rule")
    store.record("s1", dataclasses.replace(judged(1), judgement=anew))
    assert store.trials("s1")[0].judgement.rule == "another rule"
    with pytest.raises(InfraError, match="another trial 1"):
        store.record("s1", judged(1, seconds=1.0))
    assert store.trials("s1")[0].trial == judged(1).trial


def test_facts_are_found_by_digest_and_tree_and_never_counted_twice(store: Store) -> None:
    store.begin(session("s1"))
    store.begin(session("s2"))
    store.record("s1", judged(1))
    store.record("s1", judged(2, tree="b" * 40))
    store.record("s1", judged(3, digest="other"))
    store.record("s2", judged(1, attempt=2))
    store.record("s2", judged(2, reused="s1"))
    found = store.find("d1", "a" * 40)
    assert [(trial.number, trial.attempt, trial.reused) for trial in found] == [(1, 1, "s1"), (1, 2, "s2")]
    assert found[0] == dataclasses.replace(judged(1).trial, reused="s1")
    assert store.find("d1", "c" * 40) == ()


def test_facts_of_another_schema_are_not_reused(store: Store, path: Path) -> None:
    store.begin(session())
    store.record("s1", judged(1))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE store_trialrow SET schema = 0")
    assert store.find("d1", "a" * 40) == ()
    assert store.trials("s1") == (judged(1),)


def test_the_latest_session_is_the_default_of_one_repository_or_of_all(store: Store) -> None:
    here, there = Path("/here"), Path("/there")
    for name, place in (("20260103-x", here), ("20260102-y", here), ("20260101-z", there)):
        store.begin(session(name, place))
    assert store.load().id == "20260101-z"
    assert store.load(repository=here).id == "20260102-y"
    assert store.load("20260103").id == "20260103-x"
    assert [one.id for one in store.sessions()] == ["20260101-z", "20260102-y", "20260103-x"]


def test_an_unknown_session_is_answered_with_the_last_ones(store: Store) -> None:
    with pytest.raises(UserError, match="No session is kept") as caught:
        store.load()
    assert "bisect-celery run" in caught.value.hint
    for number in range(7):
        store.begin(session(f"s{number}"))
    for name, problem in (("nope", "no session `nope`"), ("s", "Several sessions begin with `s`"), ("", "session")):
        with pytest.raises(UserError, match=problem) as caught:
            store.load(name)
        assert "s6 (v1..HEAD, open)" in caught.value.hint
        assert "s1" not in caught.value.hint
    with pytest.raises(UserError, match="/else"):
        store.load(repository=Path("/else"))
    for act in (store.trials, store.delete, lambda name: store.record(name, judged(1))):
        with pytest.raises(UserError):
            act("nope")
    with pytest.raises(UserError):
        store.save(session("nope"))
    with pytest.raises(InfraError):
        store.begin(session("s1"))


def test_summaries_and_what_could_go_on(store: Store) -> None:
    ends = (None, Outcome.INFRA, Outcome.INTERRUPTED, Outcome.CONFIRMED, Outcome.NO_CULPRIT)
    for number, outcome in enumerate(ends):
        store.begin(session(f"s{number}", outcome=outcome))
    store.begin(session("elsewhere", Path("/else")))
    store.record("s2", judged(1))
    store.record("s2", judged(2))
    mine = store.unfinished(Path("/home/me/project"))
    assert [(one.id, one.outcome, one.trials) for one in mine] == [
        ("s2", Outcome.INTERRUPTED, 2),
        ("s1", Outcome.INFRA, 0),
        ("s0", None, 0),
    ]
    assert mine[0].repository == Path("/home/me/project")


def test_deleting_takes_the_trials_and_gives_the_room_back(store: Store, path: Path) -> None:
    store.begin(session())
    store.begin(session("kept"))
    for number in range(50):
        store.record("s1", judged(number, purpose="x" * 20_000))
    store.record("kept", judged(1))
    assert path.stat().st_size + path.with_name("store.sqlite3-wal").stat().st_size > 1_000_000
    store.delete("s1")
    assert path.stat().st_size < 100_000
    assert path.with_name("store.sqlite3-wal").stat().st_size == 0
    assert [one.id for one in store.sessions()] == ["kept"]
    assert store.find("d1", "a" * 40)[0].reused == "kept"


def test_notes_are_kept_replaced_and_few(store: Store) -> None:
    assert store.baseline_get("ends") is None
    store.baseline_put("ends", {"good": [1, None], "bad": "x"})
    store.baseline_put("other", None)
    assert store.baseline_get("ends") == {"good": [1, None], "bad": "x"}
    store.baseline_put("ends", 2)
    assert store.baseline_get("ends") == 2
    for number in range(200):
        store.baseline_put(f"n{number}", number)
    assert store.baseline_get("ends") is None
    assert store.baseline_get("n1") == 1


# --- privacy -----------------------------------------------------------------------------------------

CANARY = "c4n4ry-h7Qz"
HANDED = ("/run/secrets/db", f"{CANARY} in a file".encode())


def private_session() -> Session:
    request = dataclasses.replace(
        session().request,
        environment=(("MODE", "quiet"), ("SECRET_KEY", CANARY), ("EMPTY", ""), ("NOTE", "two words; $x")),
        secrets=(CANARY, "abc"),
        worker_image=WorkerImage(build=Build(args=(("CHANNEL", "a quiet one"), ("TOKEN", CANARY)))),
        companions=(
            Companion("db", "postgres", "postgres", environment=(("HINT", "two words; $x"),), files=(HANDED,)),
        ),
        worker_files=(HANDED,),
    )
    command = "bisect-celery run v1 --build-arg 'CHANNEL=a quiet one' --env MODE=quiet "
    command += f"--env 'SECRET_KEY={CANARY}' --env 'NOTE=two words; $x'"
    return session(request=request, command=command, headline=f"https://u:{CANARY}@host is abc", judged=(judged(1),))


def test_no_environment_value_and_no_secret_lies_in_the_files(store: Store, path: Path) -> None:
    store.begin(private_session())
    store.save(private_session())
    files = list(path.parent.iterdir())
    assert len(files) >= 3
    for file in files:
        content = file.read_bytes()
        for private in (CANARY, "two words; $x", "MODE=quiet", "a quiet one", b64encode(HANDED[1]).decode()):
            assert private.encode() not in content, file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_learnt_during_a_session_is_kept_out_of_it_as_well(store: Store) -> None:
    store.redact = lambda text: text.replace("learnt", "***")
    store.begin(private_session())
    symptom = Symptom(Kind.TASK_FAILED, "ValueError", "no learnt here")
    store.save(dataclasses.replace(private_session(), bad_symptom=symptom))
    loaded = store.load()
    assert loaded.bad_symptom == dataclasses.replace(symptom, template="no *** here")
    assert all(withheld(value) for _, value in loaded.request.environment)


@given(secret=st.text("abcdef01WnN=/", min_size=4, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_secret_makes_a_session_unreadable(store: Store, secret: str) -> None:
    """Not even one that is by chance in a word of ours, in an object's name, or in bytes as they are written."""
    raw = b64decode(secret.replace("=", "A")[:4])
    atom = Atom(1, AtomKind.HUNK, "x", "", (), Edit(0, (raw,), ()))
    revision = Revision("abcdef01" * 5, "abcdef01" * 5, f"x {secret}", "", "", ())
    request = dataclasses.replace(session().request, secrets=(secret, "confirmed", "hunk", "same"))
    changes = {"request": request, "outcome": Outcome.CONFIRMED, "culprit": Culprit(revision, (atom,))}
    with contextlib.suppress(InfraError):
        store.begin(session())
    store.save(session(**changes))
    loaded = store.load("s1")
    assert loaded.culprit is not None
    assert loaded.culprit.cause == (atom,)
    assert loaded.culprit.revision == dataclasses.replace(revision, title="x ***")
    assert (loaded.outcome, loaded.request.match) == (Outcome.CONFIRMED, request.match)


def test_names_come_back_with_marked_values_that_no_program_accepts(store: Store) -> None:
    store.begin(private_session())
    request = store.load().request
    assert [name for name, _ in request.environment] == ["MODE", "SECRET_KEY", "EMPTY", "NOTE"]
    assert all(withheld(value) for _, value in request.environment)
    assert request.secrets == ()
    assert request.worker_files == request.companions[0].files == ((HANDED[0], b""),)
    assert all(withheld(value) for _, value in request.companions[0].environment)
    assert store.load().headline == "https://u:***@host is abc"
    with pytest.raises(ValueError, match="null byte"):
        subprocess.run([sys.executable, "-c", ""], env=dict(request.environment), check=False)


def test_private_texts_are_hashed_once_and_by_each_store_with_its_own_key(store: Store, tmp_path: Path) -> None:
    store.begin(private_session())
    stored = store.load().request
    store.save(store.load())
    assert store.load().request == stored, "saving what was loaded must not hash the hashes"
    with Store.open(tmp_path / "other.sqlite3") as second:
        assert second.fingerprint("x") == second.fingerprint("x") != store.fingerprint("x")
    with Store.open(store.path) as again:
        assert again.fingerprint("x") == store.fingerprint("x")


# --- the file ----------------------------------------------------------------------------------------


def test_it_is_durable_by_its_settings(store: Store, path: Path) -> None:
    from django.db import connections

    with connections[store._alias].cursor() as cursor:
        for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            cursor.execute(f"PRAGMA {pragma}")
            assert cursor.fetchone()[0] == wanted


def test_migrations_say_what_the_models_say(store: Store) -> None:
    from django.core.management import call_command

    call_command("makemigrations", "store", check=True, dry_run=True, verbosity=0)


def test_a_store_left_open_to_others_is_closed(path: Path) -> None:
    Store.open(path).close()
    path.chmod(0o644)
    Store.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_newer_store_is_left_alone(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('store', '0999_later', '2030-01-01')")
    before = path.read_bytes()
    with pytest.raises(UserError, match="newer") as caught:
        Store.open(path)
    assert "XDG_STATE_HOME" in caught.value.hint
    assert path.read_bytes() == before


def test_a_database_of_somebody_else_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE django_migrations (app, name, applied)")
    with pytest.raises(InfraError, match="not a store of ours"):
        Store.open(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_damaged_store_says_how_to_go_on(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(InfraError, match="damaged") as caught:
        Store.open(path)
    assert f"mv {path}" in caught.value.hint


def test_damage_deep_inside_is_found_when_read(path: Path) -> None:
    with Store.open(path) as store:
        store.begin(session())
        for number in range(40):
            store.record("s1", judged(number, purpose="x" * 20_000))
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * (path.stat().st_size - 16_384))
    with pytest.raises(InfraError, match="damaged"), Store.open(path) as store:
        store.trials("s1")


def test_facts_that_cannot_be_read_are_ours_to_answer_for(store: Store, path: Path) -> None:
    store.begin(session())
    store.record("s1", judged(1))
    with sqlite3.connect(path) as raw:
        raw.execute("""UPDATE store_trialrow SET trial = '{"number": "one"}'""")
    with pytest.raises(InfraError, match=r"Trial\.number") as caught:
        store.load("s1")
    assert "bisect-celery clean --sessions" in caught.value.hint
    assert store.find("d1", "a" * 40) == ()


def test_a_locked_store_is_waited_for_and_then_named(path: Path) -> None:
    with Store.open(path, wait=0.2) as store:
        store.begin(session())
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert store.load("s1").id == "s1", "a writer does not keep readers out"
        with pytest.raises(InfraError, match="locked"):
            store.record("s1", judged(1))
        holder.execute("COMMIT")
        holder.close()
        store.record("s1", judged(1))


def test_a_full_disk_loses_nothing_that_was_there(store: Store) -> None:
    from django.db import connections

    store.begin(session())
    store.record("s1", judged(1))
    with connections[store._alias].cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
    with pytest.raises(InfraError, match="full") as caught:
        store.record("s1", judged(2, purpose="x" * 200_000))
    assert "clean" in caught.value.hint
    assert store.trials("s1") == (judged(1),)


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "store.sqlite3"):
        with pytest.raises(InfraError, match=str(path)) as caught:
            Store.open(path)
        assert "XDG_STATE_HOME" in caught.value.hint or path.is_dir()


def test_importing_it_does_not_import_django_and_no_settings_module_is_read(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
import bisect_celery.store
assert not any(name == "django" or name.startswith("django.") for name in sys.modules)
store = bisect_celery.store.Store.open(Path({str(tmp_path)!r}) / "x.sqlite3")
assert store.sessions() == ()
assert "evil_settings" not in sys.modules
"""
    (tmp_path / "evil_settings.py").write_text("raise SystemExit('read')")
    env = {"DJANGO_SETTINGS_MODULE": "evil_settings", "PYTHONPATH": f"{Path.cwd()}:{tmp_path}"}
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=60)


def test_names_of_any_bytes_are_kept(store: Store) -> None:
    odd = b"caf\xe9 \x01".decode("utf-8", "surrogateescape")
    store.begin(session(repository=Path(odd), headline=odd))
    store.record("s1", judged(1, tree="a" * 40, purpose=odd))
    loaded = store.load(repository=Path(odd))
    assert (loaded.headline, loaded.judged[0].trial.purpose) == (odd, odd)
