"""`stoa events`: what is printed, how commands end, and who is asked before something is gone for good."""

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from eventlog.bus.dead_letters import DeadLetters
from eventlog.bus.message import Message
from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.open import open_log
from host.door import run_command
from host.session import BAD_INPUT, OK, TOOL_FAILED, UNAVAILABLE
from stoa.settings import Settings

Capture = pytest.CaptureFixture[str]
AT = datetime(2026, 1, 1, tzinfo=UTC)


def placed(number: int, **more: object) -> NewEvent:
    return NewEvent("order.placed", {"number": number, **more}, metadata=Metadata(correlation_id="c1"))


async def seed(home: Path) -> None:
    async with open_log(Settings.model_validate({"home": home})) as log:
        order = StreamId("default", "order-1")
        await log.append_to(
            order, [placed(1), placed(2, note="\x1b[31mred\u202e"), NewEvent("order.paid", {"paid": 1})]
        )
        await log.append_to(StreamId("acme", "order-1"), [placed(9)])
        await log.append_to(
            StreamId("default", "person-1"), [NewEvent("person.named", {"name": "Ada"}, subject="ada", occurred_at=AT)]
        )


@pytest.fixture
def seeded(home: Path) -> Path:
    anyio.run(seed, home)
    return home


@pytest.fixture
def told(seeded: Path, capsys: Capture) -> Callable[..., Any]:
    """The one JSON document of a command."""

    def ask(*words: str, code: int = OK) -> Any:
        assert run_command(["events", *words, "--json"]) == code
        captured = capsys.readouterr()
        assert captured.err in {"", "There is no such event.\n"}
        return json.loads(captured.out)

    return ask


def positions(document: Any) -> list[int]:
    return [each["position"] for each in document["events"]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), [1, 2, 3, 5]),
        (("-n", "2"), [3, 5]),
        (("-n", "0"), []),
        (("--type", "order.placed"), [1, 2]),
        (("--type", "order.*", "--type", "person.named"), [1, 2, 3, 5]),
        (("--stream", "person-"), [5]),
        (("--correlation", "c1"), [1, 2]),
        (("--tenant", "acme"), [4]),
        (("--all-tenants",), [1, 2, 3, 4, 5]),
        (("--tenant", "nobody"), []),
    ],
)
def test_the_newest_events_are_shown_of_the_tenant_that_is_meant(
    words: tuple[str, ...], found: list[int], told: Callable[..., Any]
) -> None:
    assert positions(told("tail", *words)) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), [1, 2, 3]),
        (("--from", "2"), [2, 3]),
        (("--to", "2"), [1, 2]),
        (("--backwards",), [3, 2, 1]),
        (("--limit", "1"), [1]),
        (("--from", "9"), []),
    ],
)
def test_a_stream_is_shown_as_far_as_it_is_asked_for(
    words: tuple[str, ...], found: list[int], told: Callable[..., Any], capsys: Capture
) -> None:
    if found == [1] or not found:  # what is left out is said beside
        assert run_command(["events", "show", "order-1", *words, "--json"]) == OK
        captured = capsys.readouterr()
        assert positions(json.loads(captured.out)) == found
        assert "--from 2" in captured.err or "it has 1 to 3" in captured.err
    else:
        assert positions(told("show", "order-1", *words)) == found


def test_a_tenants_stream_is_its_own(told: Callable[..., Any]) -> None:
    assert [each["data"] for each in told("show", "order-1", "--tenant", "acme")["events"]] == [{"number": 9}]
    assert told("show", "person-1", "--tenant", "acme", code=BAD_INPUT)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "words",
    [
        ("show", "order-7"),
        ("show", "no name"),
        ("show", "order-1", "--from", "3", "--to", "1"),
        ("state", "order-1", "--at", "99"),
        ("state", "order-1", "--at", "@99"),
        ("state", "order-1", "--at", "some day"),
        ("state", "order-1", "--at", "1", "--diff", "1", "2"),
        ("state",),
        ("state", "order-1", "--projection", "runs"),
        ("state", "--projection", "none-such"),
        ("replay", "--projection", "none-such"),
        ("tail", "--tenant", "a", "--all-tenants"),
        ("tail", "--type", "No Type"),
        ("projections", "--rebuild"),
        ("projections", "--pause"),
        ("projections", "runs", "--pause", "--rebuild"),
        ("projections", "none-such", "--resume"),
        ("projections", "none-such"),
        ("dead-letters", "--retry", "x", "--purge"),
        ("dead-letters", "--retry", "none-such"),
        ("dead-letters", "--subscription", "shipping", "--retry", "x"),
        ("dead-letters", "--subscription", "no name"),
        ("truncate", "order-7", "--before", "2", "--yes"),
        ("erase", "order-7", "--yes"),
        ("erase", "order-1", "--version", "99", "--yes"),
        ("import", "no-such-file"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused_in_one_block(words: tuple[str, ...], told: Callable[..., Any]) -> None:
    error = told(*words, code=BAD_INPUT)["error"]
    assert error["message"]
    assert error["code"] in {"bad_input", "not_found"}


def test_the_state_of_a_stream_is_that_of_the_moment(told: Callable[..., Any]) -> None:
    assert told("state", "order-1")["state"]["paid"] == 1
    assert told("state", "order-1", "--at", "1")["state"] == {"number": 1}
    assert told("state", "order-1", "--at", "@2")["state"]["number"] == 2
    assert told("state", "order-1", "--at", "2020-01-01")["state"] == {}
    assert told("state", "order-1", "--at", "now")["version"] == 3
    changes = told("state", "order-1", "--diff", "2", "3")["changes"]
    assert changes == [{"op": "add", "path": "/paid", "to": 1}]


def test_a_replay_shows_what_each_stream_adds_up_to_and_writes_nothing(told: Callable[..., Any]) -> None:
    found = told("replay", "--type", "order.*")
    assert (found["events"], set(found["documents"])) == (3, {"order-1"})
    assert told("replay", "--after", "2", "--until", "@3")["documents"] == {"order-1": {"paid": 1}}
    assert positions(told("tail")) == [1, 2, 3, 5]


def test_a_projection_is_built_and_then_serves(told: Callable[..., Any]) -> None:
    assert {each["state"] for each in told("projections")["projections"]} == {"new"}
    built = told("projections", "streams", "--rebuild")
    assert (built["position"], built["lag_events"]) == (5, 0)
    assert told("state", "--projection", "streams")["documents"]["order"]["events"] == 3
    assert told("state", "--projection", "streams", "--at", "1")["documents"]["order"]["events"] == 1


def test_a_projection_is_paused_until_it_is_resumed(told: Callable[..., Any]) -> None:
    told("projections", "streams", "--rebuild")
    assert told("projections", "streams", "--pause")["state"] == "paused"
    assert told("projections", "streams")["projections"][0]["state"] == "paused"
    assert told("projections", "streams", "--resume")["state"] != "paused"


def test_nothing_is_removed_without_consent(told: Callable[..., Any]) -> None:
    for words in (
        ("erase", "order-1"),
        ("truncate", "order-1", "--before", "2"),
        ("subjects", "erase", "ada"),
        ("dead-letters", "--purge"),
        ("dead-letters", "--subscription", "shipping", "--purge"),
    ):
        assert "--yes" in told(*words, code=BAD_INPUT)["error"]["hint"]
    assert positions(told("tail")) == [1, 2, 3, 5]


def test_a_stream_is_truncated_only_below_a_snapshot(told: Callable[..., Any]) -> None:
    assert told("truncate", "order-1", "--before", "3", "--yes", code=TOOL_FAILED)["error"]["code"] == "conflict"
    assert told("snapshot", "order-1")["version"] == 3
    assert told("truncate", "order-1", "--before", "3", "--yes")["events"] == 2
    assert told("state", "order-1")["state"]["number"] == 2
    found = told("verify")
    assert (found["is_sound"], found["truncated"], found["snapshots"]["good"]) == (True, 2, 0)
    assert found["snapshots"]["wrong"] == 0


def test_an_export_says_what_it_lacks_of_truncated_streams(
    told: Callable[..., Any], capsys: Capture, tmp_path: Path
) -> None:
    told("snapshot", "order-1")
    told("truncate", "order-1", "--before", "3", "--yes")
    for words, says in (((), True), (("--stream", "person-"), False), (("--tenant", "acme"), False)):
        assert run_command(["events", "export", str(tmp_path / f"{'-'.join(words)}.jsonl"), *words]) == OK
        assert ("1 stream of the log had been truncated" in " ".join(capsys.readouterr().err.split())) == says


def test_an_erased_event_stays_and_says_nothing_any_more(told: Callable[..., Any]) -> None:
    assert told("erase", "order-1", "--version", "2", "--yes")["events"] == 1
    found = told("show", "order-1")["events"]
    assert [each["is_erased"] for each in found] == [False, True, False]
    assert found[1]["data"] == {}
    assert told("verify")["is_sound"] is True


def test_a_person_gets_what_the_log_holds_and_is_forgotten(told: Callable[..., Any], seeded: Path) -> None:
    assert [each["data"] for each in told("subjects", "export", "ada")["events"]] == [{"name": "Ada"}]
    done = told("subjects", "erase", "ada", "--yes")
    assert (done["events"], done["had_key"]) == (1, True)
    assert told("show", "person-1")["events"][0]["is_erased"] is True
    assert told("verify")["is_sound"] is True


def test_a_log_that_was_changed_is_not_sound(told: Callable[..., Any], seeded: Path) -> None:
    with sqlite3.connect(seeded / "events.db") as database:
        database.execute("UPDATE event SET data = CAST('{\"number\":7}' AS BLOB) WHERE position = 2")
    database.close()
    found = told("verify", code=TOOL_FAILED)
    assert found["is_sound"] is False
    assert [each["position"] for each in found["problems"]] == [2]


def test_a_snapshot_that_is_not_what_the_events_add_up_to_is_not_sound(
    told: Callable[..., Any], seeded: Path, capsys: Capture
) -> None:
    told("snapshot", "order-1")
    assert told("verify")["snapshots"]["good"] == 1
    with sqlite3.connect(seeded / "events.db") as database:
        database.execute("UPDATE snapshot SET state = zeroblob(40)")
    database.close()
    found = told("verify", code=TOOL_FAILED)
    assert (found["is_sound"], found["problems"], found["snapshots"]["wrong"]) == (False, [], 1)
    assert run_command(["events", "verify"]) == TOOL_FAILED
    shown = capsys.readouterr().out
    assert "not sound" in shown
    assert "order-1" in shown
    assert "1 wrong" in shown


def test_what_a_subscriber_of_the_bus_gave_up_is_listed_and_purged(
    told: Callable[..., Any], seeded: Path, capsys: Capture
) -> None:
    async def fail(tenant: str) -> None:
        async with open_log(Settings.model_validate({"home": seeded})) as log:
            (event,) = await log.read_stream(StreamId(tenant, "order-1"), limit=1)
            dead = DeadLetters(log)
            await dead.record("shipping", Message.of(event), reason="no van\x1b[2J", attempts=3)
            await dead.record_unreadable("shipping", tenant, digest="d", reason="no JSON", attempts=1)

    anyio.run(fail, "default")
    anyio.run(fail, "acme")
    mine = ("dead-letters", "--subscription", "shipping")
    assert [each["reason"] for each in told(*mine)["dead_letters"]] == ["no van\x1b[2J", "no JSON"]
    assert run_command(["events", *mine]) == OK
    shown = capsys.readouterr().out
    assert "order.placed  order-1 v1  @1" in shown
    assert "3 attempts" in shown
    assert "\x1b" not in shown
    assert len(told(*mine, "--purge", "--yes")["purged"]) == 2
    assert run_command(["events", *mine]) == OK
    assert "none" in capsys.readouterr().err
    assert len(told(*mine, "--tenant", "acme")["dead_letters"]) == 2


def test_the_relay_to_a_broker_is_among_the_projections(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {each["name"] for each in told("projections")["projections"]}
    monkeypatch.setenv("STOA_BUS_URL", "nats://127.0.0.1:1")  # nobody is there: to be told of, it need not be
    assert {each["name"] for each in told("projections")["projections"]} == {*before, "bus_relay"}
    assert told("projections", "bus_relay")["projections"][0]["kind"] == "sink"


def test_who_reads_that_a_projection_lags_reads_what_brings_it_on(seeded: Path, capsys: Capture) -> None:
    assert run_command(["events", "projections", "streams"]) == OK
    assert "--rebuild" in capsys.readouterr().err
    assert run_command(["events", "projections", "streams", "--rebuild"]) == OK
    capsys.readouterr()
    assert run_command(["events", "projections", "streams"]) == OK
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_dash_is_no_file(seeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["events", command, "-"]) == BAD_INPUT
    assert not (tmp_path / "-").exists()


def test_people_read_escaped_lines(seeded: Path, capsys: Capture) -> None:
    assert run_command(["events", "tail"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "\\u001b[31mred\\u202e" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_an_empty_log_is_no_failure(capsys: Capture) -> None:
    for words, said in (
        (["events", "tail"], "no event in the log yet"),
        (["events", "verify"], ""),
        (["events", "dead-letters"], "none"),
        (["runs", "list"], "no run in the log yet"),
    ):
        assert run_command(words) == OK
        assert said in capsys.readouterr().err
    assert run_command(["runs", "show"]) == BAD_INPUT


@pytest.mark.slow
def test_a_database_that_is_away_is_unavailable_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("STOA_DATABASE_URL", "postgresql://stoa:very-secret-word@127.0.0.1:1/log")
    assert run_command(["events", "tail"]) == UNAVAILABLE
    assert run_command(["doctor", "--json"]) == BAD_INPUT
    captured = capsys.readouterr()
    assert "very-secret-word" not in captured.out + captured.err
    checks = {each["what"]: each for each in json.loads(captured.out)["checks"]}
    assert checks["Event log"]["verdict"] == "bad"
    assert checks["STOA_DATABASE_URL"]["found"] == "set (127.0.0.1:1/log)"


@pytest.mark.parametrize(
    ("words", "named"),
    [("events", ("tail", "verify")), ("runs", ("list", "show")), ("events subjects", ("export", "erase"))],
)
def test_a_group_alone_says_what_is_in_it(words: str, named: tuple[str, ...], capsys: Capture) -> None:
    assert run_command(words.split()) == OK
    out = capsys.readouterr().out
    assert all(name in out for name in named)
