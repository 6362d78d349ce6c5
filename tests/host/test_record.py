"""A run as JSON, and as events that the log takes."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.event import MAX_DATA_BYTES
from eventlog.schemas import EventType, TypeRegistry
from host import run_events as events
from host.answer import Answer, Citation, ModelAnswer, Proposal, Step, Usage, WantedCall
from host.record import MOST_BYTES, answered, as_json, failed, finished, for_log, secrets_of, started, tool_called
from stoa.tools import ToolRef

SECRET = "sk-very-secret-key"
STEP = Step(ToolRef("x", "look"), {"query": SECRET, "api_key": "abc", "n": [1]}, "x-0", 0.01, False, "1 hit")
ANSWER = Answer(
    run_id="01RUN",
    task=f"Where is {SECRET}?",
    text="Here [1].",
    found=True,
    citations=(Citation(1, "d1", "Title", "a.md", "Here.", 0, 5),),
    steps=(STEP,),
    proposals=(Proposal("stoa call x.go", "why", ("id",)),),
    model="m",
    note="",
    usage=Usage(1, 20, 30, Decimal("0.0000001")),
)
ALL = (
    started(run_id="01RUN", task=ANSWER.task, model=None, servers=("x",), allow_writes=False),
    tool_called(1, STEP),
    answered(1, ModelAnswer("m", "text", (WantedCall("x.look", {"q": 1}),), 0.5, Usage(1, 2, 3, Decimal("0.1")))),
    finished(ANSWER, seconds=1.5),
    failed(code="fault", message="no", hint="", steps=0, seconds=0.0),
)
REGISTRY = TypeRegistry(EventType(name, schemas={1: schema}) for name, schema in events.SCHEMAS.items())


def test_json_holds_all_of_the_answer() -> None:
    values = as_json(ANSWER)
    assert values["run_id"] == "01RUN"
    assert values["citations"] == [
        {"number": 1, "document_id": "d1", "title": "Title", "source": "a.md", "passage": "Here.", "start": 0, "end": 5}
    ]
    assert values["usage"] == {"requests": 1, "input_tokens": 20, "output_tokens": 30, "cost_usd": "1E-7"}


@pytest.mark.parametrize(("type", "data"), ALL, ids=[type for type, _ in ALL])
def test_every_event_is_as_its_schema_says(type: str, data: dict[str, Any]) -> None:
    assert REGISTRY.check(type, None, for_log(data, (SECRET,))) == 1
    assert set(events.SCHEMAS) == {each for each, _ in ALL}


def test_no_secret_gets_into_an_event() -> None:
    text = json.dumps([for_log(data, (SECRET,)) for _, data in ALL])
    assert SECRET not in text
    assert '"api_key": "***"' in text
    assert '"query": "***"' in text
    assert '"input_tokens": 20' in text


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    environ = {"OPENAI_API_KEY": "sk-0123456789", "HOME": "/home/me", "MY_TOKEN": "short", "DB_PASSWORD": "long enough"}
    assert set(secrets_of(environ)) == {"sk-0123456789", "long enough"}


def test_what_is_no_json_becomes_text() -> None:
    arguments: Any = {"nan": float("nan"), "huge": 2**70, "half": "\ud800", "fine": [1.5, None, True, -(2**63)]}
    _, data = tool_called(1, Step(ToolRef("x", "y"), arguments, "x-0", 0.0, False, ""))
    kept: Any = for_log(data, ())["arguments"]
    assert kept == {"nan": "nan", "huge": str(2**70), "half": "?", "fine": [1.5, None, True, -(2**63)]}


BIG: list[Any] = [
    {"text": "x" * 3 * MAX_DATA_BYTES},
    {"umlauts": "ü" * MAX_DATA_BYTES},
    {"list": list(range(1_000_000))},
    {"n" * MAX_DATA_BYTES: 1},
    {str(number): "x" * 50 for number in range(100_000)},
    {"wide": [["x" * 100] * 200] * 200},
    {"wider": [{str(n): {str(m): "x" * 50 for m in range(60)} for n in range(60)} for _ in range(60)]},
]


@pytest.mark.parametrize("arguments", BIG, ids=lambda each: next(iter(each))[:10])
def test_arguments_that_are_too_big_are_cut_and_the_event_stays_what_its_schema_says(arguments: Any) -> None:
    type, data = tool_called(1, Step(ToolRef("x", "y"), arguments, "x-0", 0.0, False, "done"))
    kept = for_log(data, ())
    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= MOST_BYTES
    assert REGISTRY.check(type, None, kept) == 1
    assert kept["summary"] == "done"


def test_a_very_deep_argument_is_cut() -> None:
    deep: Any = {}
    for _ in range(150):
        deep = {"deeper": deep, "text": "x"}
    _, data = tool_called(1, Step(ToolRef("x", "y"), deep, "x-0", 0.0, False, ""))
    assert "more)" in json.dumps(for_log(data, ()))


def test_many_long_citations_are_shortened_and_stay_citations() -> None:
    many = tuple(Citation(n, "d", "T", "s", "long " * 20_000, 0, 5) for n in range(100))
    type, data = finished(
        Answer("1", "t", "x" * 2_000_000, True, many, (), (), None, "n"),
        seconds=0.0,
    )
    kept = for_log(data, ())
    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= MOST_BYTES
    assert REGISTRY.check(type, None, kept) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=10), json_values, max_size=5))
def test_whatever_arguments_there_are_the_event_is_one_that_the_log_takes(arguments: Any) -> None:
    type, data = tool_called(1, Step(ToolRef("x", "y"), arguments, "x-0", 0.0, False, ""))
    kept = for_log(data, ())
    json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()
    assert REGISTRY.check(type, None, kept) == 1
