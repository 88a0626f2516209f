"""The codec against the model: every type it stores comes back equal, through real JSON text."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from from_types import values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bisect_celery import model
from bisect_celery.store.codec import CodecError, decode, encode

STORED = (model.Session, model.Request, model.Trial, model.Judgement, model.Observation, model.Culprit, model.Atom)


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_comes_back_equal(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(values(kind))
    text = json.dumps(encode(value))
    assert text.isascii()
    assert decode(kind, json.loads(text)) == value


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_dataclass_of_the_model_can_be_stored(data: st.DataObject) -> None:
    kinds = [kind for kind in vars(model).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 20
    kind: type[Any] = data.draw(st.sampled_from(kinds))
    value = data.draw(values(kind))
    assert decode(kind, json.loads(json.dumps(encode(value)))) == value


def test_types_are_exact_after_a_round_trip() -> None:
    judged = model.Judgement(model.Verdict.SKIP, model.Symptom(model.Kind.SLOW), "r", confidence=1)
    back = decode(model.Judgement, json.loads(json.dumps(encode(judged))))
    assert type(back.verdict) is model.Verdict
    assert type(back.symptom.kind) is model.Kind
    assert type(back.confidence) is float


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_json_has_no_word_for(number: float) -> None:
    text = json.dumps(encode(model.Observation(until=number)), allow_nan=False)
    back = decode(model.Observation, json.loads(text)).until
    assert back == number or (math.isnan(back) and math.isnan(number))


def test_a_field_of_a_later_version_is_ignored_and_a_missing_one_takes_its_default() -> None:
    data = encode(model.QueueCount("mail", 1, 2))
    assert isinstance(data, dict)
    data["invented_later"] = {"x": 1}
    del data["durable"]
    assert decode(model.QueueCount, data) == model.QueueCount("mail", 1, 2)


@pytest.mark.parametrize(
    ("kind", "data", "where"),
    [
        (model.QueueCount, {"name": "q", "ready": "1", "unacked": 0}, "QueueCount.ready"),
        (model.QueueCount, {"name": "q", "ready": True, "unacked": 0}, "QueueCount.ready"),
        (model.QueueCount, {"name": "q"}, "ready"),
        (model.QueueCount, [], "QueueCount"),
        (model.Symptom, {"kind": "a-kind-of-next-year"}, "Symptom.kind"),
        (model.Edit, {"start": 0, "removed": ["?"], "added": []}, "Edit.removed[0]"),
        (model.Overlay, {"source": 5, "target": "x"}, "Overlay.source"),
        (model.Failure, {"stage": "boot", "reason": "r", "missing": [["module"]]}, "Failure.missing[0]"),
        (model.Observation, {"until": "soon"}, "Observation.until"),
        (model.Judgement, {"verdict": 2, "symptom": {"kind": "slow"}, "rule": ""}, "Judgement.verdict"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(kind: type[Any], data: Any, where: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(kind, data)
    assert where in str(caught.value)


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Odd:
    one: int | str


def test_what_cannot_be_told_apart_is_refused() -> None:
    assert encode(Colour.RED) == "red"
    with pytest.raises(CodecError):
        decode(Odd, {"one": 1})
    for value in ({1}, object(), Path, {"a": 1}):
        with pytest.raises(CodecError):
            encode(value)
