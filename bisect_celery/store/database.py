"""Sessions and trials that outlive the process: what a resume, a report or another session needs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Judged, Judgement, Outcome, Redact, Session, Trial
from bisect_celery.store import codec, schema
from bisect_celery.store.codec import CodecError, Json
from bisect_celery.store.faults import translated
from bisect_celery.store.private import Keyring, scrub
from bisect_celery.store.setup import configure

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from bisect_celery.store.models import NoteRow, SessionRow, TrialRow

# The number of what the JSON columns mean. Raise it when a field changes its meaning: older facts are
# then still shown in reports, but no longer reused.
SCHEMA = 1
RESUMABLE = tuple(outcome for outcome in Outcome if outcome.resumable)
LISTED = 5
SHORT = 10  # of a sha
NOTES_KEPT = 200
T = TypeVar("T")


@dataclass(frozen=True)
class Summary:
    """One line about a session. `outcome` None: it runs, or it died without a word. `trials`: how many are kept."""

    id: str
    repository: Path
    good: str
    bad: str
    started_at: str
    finished_at: str | None
    outcome: Outcome | None
    headline: str
    trials: int


class Store:
    """The database of sessions and trials. One thread uses it: the session's; a reader opens its own.

    Every method raises InfraError when the database cannot be read or written; what was written before
    that stays. What a method wrote is on the disk when it returns. `redact` goes over every string of a
    session that is kept (not of its trials, which are facts), beside the request's own secrets: a report
    made anew from the store knows no secret that it could look for.
    """

    def __init__(self, path: Path, alias: str, keyring: Keyring) -> None:
        self.redact: Redact = _as_it_is
        self.path = path
        self._alias = alias
        self._keyring = keyring

    @classmethod
    def open(cls, path: Path, wait: float = 15.0) -> Store:
        """Open the store at `path`, making or upgrading it if need be; `wait` is seconds for others' locks.

        Raises UserError if a newer version wrote it, InfraError if it is damaged, locked or out of reach.
        """
        path = path.absolute()
        with translated(path):
            behind = schema.prepare(path, wait)
            keyring = Keyring(path.with_name(path.name + ".key"))
            alias = configure(path, wait)
            if behind:
                schema.migrate(alias)
        return cls(path, alias, keyring)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        from django.db import connections

        connections[self._alias].close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- writing -------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """Keep a new session. Raises InfraError if there is one of that id."""
        with self._transaction():
            if self._sessions().filter(name=session.id).exists():
                raise InfraError(f"There is a session {session.id} already")
            self._sessions().create(**self._columns(session))
            self._add_trials(session.id, session.judged)

    def save(self, session: Session) -> None:
        """Replace all that is kept of a session but its trials."""
        with self._transaction():
            row = self._row(session.id)
            for name, value in self._columns(session).items():
                setattr(row, name, value)
            row.save(using=self._alias)

    def record(self, session_id: str, judged: Judged) -> None:
        """Keep a finished trial. Recording it again may change how it was judged, never what was seen."""
        with self._transaction():
            self._add_trials(session_id, (judged,))

    def delete(self, session_id: str) -> None:
        """Forget a session and its trials, and give their room back to the disk. UserError if unknown."""
        with self._transaction():
            self._row(session_id).delete(using=self._alias)
        self._shrink()

    def baseline_put(self, key: str, value: Json) -> None:
        """Keep a small JSON value under `key`, in place of what was there; only the newest few are kept."""
        with self._transaction():
            self._notes().filter(key=key).delete()
            newest = self._notes().create(key=key, value={"value": value})
            self._notes().filter(number__lte=newest.number - NOTES_KEPT).delete()

    # --- reading -------------------------------------------------------------------------------------

    def baseline_get(self, key: str) -> Json:
        """The value kept under `key`, None if there is none."""
        with translated(self.path):
            row = self._notes().filter(key=key).first()
            return cast(Json, row.value["value"]) if row else None

    def load(self, session_id: str | None = None, repository: Path | None = None) -> Session:
        """A session with its trials: by id or the beginning of one, else the latest (of `repository`).

        Environment values come back as marks (`private.withheld`), secrets not at all. Raises UserError
        if there is none, naming the last few.
        """
        with translated(self.path):
            row = self._latest(repository) if session_id is None else self._row(session_id)
            session = self._decode(Session, row.body, row.schema, row.name)
            return dataclasses.replace(session, judged=self._judged(row))

    def trials(self, session_id: str) -> tuple[Judged, ...]:
        """The trials of a session by number. UserError if there is no such session."""
        with translated(self.path):
            return self._judged(self._row(session_id))

    def find(self, digest: str, tree_sha: str) -> tuple[Trial, ...]:
        """Facts of any session about a tree under the same conditions, oldest first, `reused` telling whose.

        What a session had itself reused is not counted twice, and what this version cannot read whole is
        left out: it can be tried again.
        """
        with translated(self.path):
            rows = self._trials().filter(digest=_text(digest), tree=_text(tree_sha), reused=False, schema=SCHEMA)
            found = []
            for row in rows.select_related("session").order_by("id"):
                with contextlib.suppress(CodecError):
                    trial = codec.decode(Trial, row.trial)
                    found.append(dataclasses.replace(trial, reused=row.session.name))
            return tuple(found)

    def sessions(self) -> tuple[Summary, ...]:
        """All sessions, latest first."""
        with translated(self.path):
            return self._summaries(self._sessions())

    def unfinished(self, repository: Path) -> tuple[Summary, ...]:
        """Sessions of a repository that could go on, latest first; one that runs just now is among them."""
        from django.db.models import Q

        with translated(self.path):
            mine = self._sessions().filter(repository=_text(repository.absolute()))
            return self._summaries(mine.filter(Q(outcome__isnull=True) | Q(outcome__in=[*map(str, RESUMABLE)])))

    def fingerprint(self, text: str) -> str:
        """A keyed hash of a private text, the same for as long as this store lives."""
        return self._keyring.fingerprint(text)

    # --- rows ----------------------------------------------------------------------------------------

    def _sessions(self) -> QuerySet[SessionRow]:
        from bisect_celery.store.models import SessionRow

        return SessionRow.objects.using(self._alias)

    def _trials(self) -> QuerySet[TrialRow]:
        from bisect_celery.store.models import TrialRow

        return TrialRow.objects.using(self._alias)

    def _notes(self) -> QuerySet[NoteRow]:
        from bisect_celery.store.models import NoteRow

        return NoteRow.objects.using(self._alias)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        from django.db import transaction

        with translated(self.path), transaction.atomic(using=self._alias):
            yield

    def _columns(self, session: Session) -> dict[str, Any]:
        clean = scrub(dataclasses.replace(session, judged=()), self.redact)
        given = session.request  # what is withheld is marked as it was, not as it reads once secrets are taken out
        request = dataclasses.replace(
            clean.request,
            environment=given.environment,
            worker_image=given.worker_image,
            companions=tuple(
                dataclasses.replace(one, environment=theirs.environment)
                for one, theirs in zip(clean.request.companions, given.companions, strict=True)
            ),
        )
        private = dataclasses.replace(clean, request=self._keyring.withhold(request))
        body = cast(dict[str, Any], codec.encode(private))
        return {
            "name": session.id,
            "repository": _text(session.request.repository.absolute()),
            "started_at": _text(session.started_at),
            "finished_at": None if session.finished_at is None else _text(session.finished_at),
            "outcome": None if session.outcome is None else str(session.outcome),
            "good": _text(body["request"]["good"]),
            "bad": _text(body["request"]["bad"]),
            "headline": _text(body["headline"]),
            "schema": SCHEMA,
            "body": body,
        }

    def _add_trials(self, session_id: str, judged: tuple[Judged, ...]) -> None:
        session = self._row(session_id)
        for one in judged:
            seen, made = codec.encode(one.trial), codec.encode(one.judgement)
            row, new = self._trials().get_or_create(
                session=session,
                number=one.trial.number,
                defaults={
                    "tree": _text(one.trial.tree.sha),
                    "digest": _text(one.trial.digest),
                    "reused": one.trial.reused is not None,
                    "schema": SCHEMA,
                    "trial": seen,
                    "judgement": made,
                },
            )
            if row.trial != seen:
                raise InfraError(f"Session {session_id} has another trial {one.trial.number} already")
            if not new and row.judgement != made:
                row.judgement = made
                row.save(using=self._alias, update_fields=["judgement"])

    def _row(self, session_id: str) -> SessionRow:
        """The session of that id, or the only one whose id begins so."""
        rows = self._sessions().filter(name=session_id)[:1] or self._sessions().filter(name__startswith=session_id)[:2]
        if len(rows) == 1 and session_id:
            return rows[0]
        problem = "Several sessions begin with" if rows else "There is no session"
        raise UserError(f"{problem} `{session_id}`.", self._known())

    def _latest(self, repository: Path | None) -> SessionRow:
        rows = self._sessions().order_by("-number")
        if repository is not None:
            rows = rows.filter(repository=_text(repository.absolute()))
        row = rows.first()
        if row is None:
            place = "" if repository is None else f" of {repository}"
            raise UserError(f"No session{place} is kept yet.", "Begin one: `bisect-celery run GOOD BAD`.")
        return row

    def _known(self) -> str:
        last = self._sessions().order_by("-number")[:LISTED]
        if not last:
            return "None is kept yet; begin one: `bisect-celery run GOOD BAD`."
        return "The last ones: " + ", ".join(
            f"{row.name} ({row.good[:SHORT]}..{row.bad[:SHORT]}, {row.outcome or 'open'})" for row in last
        )

    def _judged(self, session: SessionRow) -> tuple[Judged, ...]:
        rows = self._trials().filter(session=session).order_by("number")
        return tuple(
            Judged(
                self._decode(Trial, row.trial, row.schema, session.name),
                self._decode(Judgement, row.judgement, row.schema, session.name),
            )
            for row in rows
        )

    def _decode(self, kind: type[T], data: Json, number: int, session_id: str) -> T:
        if number > SCHEMA:
            raise UserError(
                f"Session {session_id} was written by a newer bisect-celery", "Use that version to read it."
            )
        try:
            return codec.decode(kind, data)
        except CodecError as error:
            raise InfraError(
                f"Session {session_id} cannot be read from {self.path} ({error})",
                "Forget the sessions: bisect-celery clean --sessions",
            ) from error

    def _summaries(self, rows: QuerySet[SessionRow]) -> tuple[Summary, ...]:
        from django.db.models import Count

        return tuple(
            Summary(
                id=row.name,
                repository=Path(row.body["request"]["repository"]),
                good=row.good,
                bad=row.bad,
                started_at=row.started_at,
                finished_at=row.finished_at,
                outcome=None if row.outcome is None else Outcome(row.outcome),
                headline=row.headline,
                trials=cast(Any, row).kept,
            )
            for row in rows.annotate(kept=Count("trials")).order_by("-number")
        )

    def _shrink(self) -> None:
        """Best effort: another reader in the way only means that the room is given back next time."""
        from django.db import DatabaseError, connections

        with contextlib.suppress(DatabaseError), connections[self._alias].cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _text(value: object) -> str:
    """A text SQLite takes: names of files and revisions may hold bytes that are no UTF-8."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _as_it_is(text: str) -> str:
    return text
