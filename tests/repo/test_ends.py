"""Which ends are refused, in one sentence and with the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_repository import Made

from bisect_celery.errors import EndsError, InfraError, UserError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Verdict
from bisect_celery.repo.private import PrivateRepository
from bisect_celery.repo.user import open_repository

Private = Callable[..., PrivateRepository]


def test_good_before_bad(made: Made, private: Private) -> None:
    shas = made.numbers(9)
    ours = private(made)
    ends = ours.check_ends(ours.resolve(shas[0]), ours.resolve("HEAD"))
    assert (ends.kind, ends.count, ends.steps) == ("ancestor", 8, 3)
    assert ends.merge_base is not None
    assert ends.merge_base.sha == shas[0]
    assert ours.steps([ours.revision(shas[0]), ours.revision(shas[4])], ours.resolve("HEAD")) == (4, 2)
    assert ours.steps([ours.revision(shas[7])], ours.resolve("HEAD")) == (1, 0)


def test_swapped_ends_print_the_corrected_command(made: Made, private: Private) -> None:
    made.numbers(3)
    made.git("tag", "v1", "HEAD~2")
    ours = private(made)
    with pytest.raises(EndsError, match="swapped") as caught:
        ours.check_ends(ours.resolve("HEAD"), ours.resolve("v1"), named=("HEAD", "v1"))
    assert caught.value.hint == "bisect-celery run v1 HEAD"


def test_the_same_commit(made: Made, private: Private) -> None:
    made.numbers(2)
    ours = private(made)
    with pytest.raises(EndsError, match="same commit"):
        ours.check_ends(ours.resolve("HEAD"), ours.resolve("main"))


def test_unrelated_histories(made: Made, private: Private) -> None:
    made.numbers(2)
    made.git("checkout", "-q", "--orphan", "other")
    made.commit({"x": "y"})
    ours = private(made)
    with pytest.raises(EndsError, match="no common history"):
        ours.check_ends(ours.resolve("main"), ours.resolve("other"))


def test_nothing_in_the_pathspecs(made: Made, private: Private) -> None:
    made.numbers(3)
    ours = private(made)
    with pytest.raises(UserError, match="touches services/mail") as caught:
        ours.check_ends(ours.resolve("HEAD~2"), ours.resolve("HEAD"), ["services/mail"], named=("v1", "v2"))
    assert "v1..v2" in caught.value.hint


def test_first_parents_count_only_those(made: Made, private: Private) -> None:
    made.numbers(2)
    made.git("checkout", "-q", "-b", "side")
    for number in range(3):
        made.commit({f"s{number}": "x"})
    made.git("checkout", "-q", "main")
    made.merge("side")
    ours = private(made)
    good, bad = ours.resolve("HEAD~1"), ours.resolve("HEAD")
    assert ours.check_ends(good, bad).count == 4
    assert ours.check_ends(good, bad, first_parent=True).count == 1


# --- clones that lack something ----------------------------------------------------------------------


def clone(made: Made, target: Path, *words: str) -> PrivateRepository:
    made.git("config", "uploadpack.allowFilter", "true")
    made.git("config", "uploadpack.allowAnySHA1InWant", "true")
    made.git("clone", "-q", *words, f"file://{made.path}", str(target))
    return PrivateRepository.create(target.parent / f"{target.name}-ours", open_repository(target))


def test_a_shallow_clone_that_lacks_the_range(made: Made, tmp_path: Path) -> None:
    shas = made.numbers(10)
    made.git("tag", "v1", shas[1])
    ours = clone(made, tmp_path / "shallow", "--depth=3")
    assert ours.user.shallow
    with pytest.raises(UserError) as caught:
        ours.resolve("v1")
    assert caught.value.hint == "git fetch --unshallow --tags"
    # The old end is there, what lies between is not.
    Made.git(at(tmp_path / "shallow"), "fetch", "-q", "--no-tags", "--depth=1", "origin", f"{shas[1]}:refs/tags/v1")
    ours = PrivateRepository.create(tmp_path / "shallow-ours", open_repository(tmp_path / "shallow"))
    with pytest.raises(UserError, match="shallow") as caught:
        ours.check_ends(ours.resolve("v1"), ours.resolve("HEAD"))
    assert caught.value.hint == "git fetch --unshallow"


def test_a_shallow_clone_that_has_the_range(made: Made, tmp_path: Path) -> None:
    shas = made.numbers(10)
    ours = clone(made, tmp_path / "shallow", "--depth=6")
    good, bad = ours.resolve("HEAD~5"), ours.resolve("HEAD")
    assert good.parents == ()
    assert ours.check_ends(good, bad).count == 5
    found = ours.bisect(
        good, bad, cancel=Token(),
        answer=lambda one: Verdict.BAD if int(ours.read(one.tree, "n") or 0) >= 8 else Verdict.GOOD,
    )  # fmt: skip
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[7]


def test_a_merged_branch_that_a_shallow_clone_cut_off(made: Made, tmp_path: Path) -> None:
    made.numbers(2)
    made.git("checkout", "-q", "-b", "side")
    for number in range(6):
        made.commit({f"s{number}": "x"})
    made.git("checkout", "-q", "main")
    good = made.commit({"m": "x"})
    made.merge("side")
    ours = clone(made, tmp_path / "shallow", "--depth=3")
    with pytest.raises(UserError, match="shallow"):
        ours.check_ends(ours.resolve(good), ours.resolve("HEAD"))
    assert ours.check_ends(ours.resolve(good), ours.resolve("HEAD"), first_parent=True).count == 1


def test_a_clone_that_was_completed_is_no_longer_shallow_for_us(made: Made, tmp_path: Path) -> None:
    shas = made.numbers(6)
    ours = clone(made, tmp_path / "shallow", "--depth=2")
    assert (ours.path / "shallow").exists()
    Made.git(at(tmp_path / "shallow"), "fetch", "-q", "--unshallow")
    ours = PrivateRepository.create(ours.path, open_repository(tmp_path / "shallow"))
    assert ours.check_ends(ours.resolve(shas[0]), ours.resolve("HEAD")).count == 5


def test_a_partial_clone_gets_what_it_lacks_into_our_store(made: Made, tmp_path: Path) -> None:
    shas = made.numbers(8)
    ours = clone(made, tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    packs = sorted((tmp_path / "partial/.git/objects/pack").iterdir())
    found = ours.bisect(
        ours.resolve(shas[0]), ours.resolve("HEAD"), cancel=Token(),
        answer=lambda one: Verdict.BAD if int(ours.read(one.tree, "n") or 0) >= 6 else Verdict.GOOD,
    )  # fmt: skip
    assert found.first_bad is not None
    assert found.first_bad.sha == shas[5]
    (parent,) = ours.parents(found.first_bad)
    assert len(ours.atoms(parent, found.first_bad)) == 1
    assert ours.layout(parent.tree, tmp_path / "laid") == ()
    assert (tmp_path / "laid/n").read_text() == "5\n"
    assert sorted((tmp_path / "partial/.git/objects/pack").iterdir()) == packs


def test_a_partial_clone_whose_remote_is_gone_says_what_it_lacks(made: Made, tmp_path: Path) -> None:
    made.numbers(2)
    ours = clone(made, tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    made.path.rename(tmp_path / "gone")
    with pytest.raises(InfraError) as lacking:
        ours.layout(ours.resolve("HEAD").tree, tmp_path / "laid")
    assert "partial" in lacking.value.hint


def test_objects_borrowed_by_the_user_are_found(made: Made, tmp_path: Path) -> None:
    shas = made.numbers(3)
    made.git("clone", "-q", "--shared", ".", str(tmp_path / "shared"))
    ours = PrivateRepository.create(tmp_path / "ours", open_repository(tmp_path / "shared"))
    assert ours.read(ours.resolve(shas[1]).tree, "n") == b"2\n"


def test_replaced_and_grafted_history_is_what_the_user_sees(made: Made, private: Private) -> None:
    old = made.numbers(4)
    made.git("checkout", "-q", "--orphan", "new")
    new = [made.commit({"n": f"{number}\n"}, str(number)) for number in (5, 6, 7)]
    ours = private(made)
    with pytest.raises(EndsError):
        ours.check_ends(ours.resolve(old[0]), ours.resolve(new[2]))
    made.git("replace", "--graft", new[0], old[3])
    ours = private(made)
    assert ours.check_ends(ours.resolve(old[0]), ours.resolve(new[2])).count == 6
    assert [one.sha for one in ours.parents(ours.resolve(new[0]))] == [old[3]]
    made.git("replace", "-d", new[0])
    ours = private(made)
    assert ours.parents(ours.resolve(new[0])) == ()
    (made.path / ".git/info").mkdir(exist_ok=True)
    (made.path / ".git/info/grafts").write_text(f"{new[0]} {old[3]}\n")
    ours = private(made)
    assert ours.check_ends(ours.resolve(old[0]), ours.resolve(new[2])).count == 6


def at(path: Path) -> Made:
    made = Made.__new__(Made)
    made.path = path
    return made
