"""The demo's history is the same everywhere, plausible, and hides one import among harmless hunks."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tarfile
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.demo import Incident, write_incident
from bisect_celery.demo.history import FOLDER, File, apply, chapters
from bisect_celery.errors import UserError

GOOD = "5878707dd7ef7921eedde6efd6447f159fb937c1"
BAD = "a192bacdc39aa89d2f368e850d138b7d440c6e3d"
CULPRIT = "423db4284d16dcda6e60d2037f2f0fb573cae8b2"


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    return write_incident(tmp_path_factory.mktemp("demo") / "shop")


def git(incident: Incident, *words: str, env: dict[str, str] | None = None, input: bytes | None = None) -> str:
    extra = proc.clean_environment({"GIT_CONFIG_GLOBAL": os.devnull, **(env or {})})
    return proc.run(["git", *words], deadline=30, cwd=incident.folder, env=extra, input=input).text().strip("\n")


def sources(incident: Incident, sha: str) -> dict[str, str]:
    """The Python files of a commit."""
    tar = proc.run(["git", "archive", "--format=tar", sha], deadline=30, cwd=incident.folder).out
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        members = {member.name: files.extractfile(member) for member in files if member.name.endswith(".py")}
        return {name: content.read().decode() for name, content in members.items() if content}


def test_the_same_shas_every_time(incident: Incident) -> None:
    assert (incident.good, incident.bad, incident.culprit) == (GOOD, BAD, CULPRIT)
    assert git(incident, "rev-parse", "HEAD") == BAD
    assert git(incident, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(incident, "fsck", "--strict", "--no-dangling") == ""


def test_nothing_of_the_callers_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    hook = template / "post-checkout"
    hook.write_text("#!/bin/sh\necho hooked > hooked\n")
    hook.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        "[user]\nname = Somebody\nemail = somebody@example.org\n[commit]\ngpgSign = true\n"
        f"[core]\nautocrlf = true\nhooksPath = {template}\n[init]\ntemplateDir = {template.parent}\n"
        "defaultBranch = trunk\n[fastimport]\nunpackLimit = 100000\n"
    )
    elsewhere = tmp_path / "elsewhere"
    for name, value in {
        "GIT_CONFIG_GLOBAL": config,
        "GIT_DIR": elsewhere,
        "GIT_INDEX_FILE": elsewhere,
        "GIT_TEMPLATE_DIR": template.parent,
        "GIT_AUTHOR_NAME": "X",
        "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
        "GIT_DEFAULT_HASH": "sha256",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, str(value))
    written = write_incident(tmp_path / "shop")
    assert (written.good, written.bad, written.culprit) == (GOOD, BAD, CULPRIT)
    assert not elsewhere.exists()
    assert not list(tmp_path.glob("shop/**/*hooked*")) + list(tmp_path.glob("shop/.git/hooks/*"))
    # The checkout is clean also for somebody whose git turns line ends around.
    assert git(written, "status", "--porcelain", env={"GIT_CONFIG_GLOBAL": str(config)}) == ""
    assert b"\r" not in (written.folder / "README.md").read_bytes()


def test_git_reads_the_patches_as_we_do(incident: Incident, tmp_path: Path) -> None:
    """`git apply` is the oracle: every patch on its first parent's tree gives the commit's tree."""
    shas = git(incident, "rev-list", "--date-order", "--reverse", "main").split()
    paths = sorted(FOLDER.glob("*.patch"))
    assert len(shas) == len(paths)
    env = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    for sha, path in zip(shas, paths, strict=True):
        parent = git(incident, "rev-list", "--parents", "-1", sha).split()[1:2]
        git(incident, "read-tree", *(parent or ["--empty"]), env=env)
        git(incident, "apply", "--cached", str(path), env=env)
        assert git(incident, "write-tree", env=env) == git(incident, "rev-parse", f"{sha}^{{tree}}"), path.name
        assert git(incident, "log", "-1", "--format=%s", sha) in path.read_text()


def test_every_revision_parses(incident: Incident) -> None:
    shas = git(incident, "rev-list", "main").split()
    seen = {text for sha in shas for text in sources(incident, sha).values()}
    assert len(seen) > 50
    for text in seen:
        ast.parse(text)


def test_a_plausible_history(incident: Incident) -> None:
    lines = git(incident, "log", "--format=%an|%ae|%cI|%s", "main").split("\n")
    people = {line.split("|")[0] for line in lines}
    assert len(lines) >= 24
    assert len(people) == 3
    assert all(line.split("|")[1].endswith("@example.com") for line in lines)
    assert len({line.split("|")[2][:7] for line in lines}) >= 4  # months
    assert len({line.split("|")[3] for line in lines}) == len(lines)
    assert incident.good not in git(incident, "rev-list", "--max-parents=0", "main")
    assert int(git(incident, "rev-list", "--count", f"{incident.good}..{incident.bad}")) >= 20
    merges = git(incident, "rev-list", "--merges", f"{incident.good}..{incident.culprit}").split()
    assert len(merges) == 1
    # One environment serves the whole range: what the search shows is commits, not releases.
    assert git(incident, "diff", "--name-only", incident.good, incident.bad, "--", "requirements.txt") == ""


def test_the_culprit_hides_one_import_among_harmless_hunks(incident: Incident) -> None:
    diff = git(incident, "diff", "-U0", f"{incident.culprit}~1", incident.culprit)
    hunks = [part.split("\n", 1)[1].rstrip("\n").split("\n") for part in re.split(r"^(?=@@ )", diff, flags=re.M)[1:]]
    files = git(incident, "diff", "--name-only", f"{incident.culprit}~1", incident.culprit).split()
    assert len(hunks) >= 6
    assert len(files) >= 3
    assert not re.search(r"^\+(?!\+\+ )", diff, flags=re.M)  # it only removes
    guilty = [hunk for hunk in hunks if f"-{incident.culprit_line}" in hunk]
    assert len(guilty) == 1
    assert any(line.startswith("-from shipping.labels import") for line in guilty[0])


def test_nothing_uses_the_import(incident: Incident) -> None:
    text = sources(incident, f"{incident.culprit}~1")[incident.culprit_path]
    assert text.split("\n").count(incident.culprit_line) == 1
    assert text.count(incident.culprit_line.rpartition(" ")[2]) == 1


def test_a_helper_and_its_only_caller_went_in_different_files(incident: Incident) -> None:
    before, after = (sources(incident, sha) for sha in (f"{incident.culprit}~1", incident.culprit))
    users = {path for path, text in before.items() if "legacy_number" in text}
    assert users == {"orders/numbers.py", "reports/exports.py"}
    assert not any("legacy_number" in text for text in after.values())


def test_git_asks_for_both_revisions_that_cannot_be_judged(incident: Incident, tmp_path: Path) -> None:
    """With everything else known, a real bisection meets the two, and skipping them leads to the culprit."""
    titles = ("Show on invoices how much VAT", "Keep the texts of our mails")
    broken = {git(incident, "log", "--format=%H", f"--grep=^{title}", "main") for title in titles}
    clone = Incident(tmp_path / "clone", incident.good, incident.bad, incident.culprit)
    git(incident, "clone", "--quiet", "--no-checkout", str(incident.folder), str(clone.folder))
    git(clone, "bisect", "start", "--no-checkout", incident.bad, incident.good)
    asked = tmp_path / "asked"
    answer = tmp_path / "answer"
    answer.write_text(
        f"sha=$(git rev-parse BISECT_HEAD); echo $sha >> '{asked}'\n"
        f"case $sha in {'|'.join(broken)}) exit 125;; esac\n"
        f"if git merge-base --is-ancestor {incident.culprit} $sha; then exit 1; fi\n"
    )
    git(clone, "bisect", "run", "sh", str(answer))
    assert git(clone, "rev-parse", "refs/bisect/bad") == incident.culprit
    assert broken < set(asked.read_text().split())


def test_the_probe_is_one_of_the_projects_tasks(incident: Incident) -> None:
    probe = incident.probe
    assert probe.task is not None
    module, name = probe.task.rsplit(".", 1)
    text = sources(incident, incident.good)[module.replace(".", "/") + ".py"]
    assert f"def {name}(number, customer, lines):" in text
    assert len(json.loads(probe.args)) == 3
    assert f"celery -A {incident.app} worker {' '.join(incident.worker)}" in (incident.folder / "Procfile").read_text()


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        write_incident(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_damaged_patch_is_not_another_history(tmp_path: Path) -> None:
    for path in sorted(FOLDER.glob("*.patch"))[:4]:
        (tmp_path / path.name).write_text(path.read_text())
    assert chapters(tmp_path) == chapters()[:4]
    last = sorted(tmp_path.glob("*.patch"))[-1]
    damaged = last.read_text().replace('\n     "billing",\n', '\n     "bills",\n')
    assert damaged != last.read_text()
    last.write_text(damaged)
    with pytest.raises(ValueError, match=last.name):
        chapters(tmp_path)


def test_apply_is_strict() -> None:
    files = {"a": File("100644", "one\ntwo\nthree\n")}
    head = "diff --git a/a b/a\n--- a/a\n+++ b/a\n"
    assert apply(head + "@@ -2 +2 @@\n-two\n+2\n", files)["a"].text == "one\n2\nthree\n"
    assert apply(head + "@@ -3,0 +4 @@\n+four\n", files)["a"].text == "one\ntwo\nthree\nfour\n"
    assert apply("diff --git a/a b/a\ndeleted file mode 100644\n--- a/a\n+++ /dev/null\n", files) == {}
    with pytest.raises(ValueError, match="does not stand there"):
        apply(head + "@@ -1 +1 @@\n-two\n+2\n", files)
    with pytest.raises(ValueError, match="ends early"):
        apply(head + "@@ -1,2 +1,2 @@\n one\n", files)
    with pytest.raises(ValueError, match="not there"):
        apply(head.replace("/a", "/b") + "@@ -1 +1 @@\n-two\n+2\n", files)
