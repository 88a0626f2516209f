"""What we read of commits, against GitPython's pure-Python reading of the same objects."""

from __future__ import annotations

from collections.abc import Callable

import git
from made_repository import Made

from bisect_celery.repo.private import PrivateRepository


def test_revisions_are_what_an_independent_reader_sees(made: Made, private: Callable[..., PrivateRepository]) -> None:
    first = made.commit({"n": "1"}, "Begin, with ünïcode and “quotes”")
    made.git("checkout", "--quiet", "-b", "side")
    made.commit({"side": "1"}, "Aside\n\nA body, which is no title.")
    made.git("checkout", "--quiet", "-")
    made.commit({"n": "2"}, "Go on")
    made.merge("side")
    ours = private(made)
    theirs = git.Repo(made.path, odbt=git.GitDB)
    commits = list(theirs.iter_commits("HEAD"))
    assert len(commits) == 4
    for commit in commits:
        revision = ours.revision(commit.hexsha)
        assert revision.tree == commit.tree.hexsha
        assert revision.title == str(commit.summary)
        assert revision.author == commit.author.name
        assert revision.date == commit.committed_datetime.isoformat().replace("+00:00", "Z") or (
            revision.date == commit.committed_datetime.isoformat()
        )
        assert revision.parents == tuple(parent.hexsha for parent in commit.parents)
    assert ours.revision(first).parents == ()
