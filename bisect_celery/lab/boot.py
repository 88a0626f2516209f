"""The way to "ready": the app that says where it would go, the worker that stands and answers.

Each step returns why it ended the trial: "failure" (`Signs.failure` says which), "foreign"; None: go on.
"""

from __future__ import annotations

from bisect_celery.core.deadline import Deadlines
from bisect_celery.lab.answers import ASK_DEADLINE, Answers
from bisect_celery.lab.counts import Counts
from bisect_celery.lab.loop import Loop
from bisect_celery.lab.plan import Plan, provided
from bisect_celery.lab.sender import Sender
from bisect_celery.lab.signs import Signs
from bisect_celery.lab.worker import SHOWN_LINES, Worker
from bisect_celery.model import Failure, Stage

# In seconds, for the first answer to a question that is lost where nobody listens yet.
FIRST_PATIENCE = 0.25


class Boot:
    """The steps up to ready, for the first start and for every later one. `answered`: whether a worker ever did."""

    def __init__(
        self, plan: Plan, deadlines: Deadlines, signs: Signs, loop: Loop,
        worker: Worker, sender: Sender, counts: Counts, answers: Answers, keeps_questions: bool = True,
    ) -> None:  # fmt: skip
        """`keeps_questions`: `BrokerTraits.keeps_questions`."""
        self._keeps_questions = keeps_questions
        self._plan, self._deadlines, self._signs, self._loop = plan, deadlines, signs, loop
        self._worker, self._sender, self._counts, self._answers = worker, sender, counts, answers
        self.answered = False

    def until_loaded(self) -> str | None:
        """Wait for the sender's word on the app; its own failure to load it is why the worker would not boot."""
        signs, boot = self._signs, self._deadlines.boot
        self._loop.wait(lambda: signs.loaded or signs.foreign is not None, boot, self._sender)
        if signs.foreign is not None:
            return "foreign"
        if signs.loaded:
            return self._results_elsewhere()
        code = self._sender.exit_code()
        if code is None:
            return signs.fails(Failure(Stage.BOOT, f"the app did not load within {boot:g} s", timed_out=True))
        reason = f"loading the app ended the program with status {code} and without a word"
        return signs.fails(Failure(Stage.BOOT, reason, lines=tuple(self._sender.last_lines()[-SHOWN_LINES:])))

    def _results_elsewhere(self) -> str | None:
        """Results must not go where the project's go. Whoever asked for the trial replaces the backend; where that
        has no effect, the app is as little ours as with another broker."""
        backend = self._signs.facts.result_backend
        if provided(self._signs.facts):
            return None
        if self._plan.result_url is not None:
            self._signs.foreign = f"its result backend `{backend}`"
            return "foreign"
        reason = f"results would go to `{backend}`, which is not provided here"
        return self._signs.fails(Failure(Stage.BOOT, reason, missing=(("result backend", str(backend)),)))

    def first(self) -> str | None:
        """Start the worker, until it stands and answers. What the sender says of the app comes before what the worker
        says: it says why, where the worker often only ends."""
        stands = self._starts()
        if self._signs.foreign is not None:
            return "foreign"
        if (ended := self.until_loaded()) is not None:
            return ended
        return self._until_answers(0.0) if stands else self._failed()

    def again(self) -> str | None:
        """Start it once more, until it stands and answers."""
        began = self._loop.now()
        if not self._starts():
            return self._failed()
        return "foreign" if self._signs.foreign is not None else self._until_answers(began)

    def _starts(self) -> bool:
        self._worker.start()
        return self._loop.wait(self._counts.stand, self._deadlines.boot, self._sender, self._worker)

    def _failed(self) -> str:
        return self._signs.fails(self._worker.boot_failure(self._deadlines.boot))

    def _until_answers(self, began: float) -> str | None:
        """A worker that can be asked is ready when it answers: its consumer stands before its main loop runs. So one
        that ends before it has answered did not boot, whether it had stood for a moment or not.

        One that never does (its main process hangs) is given as long again as its boot took, and then its probes: the
        standing consumer takes them, and what becomes of them is the symptom. A question that nobody kept until it
        listens is asked again soon, with more patience each time: the worker may be slow instead.
        """
        now = self._loop.now()
        end = now + min(max(ASK_DEADLINE, now - began), self._deadlines.boot)
        patience = None if self._keeps_questions else FIRST_PATIENCE
        while not self._sender.gone():
            self._answers.ask(patience)
            patience = patience and min(2 * patience, ASK_DEADLINE)
            if self._answers.complete():
                self.answered = True
                break
            if self._worker.gone():
                return self._failed()
            if (self._signs.ready and self._counts.nobody_to_ask()) or self._loop.now() > end:
                break
        self._answers.held = None  # of before anything was sent
        return None
