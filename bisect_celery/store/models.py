"""The store's tables. Facts are JSON (see `codec`); what is searched by has a column of its own."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class SessionRow(models.Model):
    """A session without its trials. `number` tells the order of sessions, whatever the clock did."""

    number: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    name: models.CharField[str, str] = models.CharField(max_length=100, unique=True)
    repository: models.TextField[str, str] = models.TextField(db_index=True)
    started_at: models.CharField[str, str] = models.CharField(max_length=64)
    finished_at: models.CharField[str | None, str | None] = models.CharField(max_length=64, null=True)
    outcome: models.CharField[str | None, str | None] = models.CharField(max_length=32, null=True)
    good: models.TextField[str, str] = models.TextField()
    bad: models.TextField[str, str] = models.TextField()
    headline: models.TextField[str, str] = models.TextField()
    schema: models.PositiveIntegerField[int, int] = models.PositiveIntegerField()
    body = models.JSONField()

    objects: ClassVar[models.Manager[SessionRow]] = models.Manager()


class TrialRow(models.Model):
    """A finished trial and the judgement made of it then. `reused`: its facts were found by another session."""

    session: models.ForeignKey[SessionRow, SessionRow] = models.ForeignKey(
        SessionRow, on_delete=models.CASCADE, related_name="trials"
    )
    number: models.PositiveIntegerField[int, int] = models.PositiveIntegerField()
    tree: models.CharField[str, str] = models.CharField(max_length=64)
    digest: models.CharField[str, str] = models.CharField(max_length=128)
    reused: models.BooleanField[bool, bool] = models.BooleanField()
    schema: models.PositiveIntegerField[int, int] = models.PositiveIntegerField()
    trial = models.JSONField()
    judgement = models.JSONField()

    objects: ClassVar[models.Manager[TrialRow]] = models.Manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "number"], name="one_trial_a_number"),
        ]
        indexes: ClassVar = [models.Index(fields=["digest", "tree"], name="facts_of_a_tree")]


class NoteRow(models.Model):
    """A small value kept by key: the ends of somebody's own bisection, tried once."""

    number: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    key: models.CharField[str, str] = models.CharField(max_length=255, unique=True)
    value = models.JSONField()

    objects: ClassVar[models.Manager[NoteRow]] = models.Manager()
