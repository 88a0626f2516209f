"""The search among commits where trials contradict one another: every start is evidence, and none is proof.

`git bisect` believes each answer, so it is for failures that come every time. Here `core.belief` says how likely each
commit is the first bad one, and which to start next; what was found is confirmed as everything else is.
"""

from __future__ import annotations

from dataclasses import dataclass

from bisect_celery.core.belief import MARGIN, UNDECIDED, Belief
from bisect_celery.core.repeat import MOST_UNCLEAR, Noise, Starts
from bisect_celery.flow.ends import as_tree
from bisect_celery.flow.events import Listener, Remaining
from bisect_celery.flow.trials import NEVER_RUNS, Trials
from bisect_celery.model import Judged, Request, Revision, Tally, Verdict
from bisect_celery.repo.private import PrivateRepository

# As long as one start in so many tells something, a commit is tried on.
TELLING = 5
# How many commits are told with their probabilities.
MOST_TOLD = 20


@dataclass(frozen=True)
class Weighed:
    """What the search came to: `culprit`, or `candidates` that no more starts can part, or neither: "no culprit".

    `probabilities` are (sha, how likely), likeliest first, and `none` is that of "no culprit". `noise` is what starts
    with and without the culprit showed. `merge_base_bad`: the bug was fixed on GOOD's side.
    """

    culprit: Revision | None = None
    candidates: tuple[Revision, ...] = ()
    probabilities: tuple[tuple[str, float], ...] = ()
    none: float = 0.0
    noise: Noise | None = None
    merge_base_bad: bool = False


class Weigh:
    """The belief search. The session's thread runs it, again and again where a confirmation contradicts it."""

    def __init__(
        self,
        repository: PrivateRepository,
        trials: Trials,
        request: Request,
        listener: Listener,
        good: Revision,
        bad: Revision,
        merge_bases: tuple[Revision, ...] = (),
    ) -> None:
        """`merge_bases`: of GOOD and BAD where GOOD is no ancestor of BAD; they are tried first, as git does."""
        self._repository, self._trials, self._request, self._listener = repository, trials, request, listener
        self._good, self._bad, self._merge_bases = good, bad, merge_bases
        line = repository.suspects([good], bad, request.paths, request.first_parent)
        self._suspects = {one.sha: one for one in line}
        self._parents = repository.between(good, bad, request.first_parent)
        self._names = {sha[:10]: sha for sha in self._parents}
        outside = {parent for parents in self._parents.values() for parent in parents if parent not in self._parents}
        self._outside = {sha[:10] for sha in outside} | {one.short for one in (good, *merge_bases)}
        idle = self._changing_nothing()
        self._nobody = len(idle) == len(self._suspects)
        prior = {} if self._nobody else dict.fromkeys(idle, 0.0)
        self._belief = Belief(tuple(self._suspects), self._parents, prior)
        self._heard = 0
        self._skipped: dict[str, Judged] = {}

    def _changing_nothing(self) -> set[str]:
        """The suspects whose tree is a parent's own: whatever they show, they did not bring it."""
        request = self._request
        every = self._repository.suspects([self._good], self._bad, (), request.first_parent)
        trees = {one.sha: one.tree for one in (*every, self._good, *self._merge_bases)}
        for sha in self._suspects:
            for parent in self._parents[sha]:
                if parent not in trees:
                    trees[parent] = self._repository.revision(parent).tree
        return {
            sha
            for sha, one in self._suspects.items()
            if any(trees[parent] == one.tree for parent in self._parents[sha])
        }

    # --- the search -----------------------------------------------------------------------------------

    def run(self) -> Weighed:
        """Start commits until one is sure enough. Raises BudgetSpent, InfraError, Cancelled."""
        if any(self._fails(base) for base in self._merge_bases):
            return Weighed(merge_base_bad=True)
        if self._nobody:
            return Weighed(none=1.0)
        while True:
            self.hear()
            settled = self._belief.settled(self._request.confidence)
            if settled is not UNDECIDED:
                return self._weighed(settled)
            apart = self._belief.inseparable(self._request.confidence)
            asked = () if apart else self._belief.ask()
            if not asked:
                return self._undecided(apart or self.likely())
            self._listener(Remaining("weigh", len(self.likely()), 0, None))
            chosen = self._suspects[asked[0]]
            if self._doubts_good(chosen):
                chosen = self._good
            self._trials.settled(as_tree(chosen), "search")

    def _doubts_good(self, chosen: Revision) -> bool:
        """Whether "no culprit" is one of the two likeliest, which only GOOD parts from the oldest suspect, and GOOD was
        started less often than what would be started now, and tells something when it is."""
        good = self._of(self._good.short)
        if good.tried >= self._of(chosen.short).tried or good.unclear > MOST_UNCLEAR + good.tried:
            return False
        # As much doubt as would keep the search from ending: no start of a suspect ever takes it away.
        enough = (1 - self._request.confidence) / MARGIN / 2
        return None in [sha for sha, _ in self._belief.ranking()[:2]] and self.none() > enough

    def _fails(self, base: Revision) -> bool:
        """Whether the merge base shows the failure, asked as often as it takes to be sure."""
        while True:
            starts = self._of(base.short)
            ends = Noise(self._of(self._good.short), self._of(self._bad.short))
            answer = ends.answer(starts)
            if answer is not None or starts.unclear >= MOST_UNCLEAR:
                return answer is True
            self._trials.settled(as_tree(base), "search")

    def hear(self) -> None:
        """Tell the belief every start that it has not heard of, whoever asked for it."""
        starts = self._trials.starts()
        for judged in starts[self._heard :]:
            self._tell(judged)
        self._heard = len(starts)

    def _tell(self, judged: Judged) -> None:
        label, failed = judged.trial.tree.label, judged.judgement.verdict is Verdict.BAD
        if judged.judgement.verdict is Verdict.SKIP:
            self._pass_over(judged)
        elif label in self._outside:
            self._belief = self._belief.tell_good(failed)
        elif label in self._names:
            try:
                self._belief = self._belief.tell(self._names[label], failed)
            except KeyError:  # it holds more than the last suspect: BAD itself, where paths limit the search
                self._belief = self._belief.tell_bad(failed)

    def _pass_over(self, judged: Judged) -> None:
        """A commit that never shows anything to go by is not tried for ever; it stays a suspect."""
        label = judged.trial.tree.label
        sha = self._names.get(label)
        starts = self._of(label)
        if sha not in self._suspects or starts.tried * TELLING > starts.unclear:
            return
        never = not starts.tried and judged.judgement.symptom.kind in NEVER_RUNS
        if never or starts.unclear >= MOST_UNCLEAR:
            self._belief = self._belief.skip(sha)
            self._skipped[sha] = judged

    # --- what came out --------------------------------------------------------------------------------

    def _weighed(self, culprit: str | None) -> Weighed:
        ranking = dict(self._belief.ranking())
        found = self._suspects[culprit] if culprit is not None else None
        noise = self._noise(culprit) if culprit is not None else None
        return Weighed(found, (), self.probabilities(), ranking.get(None, 0.0), noise)

    def _undecided(self, apart: tuple[str, ...]) -> Weighed:
        possible = [sha for sha in apart if self._belief.posterior().get(sha)]
        candidates = tuple(revision for sha, revision in self._suspects.items() if sha in possible)
        return Weighed(None, candidates, self.probabilities(), self.none())

    def likely(self) -> tuple[str, ...]:
        """The fewest suspects that together are as likely as was asked for."""
        found: list[str] = []
        total = 0.0
        for sha, probability in self._belief.ranking():
            total += probability
            if sha is not None:
                found.append(sha)
            if total >= self._request.confidence:
                break
        return tuple(found)

    def candidates(self) -> tuple[Revision, ...]:
        """The likely suspects, likeliest first."""
        return tuple(self._suspects[sha] for sha in self.likely())

    def none(self) -> float:
        """How likely it is that no commit in the range is to blame."""
        return self._belief.posterior().get(None, 0.0)

    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """(sha, how likely it is the first bad commit), likeliest first."""
        ranked = ((sha, round(probability, 4)) for sha, probability in self._belief.ranking() if sha is not None)
        return tuple(ranked)[:MOST_TOLD]

    def skipped(self) -> dict[str, Judged]:
        """The suspects (shas) that could not be judged, with the trial that says why."""
        return dict(self._skipped)

    def revision(self, sha: str) -> Revision:
        """A suspect by its sha."""
        return self._suspects[sha]

    def older(self, rows: tuple[Tally, ...]) -> tuple[Revision, ...]:
        """Of a confirmation, the parents outside the range that fail: the bug is older than GOOD, on a side branch."""
        failing = {row.tree.label for row in rows if not row.should_fail and row.held is False and row.failed}
        outside = {one for parents in self._parents.values() for one in parents if one not in self._parents}
        return tuple(self._repository.revision(sha) for sha in sorted(outside) if sha[:10] in failing)

    def unsure(self, rows: tuple[Tally, ...], parents: tuple[Revision, ...]) -> tuple[Revision, ...]:
        """Of a confirmation, the parents that showed neither the failure nor, often enough, success."""
        labels = {row.tree.label for row in rows if not row.should_fail and row.held is False and not row.failed}
        return tuple(parent for parent in parents if parent.short in labels)

    # --- what starts showed ---------------------------------------------------------------------------

    def _of(self, label: str) -> Starts:
        return Starts.of(one.judgement.verdict for one in self._trials.starts() if one.trial.tree.label == label)

    def _tried(self) -> dict[str, Starts]:
        """What the commits of the range showed that were tried, by sha, ancestors last."""
        labels = {one.trial.tree.label for one in self._trials.starts()}
        newest_first = [sha for sha in self._parents if sha[:10] in labels]
        return {sha: self._of(sha[:10]) for sha in newest_first}

    def _noise(self, culprit: str) -> Noise:
        holding = self._holding(culprit)
        good, bad = Starts(), Starts()
        for label in self._outside:
            good += self._of(label)
        for sha, starts in self._tried().items():
            good, bad = (good, bad + starts) if sha in holding else (good + starts, bad)
        return Noise(good, bad)

    def _holding(self, culprit: str) -> set[str]:
        """The commits of the range that have the culprit's change: itself and its descendants."""
        children: dict[str, list[str]] = {}
        for sha, parents in self._parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(sha)
        found, row = {culprit}, [culprit]
        while row:
            row = [child for sha in row for child in children.get(sha, ()) if child not in found]
            found.update(row)
        return found

    def _ancestors(self, commit: str) -> set[str]:
        found: set[str] = set()
        row = [commit]
        while row:
            row = [parent for sha in row for parent in self._parents.get(sha, ()) if parent not in found]
            found.update(row)
        return found

    def log(self, culprit: Revision | None) -> str:
        """For `git bisect replay`: the commits that were tried, as the culprit makes them, and what they showed."""
        tried = self._tried()
        answers: list[tuple[str, Verdict]] = []
        if culprit is not None:
            after, before = self._holding(culprit.sha), self._ancestors(culprit.sha)
            answers += [(sha, Verdict.BAD) for sha in tried if sha in after and sha != culprit.sha]
            answers += [(culprit.sha, Verdict.BAD)]
            # Only ancestors of the bad one: for any other, git would want to hear about a merge base first.
            goods = [sha for sha in tried if sha in before and sha not in self._skipped]
            answers += [(sha, Verdict.GOOD) for sha in dict.fromkeys((*reversed(goods), *self._parents[culprit.sha]))]
        request = self._request
        log = self._repository.bisect_log(self._good, self._bad, answers, request.paths, request.first_parent)
        said = [f"# {self._shown(sha)}: failed {one.failed} of {one.tried} starts" for sha, one in tried.items()]
        return "\n".join((log.rstrip("\n"), "# An intermittent failure: what each commit showed.", *said, ""))

    def _shown(self, sha: str) -> str:
        revision = self._suspects.get(sha)
        return f"{sha[:10]} {revision.title}" if revision else sha[:10]
