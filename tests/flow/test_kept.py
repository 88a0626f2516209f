"""What of an observation is kept reads the same however often it goes through, and judges as what was seen."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core import judge
from bisect_celery.core.redact import Redactor
from bisect_celery.lab.kept import kept
from bisect_celery.model import Message, Observation, Probe

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
MESSAGES = st.builds(
    Message,
    id=st.uuids().map(str),
    wave=st.sampled_from([1, 2]),
    sent=st.just(0.1),
    starts=st.sampled_from([0, 1]),
    state=st.sampled_from([None, "SUCCESS", "FAILURE"]),
    value=st.none() | st.integers(0, 9).map(json.dumps),
    exception=st.sampled_from(["ValueError", "TypeError", "Declined"]),
    detail=TEXTS,
)
SEEN = st.builds(
    Observation,
    until=st.just(9.0),
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    ended=st.sampled_from(["complete", "quiet", "total"]),
    errors=st.lists(TEXTS, max_size=2).map(tuple),
)


@given(SEEN, st.sampled_from([None, "3"]))
def test_keeping_again_changes_nothing_and_the_judge_sees_the_same(seen: Observation, expect: str | None) -> None:
    probe = Probe(expect=expect)
    once = kept(seen, probe, Redactor().exact)
    assert kept(once, probe, Redactor().exact) == once
    standard = judge.standard_of(probe)
    assert judge.symptom(once, standard) == judge.symptom(seen, standard)


def test_what_is_nobodys_business_is_not_kept() -> None:
    probe = Probe(args='["mara.svensson", {"iban": "SE4550000000058398257466"}, 3]')
    detail = "mara.svensson cannot pay SE4550000000058398257466 with token hunter2-Wq7: code 3"
    message = Message("a", 1, 0.1, state="FAILURE", exception="Declined", detail=detail, value='"balance 12"')
    seen = Observation(2.0, messages=(message,), errors=("a line of the log",))
    found = kept(seen, probe, Redactor(["hunter2-Wq7"]).exact)
    assert found.messages[0].detail == "… cannot pay … with token ***: code <n>"
    assert found.messages[0].value is None
    assert found.errors == ()
