"""`git bisect run` in our repository, answered by this test: what is found, aborted, refused, left behind."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_repository import Made, fingerprint

from bisect_celery import proc
from bisect_celery.errors import Cancelled, InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Revision, Verdict
from bisect_celery.repo import bisect as bisect_module
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository

Private = Callable[..., PrivateRepository]
Judging = Callable[[PrivateRepository, int], Callable[[Revision], Verdict]]


def by_sha(bad: set[str], skip: set[str] = frozenset()) -> Callable[[Revision], Verdict]:  # type: ignore[assignment]
    def answer(revision: Revision) -> Verdict:
        if revision.sha in skip:
            return Verdict.SKIP
        return Verdict.BAD if revision.sha in bad else Verdict.GOOD

    return answer


def state_files(ours: PrivateRepository) -> list[str]:
    return [path.name for path in ours.path.iterdir() if path.name.startswith("BISECT_")]


def assert_clean(ours: PrivateRepository) -> None:
    assert state_files(ours) == []
    listed = subprocess.run(
        ["git", "--git-dir", str(ours.path), "for-each-ref", "refs/bisect/"], capture_output=True, check=True
    )
    assert listed.stdout == b""
    assert list((ours.path / "tmp").iterdir()) == []


# --- what is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first_bad", [2, 3, 7, 12])
def test_a_line_of_commits(made: Made, private: Private, judge_number: Judging, first_bad: int) -> None:
    shas = made.numbers(12)
    ours = private(made)
    before = fingerprint(made.path)
    steps: list[tuple[int, int]] = []
    found = ours.bisect(
        ours.resolve(shas[0]), ours.resolve("HEAD"), answer=judge_number(ours, first_bad), cancel=Token(),
        on_step=lambda left, trials: steps.append((left, trials)),
    )  # fmt: skip
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[first_bad - 1]
    assert (found.candidates, found.skipped, found.merge_base_bad, found.outside_paths) == ((), (), False, False)
    assert len(found.tested) == len(steps) in (3, 4)
    assert steps[0] == (11, 4)
    assert [left for left, _ in steps] == sorted((left for left, _ in steps), reverse=True)
    assert "git bisect start" in found.log
    assert shas[first_bad - 1] in found.log
    assert fingerprint(made.path) == before
    assert_clean(ours)


def test_two_neighbours_need_no_question(made: Made, private: Private) -> None:
    shas = made.numbers(2)
    ours = private(made)

    def never(revision: Revision) -> Verdict:
        raise AssertionError("nothing is to be asked")

    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[1]), answer=never, cancel=Token())
    assert found.first_bad is not None
    assert (found.first_bad.sha, found.tested) == (shas[1], ())


def test_a_merge_is_descended_into(made: Made, private: Private) -> None:
    base = made.numbers(2)[-1]
    made.git("checkout", "-q", "-b", "side")
    side = [made.commit({f"s{n}": "x"}, f"side {n}") for n in range(4)]
    made.git("checkout", "-q", "main")
    made.commit({"m": "x"}, "on main")
    merge = made.merge("side")
    last = made.commit({"after": "x"}, "after")
    ours = private(made)
    bad = {*side[2:], merge, last}
    found = ours.bisect(ours.resolve(base), ours.resolve("main"), answer=by_sha(bad), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == side[2]
    # Along the first parents only, it came with the merge.
    found = ours.bisect(ours.resolve(base), ours.resolve("main"), answer=by_sha(bad), cancel=Token(), first_parent=True)
    assert found.first_bad is not None
    assert found.first_bad.sha == merge
    assert not {sha for sha, _ in found.tested} & set(side)


def test_skipped_ones_on_the_way(made: Made, private: Private) -> None:
    shas = made.numbers(12)
    ours = private(made)
    answer = by_sha(set(shas[8:]), skip={shas[3], shas[5], shas[6]})
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[11]), answer=answer, cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[8]
    assert {one.sha for one in found.skipped} == {sha for sha, verdict in found.tested if verdict is Verdict.SKIP}


def test_skipped_ones_beside_the_culprit_leave_candidates(made: Made, private: Private) -> None:
    shas = made.numbers(10)
    ours = private(made)
    answer = by_sha(set(shas[5:]), skip={shas[4], shas[5]})
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[9]), answer=answer, cancel=Token())
    assert found.first_bad is None
    assert [one.sha for one in found.candidates] == shas[4:7]
    assert {one.sha for one in found.skipped} >= {shas[4], shas[5]}


def test_all_skipped(made: Made, private: Private) -> None:
    shas = made.numbers(6)
    ours = private(made)
    answer = by_sha(set(), skip=set(shas))
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[5]), answer=answer, cancel=Token())
    assert found.first_bad is None
    assert [one.sha for one in found.candidates] == shas[1:]
    assert [one.sha for one in found.skipped] != []
    assert_clean(ours)


@pytest.fixture
def released(made: Made) -> dict[str, list[str]]:
    """main: m0 to m5; a release branch of two commits from m2."""
    main = [made.commit({"m": str(n)}, f"main {n}") for n in range(3)]
    made.git("checkout", "-q", "-b", "release")
    release = [made.commit({"r": str(n)}, f"release {n}") for n in range(2)]
    made.git("checkout", "-q", "main")
    main += [made.commit({"m": str(n)}, f"main {n}") for n in range(3, 6)]
    return {"main": main, "release": release}


def test_good_on_a_release_branch(made: Made, private: Private, released: dict[str, list[str]]) -> None:
    main = released["main"]
    ours = private(made)
    ends = ours.check_ends(ours.resolve("release"), ours.resolve("main"))
    assert (ends.kind, ends.count) == ("diverged", 3)
    assert ends.merge_base is not None
    assert ends.merge_base.sha == main[2]
    found = ours.bisect(ours.resolve("release"), ours.resolve("main"), answer=by_sha(set(main[4:])), cancel=Token())
    assert found.tested[0] == (main[2], Verdict.GOOD)
    assert found.first_bad is not None
    assert found.first_bad.sha == main[4]


def test_a_bug_that_was_fixed_on_goods_side(made: Made, private: Private, released: dict[str, list[str]]) -> None:
    ours = private(made)
    found = ours.bisect(
        ours.resolve("release"), ours.resolve("main"), answer=by_sha(set(released["main"])), cancel=Token()
    )
    assert found.merge_base_bad
    assert found.first_bad is None
    assert found.tested == ((released["main"][2], Verdict.BAD),)
    assert_clean(ours)


def test_a_merge_base_that_cannot_be_tried(made: Made, private: Private, released: dict[str, list[str]]) -> None:
    main = released["main"]
    ours = private(made)
    answer = by_sha(set(main[4:]), skip={main[2]})
    found = ours.bisect(ours.resolve("release"), ours.resolve("main"), answer=answer, cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == main[4]
    assert [one.sha for one in found.skipped] == [main[2]]


def test_one_commit_beside_a_release_branch_still_tries_the_merge_base(
    made: Made, private: Private, released: dict[str, list[str]]
) -> None:
    main = released["main"]
    ours = private(made)
    for bad, is_fixed in ((set(main[3:]), False), (set(main), True)):
        found = ours.bisect(ours.resolve("release"), ours.resolve(main[3]), answer=by_sha(bad), cancel=Token())
        assert found.merge_base_bad is is_fixed
        assert [sha for sha, _ in found.tested] == [main[2]]
        assert (found.first_bad.sha if found.first_bad else None) == (None if is_fixed else main[3])


def test_pathspecs_limit_the_search(made: Made, private: Private) -> None:
    shas = []
    for number in range(10):
        shas.append(made.commit({("app/a.py" if number % 3 == 0 else "docs/d"): str(number)}, str(number)))
    ours = private(made)
    good, bad = ours.resolve(shas[0]), ours.resolve(shas[9])
    assert ours.check_ends(good, bad, ["app"]).count == 3
    found = ours.bisect(good, bad, answer=by_sha(set(shas[6:])), cancel=Token(), paths=["app"])
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[6]
    assert {sha for sha, _ in found.tested} <= {shas[3], shas[6], shas[9]}


def test_a_bug_that_came_outside_the_pathspecs(made: Made, private: Private) -> None:
    """Everything in the paths is good, BAD is bad: no commit of the paths may be blamed."""
    shas = []
    for number in range(8):
        shas.append(made.commit({("app/a.py" if number in (2, 4) else "docs/d"): str(number)}, str(number)))
    ours = private(made)
    found = ours.bisect(
        ours.resolve(shas[0]), ours.resolve(shas[7]), answer=by_sha(set(shas[6:])), cancel=Token(), paths=["app"]
    )
    assert found.first_bad is None
    assert found.outside_paths
    assert [one.sha for one in found.candidates] == shas[5:]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_any_history(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Random histories with merges and skips: the culprit is named, or is among the candidates.

    A commit is bad when the culprit is among its ancestors: decided here by walking parents, not by git.
    """
    count = data.draw(st.integers(3, 16), label="commits")
    parents: list[tuple[int, ...]] = [()]
    for number in range(1, count):
        near = st.integers(max(0, number - 5), number - 1)
        parents.append(tuple(sorted(data.draw(st.sets(near, min_size=1, max_size=3)), reverse=True)))
    above: list[set[int]] = []
    for number, own in enumerate(parents):
        above.append({number}.union(*(above[parent] for parent in own)))
    culprit = data.draw(st.integers(1, count - 1), label="culprit")
    good = data.draw(st.sampled_from([n for n in range(count) if culprit not in above[n]]), label="good")
    bad = data.draw(st.sampled_from([n for n in range(count) if culprit in above[n]]), label="bad")
    skip = data.draw(st.sets(st.sampled_from([n for n in range(count) if n not in (good, bad)] or [-1])), label="skip")
    made = Made(tmp_path_factory.mktemp("dag") / "user")
    shas = import_history(made, parents)
    ours = PrivateRepository.create(made.path.parent / "ours", open_repository(made.path))
    answer = by_sha({shas[n] for n in range(count) if culprit in above[n]}, {shas[n] for n in skip if n >= 0})
    good_end, bad_end = ours.resolve(shas[good]), ours.resolve(shas[bad])
    ends = ours.check_ends(good_end, bad_end)
    assert ends.kind == ("ancestor" if good in above[bad] else "diverged")
    assert ends.count == len(above[bad] - above[good])
    found = ours.bisect(good_end, bad_end, answer=answer, cancel=Token())
    assert not found.merge_base_bad
    if found.first_bad is not None:
        assert found.first_bad.sha == shas[culprit]
    else:
        assert shas[culprit] in {one.sha for one in found.candidates}
        assert {one.sha for one in found.candidates} - {one.sha for one in found.skipped}
    if not skip - {-1}:
        assert found.first_bad is not None


def import_history(made: Made, parents: list[tuple[int, ...]]) -> list[str]:
    """Commits made at once by `git fast-import`, commit `n` with the file `n`."""
    stream = bytearray()
    for number, own in enumerate(parents):
        stream += b"commit refs/heads/h%d\nmark :%d\n" % (number, number + 1)
        stream += b"committer A <a@example.org> %d +0000\ndata 1\n%d\n" % (1_700_000_000 + number, number % 10)
        for index, parent in enumerate(own):
            stream += b"%s :%d\n" % (b"merge" if index else b"from", parent + 1)
        stream += b"M 100644 inline n\ndata %d\n%d\n\n" % (len(str(number)), number)
    made.git("fast-import", "--quiet", input=bytes(stream))
    return [made.git("rev-parse", f"h{number}") for number in range(len(parents))]


# --- what git would ask next -------------------------------------------------------------------------


def test_what_git_would_ask_next_is_what_it_asks(made: Made, private: Private) -> None:
    shas = made.numbers(14)
    ours = private(made)
    good, bad = ours.resolve(shas[0]), ours.resolve(shas[13])
    judged = by_sha(set(shas[9:]), skip={shas[7], shas[6], shas[3]})
    told: list[tuple[str, Verdict]] = []
    foretold: list[str | None] = []

    def answer(revision: Revision) -> Verdict:
        """Also asked while the bisection runs: that must not disturb it."""
        predicted = ours.next_question(good, bad, told)
        foretold.append(predicted.sha if predicted else None)
        told.append((revision.sha, judged(revision)))
        return told[-1][1]

    found = ours.bisect(good, bad, answer=answer, cancel=Token())
    assert foretold == [sha for sha, _ in found.tested]
    assert ours.next_question(good, bad, told) is None
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[9]


# --- aborted, killed, broken -------------------------------------------------------------------------


class Trouble(Exception):
    pass


@pytest.mark.parametrize("kind", [Trouble, KeyboardInterrupt, Cancelled])
def test_an_exception_of_the_answer_aborts_and_goes_on_unchanged(
    made: Made, private: Private, judge_number: Judging, kind: type[BaseException]
) -> None:
    shas = made.numbers(9)
    ours = private(made)
    good, bad = ours.resolve(shas[0]), ours.resolve(shas[8])
    before = fingerprint(made.path)
    trouble = kind()
    count = itertools.count()

    def answer(revision: Revision) -> Verdict:
        if next(count) == 1:
            raise trouble
        return Verdict.GOOD

    with pytest.raises(kind) as caught:
        ours.bisect(good, bad, answer=answer, cancel=Token())
    assert caught.value is trouble
    assert_clean(ours)
    assert fingerprint(made.path) == before
    found = ours.bisect(good, bad, answer=judge_number(ours, 5), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[4]


def test_a_cancelled_session(made: Made, private: Private) -> None:
    shas = made.numbers(9)
    ours = private(made)
    token = Token()

    def answer(revision: Revision) -> Verdict:
        token.set()
        return Verdict.GOOD

    with pytest.raises(Cancelled):
        ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[8]), answer=answer, cancel=token)
    assert_clean(ours)


def test_cancelled_at_any_moment(made: Made, private: Private, judge_number: Judging) -> None:
    """Git may be killed while it writes its refs: its locks must not stop the cleaning up or the next search."""
    shas = made.numbers(12)
    ours = private(made)
    good, bad, judge = ours.resolve(shas[0]), ours.resolve(shas[11]), judge_number(ours, 7)
    dice = random.Random(11)
    cancelled = 0
    for _ in range(15):
        token = Token()
        timer = threading.Timer(dice.random() * 0.8, token.set)
        timer.start()
        try:
            ours.bisect(good, bad, answer=judge, cancel=token)
        except Cancelled:
            cancelled += 1
        finally:
            timer.cancel()
        assert_clean(ours)
    assert cancelled
    (ours.path / "packed-refs.lock").touch()
    (ours.path / "refs/bisect").mkdir(exist_ok=True)
    (ours.path / "refs/bisect/bad.lock").touch()
    found = ours.bisect(good, bad, answer=judge, cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[6]


@pytest.mark.parametrize("value", [2, 127, -1, None, "bad"])
def test_an_answer_that_is_no_verdict_is_none(made: Made, private: Private, value: object) -> None:
    shas = made.numbers(5)
    ours = private(made)
    with pytest.raises(ValueError, match="Verdict"):
        ours.bisect(
            ours.resolve(shas[0]),
            ours.resolve(shas[4]),
            answer=lambda revision: value,
            cancel=Token(),  # type: ignore
        )
    assert_clean(ours)


@pytest.mark.parametrize("interpreter", ["/nonexistent/python", "false", "true"])
def test_a_predicate_that_cannot_start_is_no_verdict(
    made: Made, private: Private, judge_number: Judging, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    """The shell says 127 or 1, which git reads as bad, or 0, which is good: none of it was our answer."""
    shas = made.numbers(9)
    ours = private(made)
    monkeypatch.setattr(sys, "executable", interpreter)
    with pytest.raises(InfraError):
        ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[8]), answer=judge_number(ours, 3), cancel=Token())
    assert_clean(ours)


def test_a_predicate_that_breaks_half_way_is_no_verdict(
    made: Made, private: Private, judge_number: Judging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shas = made.numbers(12)
    ours = private(made)
    copy = tmp_path / "predicate.py"
    shutil.copy(bisect_module.PREDICATE, copy)
    monkeypatch.setattr(bisect_module, "PREDICATE", copy)
    judge = judge_number(ours, 8)

    def answer(revision: Revision) -> Verdict:
        copy.write_text("this is not Python\n")  # the next start of it exits with 1
        return judge(revision)

    with pytest.raises(InfraError, match="verdicts"):
        ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[11]), answer=answer, cancel=Token())


def test_a_killed_predicate_is_no_verdict(made: Made, private: Private, judge_number: Judging) -> None:
    shas = made.numbers(9)
    ours = private(made)

    def answer(revision: Revision) -> Verdict:
        for pid in pids_of(str(bisect_module.PREDICATE), str(ours.path)):
            os.kill(pid, signal.SIGKILL)
        return Verdict.BAD

    with pytest.raises(InfraError):
        ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[8]), answer=answer, cancel=Token())
    assert_clean(ours)


def pids_of(*words: str) -> list[int]:
    """Predicates (not the git and the shell that started them) whose command line holds all these words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if line.split("\0")[1:3] == ["-I", "-S"] and all(word in line for word in words):
            found.append(int(entry.name))
    return found


KILLED = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from bisect_celery.lab.cancel import Token
    from bisect_celery.model import Verdict
    from bisect_celery.repo.private import PrivateRepository
    from bisect_celery.repo.user import open_repository

    private = PrivateRepository.create(Path(sys.argv[2]), open_repository(Path(sys.argv[1])))
    stop_at = int(sys.argv[3])
    asked = 0
    def answer(revision):
        global asked
        asked += 1
        if asked == stop_at:
            print("asked", flush=True)
            time.sleep(600)
        return Verdict.GOOD
    private.working_tree()
    private.bisect(private.resolve(sys.argv[4]), private.resolve("HEAD"), answer=answer, cancel=Token())
""")


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_killed_session_leaves_nothing_of_ours_with_the_user_and_the_next_one_starts_clean(
    made: Made, private: Private, judge_number: Judging, tmp_path: Path, stop_at: int
) -> None:
    shas = made.numbers(12)
    made.write({"untracked": "x", "n": "13\n"})
    before = fingerprint(made.path)
    words = [sys.executable, "-c", KILLED, str(made.path), str(tmp_path / "private"), str(stop_at), shas[0]]
    session = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert session.stdout is not None
    assert session.stdout.readline() == b"asked\n"
    os.kill(session.pid, signal.SIGKILL)
    session.wait(20)
    session.stdout.close()
    end = time.monotonic() + 20
    while pids_of(str(bisect_module.PREDICATE), str(tmp_path)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not pids_of(str(bisect_module.PREDICATE), str(tmp_path)), "the predicate ends with its session"
    assert fingerprint(made.path) == before
    ours = private(made)
    assert state_files(ours), "the killed bisection left its state in our repository"
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve("HEAD"), answer=judge_number(ours, 10), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[9]
    assert state_files(ours) == []
    assert fingerprint(made.path) == before


def test_two_bisections_at_once_are_refused(made: Made, private: Private, judge_number: Judging) -> None:
    shas = made.numbers(6)
    ours, twin = private(made), private(made)
    judge = judge_number(ours, 3)

    def answer(revision: Revision) -> Verdict:
        with pytest.raises(InfraError, match="Another bisection"):
            twin.bisect(twin.resolve(shas[0]), twin.resolve(shas[5]), answer=judge, cancel=Token())
        return judge(revision)

    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[5]), answer=answer, cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[2]


def test_a_long_path_still_gets_its_socket(
    made: Made, private: Private, judge_number: Judging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shas = made.numbers(6)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    ours = private(made, "p" * 100)
    folders: list[Path] = []
    judge = judge_number(ours, 3)

    def answer(revision: Revision) -> Verdict:
        folders.append(Path((ours.path / "tmp" / "socket-folder").read_text()))
        assert folders[-1].stat().st_mode & 0o777 == 0o700
        return judge(revision)

    found = ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[5]), answer=answer, cancel=Token())
    assert found.first_bad is not None
    assert folders
    assert not folders[0].exists()


def test_what_a_killed_session_left_in_the_short_folder_is_removed(made: Made, private: Private) -> None:
    ours = private(made)
    left = Path(tempfile.mkdtemp(prefix="bc-"))
    (left / "a").write_text("")
    (ours.path / "tmp" / "socket-folder").write_text(str(left))
    precious = Path(tempfile.mkdtemp(prefix="precious-"))
    ours.close()
    assert not left.exists()
    again = private(made)
    (again.path / "tmp" / "socket-folder").write_text(str(precious))
    again.close()
    assert precious.exists()
    precious.rmdir()


# --- the user's own settings and bisections ----------------------------------------------------------


def test_the_users_own_bisection_is_left_alone(made: Made, private: Private, judge_number: Judging) -> None:
    shas = made.numbers(10)
    made.git("bisect", "start", "--term-old=fast", "--term-new=slow", shas[9], shas[0])
    asked = made.head()
    before = fingerprint(made.path)
    ours = private(made)
    found = ours.bisect(ours.resolve(shas[1]), ours.resolve(shas[9]), answer=judge_number(ours, 6), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[5]
    assert fingerprint(made.path) == before
    assert made.head() == asked
    made.git("bisect", "fast")
    made.git("bisect", "reset")


def test_from_inside_somebodys_git_bisect_run(made: Made, tmp_path: Path) -> None:
    """`git bisect run bisect-celery try`: git exports GIT_DIR; names are still found and nothing is disturbed."""
    shas = made.numbers(8)
    script = tmp_path / "judge.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from bisect_celery.repo.private import PrivateRepository
        from bisect_celery.repo.user import open_repository
        user = open_repository(Path.cwd())
        assert user.root == Path(sys.argv[1]), user
        private = PrivateRepository.create(Path(sys.argv[2]), user)
        head = private.resolve(sys.argv[3])
        private.working_tree()
        sys.exit(int(private.read(head.tree, "n")) >= 6)
    """)
    )
    command = ["bisect", "run", sys.executable, str(script), str(made.path), str(tmp_path / "ours")]
    made.git("bisect", "start", shas[7], shas[0])
    made.git(*command, "HEAD")
    assert made.git("rev-parse", "refs/bisect/bad") == shas[5]
    made.git("bisect", "reset")
    made.git("bisect", "start", "--no-checkout", shas[7], shas[0])
    made.git(*command, "BISECT_HEAD")
    assert made.git("rev-parse", "refs/bisect/bad") == shas[5]


HOSTILE = {
    "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "color.ui": "always", "diff.external": "false",
    "apply.whitespace": "fix", "core.pager": "false", "pager.log": "false", "log.showSignature": "true",
    "core.hooksPath": "{hooks}", "core.fsmonitor": "{hooks}/run", "format.pretty": "oneline", "core.quotePath": "false",
    "alias.bisect": "!false", "diff.context": "9", "diff.interHunkContext": "9", "diff.renames": "copies",
    "diff.algorithm": "patience", "i18n.logOutputEncoding": "latin-1", "core.abbrev": "4", "gc.auto": "1",
    "log.decorate": "full", "diff.submodule": "log", "rerere.enabled": "true", "core.untrackedCache": "true",
    "trace2.eventTarget": "2", "diff.ignoreSubmodules": "all", "status.showUntrackedFiles": "no",
    "bisect.terms": "x", "init.templateDir": "{hooks}", "init.defaultBranch": "strange", "column.ui": "always",
    "diff.wsErrorHighlight": "all", "diff.colorMoved": "zebra", "core.safecrlf": "true", "feature.manyFiles": "true",
}  # fmt: skip


def make_hostile(made: Made, scope: str) -> None:
    hooks = made.path.parent / "hooks"
    hooks.mkdir()
    for name in (
        "run",
        "post-index-change",
        "reference-transaction",
        "post-checkout",
        "pre-commit",
        "fsmonitor-watchman",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {made.path.parent}/ran-{name}\nexit 1\n")
        (hooks / name).chmod(0o755)
    for name, value in HOSTILE.items():
        made.git("config", scope, name, value.replace("{hooks}", str(hooks)))


@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_hostile_settings_change_nothing(
    made: Made, private: Private, judge_number: Judging, scope: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    shas = made.numbers(8)
    expected = made.tree()
    make_hostile(made, scope)
    before = fingerprint(made.path)
    ours = private(made)
    assert ours.working_tree().sha == expected
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve("HEAD"), answer=judge_number(ours, 4), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[3]
    (atom,) = ours.atoms(ours.revision(shas[2]), found.first_bad)
    assert (atom.lines, atom.header) == (("-3", "+4"), "@@ -1,1 +1,1 @@")
    patch = ours.reverse_patch(found.first_bad, ours.revision(shas[2]).tree)
    assert ours.try_patch(found.first_bad, patch) == ours.revision(shas[2]).tree
    assert ours.layout(expected, tmp_path / "laid") == ()
    assert fingerprint(made.path) == before
    assert not list(tmp_path.glob("ran-*")), "no hook ran"


def test_other_hash_and_strange_places(make: Callable[..., Made], private: Private, judge_number: Judging) -> None:
    made = make('a "b" \\c\n#d é', "--object-format=sha256")
    shas = made.numbers(5)
    ours = private(made, "ours\n too")
    assert len(shas[0]) == 64
    found = ours.bisect(ours.resolve(shas[0]), ours.resolve("HEAD"), answer=judge_number(ours, 3), cancel=Token())
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[2]
    assert ours.compose(found.first_bad.tree, ()) == found.first_bad.tree
    assert len(ours.atoms(None, ours.revision(shas[0]))) == 1
    assert len(ours.atoms(ours.revision(shas[0]), ours.revision(shas[1]))) == 1


def test_processes_are_gone_after_an_abort(made: Made, private: Private) -> None:
    shas = made.numbers(9)
    ours = private(made)
    seen: list[int] = []

    def answer(revision: Revision) -> Verdict:
        seen.extend(pids_of(str(bisect_module.PREDICATE), str(ours.path)))
        raise Trouble

    with pytest.raises(Trouble):
        ours.bisect(ours.resolve(shas[0]), ours.resolve(shas[8]), answer=answer, cancel=Token())
    assert len(seen) == 1
    assert all(proc.start_time(pid) is None for pid in seen)


def test_many_searches_of_one_repository(made: Made, private: Private, judge_number: Judging) -> None:
    shas = made.numbers(16)
    ours = private(made)
    dice = random.Random(7)
    for _ in range(3):
        first_bad = dice.randint(2, 16)
        found = ours.bisect(
            ours.resolve(shas[0]), ours.resolve(shas[15]), answer=judge_number(ours, first_bad), cancel=Token()
        )
        assert found.first_bad is not None
        assert found.first_bad.sha == shas[first_bad - 1]
