"""The record of a run."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from host.answer import Answer, Citation, Proposal, Step, Usage
from host.transcript import record, secrets_of, write
from stoa.errors import StoaError
from stoa.tools import ToolRef

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANSWER = Answer(
    run_id="01RUN",
    task="Where is sk-very-secret-key?",
    text="Here [1].",
    found=True,
    citations=(Citation(1, "d1", "Title", "a.md", "Here.", 0, 5),),
    steps=(
        Step(
            ToolRef("x", "look"),
            {"query": "sk-very-secret-key", "api_key": "abc", "n": [1]},
            "x-0",
            0.01,
            False,
            "1 hit",
        ),
    ),
    proposals=(Proposal("stoa call x.go", "why", ("id",)),),
    model="m",
    note="",
    usage=Usage(1, 20, 30, Decimal("0.0001")),
)


def made(secrets: tuple[str, ...] = ("sk-very-secret-key",)) -> dict[str, object]:
    return dict(record(ANSWER, started_at=AT, finished_at=AT, secrets=secrets))


def test_a_record_holds_all_of_the_run() -> None:
    values = made(())
    assert values["run_id"] == "01RUN"
    assert values["citations"] == [
        {"number": 1, "document_id": "d1", "title": "Title", "source": "a.md", "passage": "Here.", "start": 0, "end": 5}
    ]
    assert values["usage"] == {"requests": 1, "input_tokens": 20, "output_tokens": 30, "cost_usd": "0.0001"}
    assert values["started_at"] == "2026-01-01T00:00:00+00:00"


def test_no_secret_gets_into_a_record() -> None:
    text = json.dumps(made())
    assert "sk-very-secret-key" not in text
    assert '"api_key": "***"' in text
    assert '"query": "***"' in text


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    environ = {"OPENAI_API_KEY": "sk-0123456789", "HOME": "/home/me", "MY_TOKEN": "short", "DB_PASSWORD": "long enough"}
    assert set(secrets_of(environ)) == {"sk-0123456789", "long enough"}


def test_a_record_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = write(record(ANSWER, started_at=AT, finished_at=AT, secrets=()), home=tmp_path / "home", run_id="01RUN")
    assert path == tmp_path / "home" / "runs" / "01RUN.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text("utf-8")) == made(())
    assert [each.name for each in path.parent.iterdir()] == ["01RUN.json"]


def test_a_home_that_cannot_hold_records_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way", "utf-8")
    with pytest.raises(StoaError, match="record of the run"):
        write({}, home=tmp_path, run_id="01RUN")
