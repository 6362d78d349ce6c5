"""`stoa events` on a log in PostgreSQL: everything that looks, keeps and carries, and the way back into a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from eventlog.database import Statement
from eventlog.event import NewEvent, StreamId
from eventlog.open import open_log
from host.door import run_command
from host.session import OK, TOOL_FAILED
from stoa.settings import Settings
from tests.fakes.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]

Capture = pytest.CaptureFixture[str]


async def seed(home: Path, url: str) -> None:
    async with open_log(Settings.model_validate({"home": home, "database_url": url})) as log:
        order = StreamId("default", "order-1")
        await log.append_to(order, [NewEvent("order.placed", {"n": number}) for number in range(1, 6)])
        await log.append_to(StreamId("default", "order-2"), [NewEvent("order.placed", {"n": 7})])
        await log.append_to(StreamId("acme", "order-1"), [NewEvent("order.placed", {"secret": "acme's"})])
        person = [NewEvent("person.named", {"name": "Ada"}, subject="ada")]
        await log.append_to(StreamId("default", "person-1"), person)


@pytest.fixture
def told(home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Callable[..., Any]:
    """The one JSON document of a command."""
    anyio.run(seed, home, postgres_url)
    monkeypatch.setenv("STOA_DATABASE_URL", postgres_url)

    def ask(*words: str, code: int = OK) -> Any:
        assert run_command(["events", *words, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return ask


def test_the_log_is_looked_into(told: Callable[..., Any], home: Path) -> None:
    assert [each["position"] for each in told("tail", "-n", "3")["events"]] == [5, 6, 8]
    assert [each["version"] for each in told("show", "order-1", "--backwards", "--to", "2")["events"]] == [2, 1]
    assert told("state", "order-1", "--at", "@3")["state"] == {"n": 3}
    assert told("state", "order-1", "--diff", "1", "now")["changes"] == [
        {"op": "replace", "path": "/n", "from": 1, "to": 5}
    ]
    assert told("replay", "--type", "order.*")["documents"] == {"order-1": {"n": 5}, "order-2": {"n": 7}}
    assert told("projections", "streams", "--rebuild")["lag_events"] == 0
    assert told("state", "--projection", "streams")["documents"]["order"]["events"] == 6
    assert not (home / "events.db").exists()


def test_the_log_is_kept_and_what_is_damaged_is_named(told: Callable[..., Any], home: Path, postgres_url: str) -> None:
    assert told("snapshot", "order-1")["version"] == 5
    assert told("verify")["snapshots"]["good"] == 1
    assert told("truncate", "order-1", "--before", "4", "--yes")["events"] == 3
    assert told("erase", "order-2", "--yes")["events"] == 1
    assert told("subjects", "erase", "ada", "--yes")["events"] == 1
    found = told("verify")
    assert (found["is_sound"], found["truncated"], found["erased"]) == (True, 3, 2)

    async def damage() -> None:
        async with open_log(Settings.model_validate({"home": home, "database_url": postgres_url})) as log:
            await log.database.write(Statement("UPDATE event SET data = $1 WHERE position = 7", [(b'{"secret":1}',)]))

    anyio.run(damage)
    assert [each["position"] for each in told("verify", code=TOOL_FAILED)["problems"]] == [7]


def test_it_is_carried_into_a_file_and_from_there_into_another_log(
    told: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "log.jsonl")
    assert told("export", file, "--all-tenants")["events"] == 8
    monkeypatch.delenv("STOA_DATABASE_URL")
    assert told("import", file, "--all-tenants")["events"] == 8
    assert told("import", file, "--all-tenants")["events"] == 0
    assert told("state", "order-1")["state"] == {"n": 5}
    assert told("verify")["is_sound"] is True
