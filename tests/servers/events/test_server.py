"""The events server as a client sees it, in one process: what its tools and resources say."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from servers.events.settings import EventsSettings
from stoa.errors import BadInput
from stoa.principal import Principal
from tests.servers.events.stage import ADA, ADMIN, BOB, READER, as_meta, call, event, fail, serving

READ_ONLY = {
    "read_stream",
    "query_events",
    "state_at",
    "replay",
    "describe_event_type",
    "list_projections",
    "list_dead_letters",
    "export_subject",
}
DESTRUCTIVE = {"purge_dead_letters", "erase_subject"}
WRITING = {"append_events", "create_snapshot", "rebuild_projection", "retry_dead_letter"}


async def test_every_tool_says_what_it_does_and_every_argument_has_an_example(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == READ_ONLY | DESTRUCTIVE | WRITING
    for name, tool in tools.items():
        assert tool.title
        assert tool.description
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (name in READ_ONLY)
        assert tool.annotations.destructive_hint is (name in DESTRUCTIVE)
        assert tool.annotations.idempotent_hint is (name != "append_events")
        assert tool.annotations.open_world_hint is False
        properties: Mapping[str, Mapping[str, Any]] = tool.input_schema["properties"]
        for argument, described in properties.items():
            says = str(described.get("description", ""))
            assert argument in ("detail", "order") or "e.g. " in says, f"{name}.{argument}"


async def test_events_are_read_back_as_they_were_appended(client: Client) -> None:
    placed = event(
        "order.placed",
        data={"amount": "129.90", "lines": [1, 2.5, None, True, "ä"]},
        occurred_at="2026-05-01T09:30:00+02:00",
        correlation_id="checkout-77",
        causation_id="call-1",
        tags=["import"],
    )
    done = await call(client, "append_events", stream="order-1", events=[placed, event("order.paid")])
    assert (done["first_version"], done["version"], done["is_repeat"]) == (1, 2, False)
    page = await call(client, "read_stream", stream="order-1", detail="full")
    assert (page["stream_version"], page["first_version"], page["next_cursor"]) == (2, 1, None)
    first, second = page["events"]
    assert first["data"] == placed["data"]
    assert datetime.fromisoformat(first["occurred_at"]) == datetime(2026, 5, 1, 7, 30, tzinfo=UTC)
    assert (first["correlation_id"], first["causation_id"]) == ("checkout-77", "call-1")
    assert first["metadata"]["tags"] == ["import"]
    assert [first["event_id"], second["event_id"]] == done["event_ids"]
    assert (second["version"], second["event_type"]) == (2, "order.paid")


async def test_who_appends_and_from_where_is_stamped_by_the_server(client: Client) -> None:
    await call(client, "append_events", ADA, stream="order-1", events=[event()])
    (stored,) = (await call(client, "read_stream", ADA, stream="order-1", detail="full"))["events"]
    assert (stored["principal"], stored["metadata"]["source"]) == ("ada", "events")
    for forged in ("principal", "source", "metadata", "tenant", "position", "recorded_at"):
        said = await fail(client, "append_events", ADA, stream="order-1", events=[event(**{forged: "eve"})])
        assert said["code"] == "bad_input"
        assert forged in said["message"]


async def test_an_event_carries_the_trace_of_the_call_that_appended_it(client: Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    meta: Any = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await client.call_tool("append_events", {"stream": "order-1", "events": [event()]}, meta=meta)
    await call(client, "append_events", stream="order-1", events=[event()])
    traced, untraced = (await call(client, "read_stream", stream="order-1", detail="full"))["events"]
    assert traced["metadata"]["traceparent"].split("-")[1] == trace
    assert untraced["metadata"]["traceparent"] is None


async def test_a_stream_that_has_gone_on_is_a_conflict_that_names_its_version(client: Client) -> None:
    await call(client, "append_events", stream="order-1", events=[event(), event()], expected_version=0)
    for expected in (0, 1, 3):
        said = await fail(client, "append_events", None, stream="order-1", events=[event()], expected_version=expected)
        assert said["code"] == "conflict"
        assert said["message"].startswith("The stream 'order-1' is at version 2; it was expected ")
        assert said["hint"] == "Read the stream again and decide again."
    said = await fail(client, "append_events", None, stream="order-2", events=[event()], expected_version=1)
    assert "'order-2' does not exist" in said["message"]
    assert (await call(client, "read_stream", stream="order-1"))["stream_version"] == 2


async def test_the_same_request_with_the_same_key_gets_the_first_answer(home: Path) -> None:
    request = {
        "stream": "order-1",
        "events": [event(data={"n": 1}), event(data={"n": 2})],
        "idempotency_key": "checkout",
        "expected_version": 0,
    }
    async with serving(home) as client:
        first = await call(client, "append_events", **request)
        await call(client, "append_events", stream="order-1", events=[event("order.paid")])
        again = await call(client, "append_events", **request)
        assert again == {**first, "is_repeat": True}
    async with serving(home) as client:  # another process, later
        assert await call(client, "append_events", **request) == again
        assert (await call(client, "read_stream", stream="order-1"))["stream_version"] == 3


@pytest.mark.parametrize(
    "events",
    [
        [event(data={"n": 1})],
        [event(data={"n": 1}), event(data={"n": 3})],
        [event(data={"n": 1}), event("order.paid", data={"n": 2})],
        [event(data={"n": 1}), event(data={"n": 2}), event(data={"n": 3})],
    ],
)
async def test_a_key_belongs_to_one_request(client: Client, events: list[dict[str, object]]) -> None:
    first = [event(data={"n": 1}), event(data={"n": 2})]
    await call(client, "append_events", stream="order-1", events=first, idempotency_key="checkout")
    said = await fail(client, "append_events", None, stream="order-1", events=events, idempotency_key="checkout")
    assert said["code"] == "conflict"
    assert (await call(client, "read_stream", stream="order-1"))["stream_version"] == 2


async def test_keys_of_different_tenants_and_streams_are_different_keys(client: Client) -> None:
    for principal, stream in ((ADA, "order-1"), (ADA, "order-2"), (BOB, "order-1")):
        done = await call(client, "append_events", principal, stream=stream, events=[event()], idempotency_key="one")
        assert not done["is_repeat"]


async def test_the_same_event_id_is_appended_once(client: Client) -> None:
    id = "0192f0c1-7c1e-7d3a-9a51-3f0e8b6f2c11"
    first = await call(client, "append_events", ADA, stream="order-1", events=[event(event_id=id)])
    assert await call(client, "append_events", ADA, stream="order-1", events=[event(event_id=id)]) == {
        **first,
        "is_repeat": True,
    }
    said = await fail(client, "append_events", BOB, stream="order-1", events=[event(event_id=id)])
    assert said["code"] == "conflict"
    assert "tenant-a" not in str(said)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"stream": "order", "events": [event()]}, "'order'"),
        ({"stream": "Order-1", "events": [event()]}, "'Order-1'"),
        ({"stream": "order-1/2", "events": [event()]}, "'order-1/2'"),
        ({"stream": "order-1", "events": []}, "events"),
        ({"stream": "order-1", "events": [event("placed")]}, "'placed'"),
        ({"stream": "order-1", "events": [{"type": "order.placed"}]}, "events.0.data"),
        ({"stream": "order-1", "events": [event(data=[1])]}, "events.0.data"),
        ({"stream": "order-1", "events": [event(event_id="seven")]}, "'seven'"),
        ({"stream": "order-1", "events": [event(occurred_at="2026-05-01T09:30:00")]}, "events.0.occurred_at"),
        ({"stream": "order-1", "events": [event(occurred_at="yesterday")]}, "events.0.occurred_at"),
        ({"stream": "order-1", "events": [event(schema_version=0)]}, "events.0.schema_version"),
        ({"stream": "order-1", "events": [event(data={"n": 2**70})]}, "$.n"),
        ({"stream": "order-1", "events": [event(correlation_id="two\nlines")]}, "correlation_id"),
        ({"stream": "order-1", "events": [event()], "expected_version": -1}, "expected_version"),
        ({"stream": "order-1", "events": [event()] * 1001}, "events"),
        ({"stream": "order-1", "events": [event(event_id="0192f0c1-7c1e-7d3a-9a51-3f0e8b6f2c11")] * 2}, "twice"),
        (
            {
                "stream": "order-1",
                "events": [event(event_id="0192f0c1-7c1e-7d3a-9a51-3f0e8b6f2c11")],
                "idempotency_key": "k",
            },
            "idempotency_key",
        ),
        ({"stream": "order-1", "events": [event(data={"big": "x" * 2**20})]}, "1,048,"),
        ({"stream": "order-1", "events": [event(), event("order.x", data={"a": [[[[0]]] * 3], "b": 2**70})]}, "$.b"),
    ],
)
async def test_a_malformed_event_is_refused_by_name_and_nothing_is_written(
    client: Client, arguments: dict[str, object], named: str
) -> None:
    said = await fail(client, "append_events", None, **arguments)
    assert said["code"] == "bad_input"
    assert named in said["message"]
    assert said["hint"]
    assert (await call(client, "query_events"))["events"] == []


async def test_data_deeper_than_the_limit_is_refused(client: Client) -> None:
    deep: dict[str, object] = {}
    for _ in range(101):
        deep = {"a": deep}
    said = await fail(client, "append_events", None, stream="order-1", events=[event(data=deep)])
    assert said["code"] == "bad_input"
    assert "levels deep" in said["message"] or "deep" in said["hint"]


@pytest.mark.parametrize(
    ("stream", "type"),
    [
        ("run-1", "order.placed"),
        ("order-1", "run.finished"),
        ("log-erasures", "log.erased"),
        ("order-1", "log.erased"),
        ("bus-x", "bus.dead_lettered"),
        ("document-1", "document.ingested"),
        ("order-1", "secret.told"),
    ],
)
async def test_stoas_own_records_cannot_be_forged(home: Path, stream: str, type: str) -> None:
    async with serving(home, reserved="secret, vault") as client:
        said = await fail(client, "append_events", ADMIN, stream=stream, events=[event(), event(type)])
        assert said["code"] == "denied"
        assert "Stoa's own records" in said["message"]
        assert (await call(client, "query_events", ADMIN))["events"] == []


async def test_an_unknown_stream_is_not_found(client: Client) -> None:
    said = await fail(client, "read_stream", None, stream="order-404")
    assert (said["code"], said["message"]) == ("not_found", "There is no stream 'order-404'.")


async def test_streams_are_paged_in_both_directions(client: Client) -> None:
    await call(client, "append_events", stream="order-1", events=[event(data={"n": n}) for n in range(1, 8)])
    for backwards, expected in ((False, [2, 3, 4, 5, 6]), (True, [6, 5, 4, 3, 2])):
        seen: list[int] = []
        cursor: str | None = None
        while cursor is not None or not seen:
            page = await call(
                client,
                "read_stream",
                stream="order-1",
                from_version=2,
                to_version=6,
                backwards=backwards,
                limit=2,
                cursor=cursor,
            )
            seen += [each["version"] for each in page["events"]]
            cursor = page["next_cursor"]
        assert seen == expected
    said = await fail(client, "read_stream", None, stream="order-1", from_version=5, to_version=2)
    assert "to_version 2 is less than from_version 5" in said["message"]
    assert (await call(client, "read_stream", stream="order-1", from_version=99))["events"] == []


async def test_events_are_found_by_type_stream_correlation_and_time(client: Client) -> None:
    for number in range(3):
        for type in ("order.placed", "order.paid", "invoice.sent"):
            kind = type.partition(".")[0]
            await call(
                client,
                "append_events",
                stream=f"{kind}-{number}",
                events=[event(type, correlation_id=f"checkout-{number}")],
            )

    async def found(**arguments: object) -> list[str]:
        events: list[dict[str, Any]] = []
        cursor: str | None = None
        while cursor is not None or not events:
            page = await call(client, "query_events", limit=2, cursor=cursor, **arguments)
            events += page["events"]
            cursor = page["next_cursor"]
            if not page["events"]:
                break
        return [f"{each['stream']} {each['event_type']}" for each in events]

    assert len(await found()) == 9
    assert await found(order="oldest_first", types=["order.paid"]) == [f"order-{n} order.paid" for n in range(3)]
    assert await found(types=["order.paid"]) == [f"order-{n} order.paid" for n in (2, 1, 0)]
    assert len(await found(types=["order.*"])) == 6
    assert len(await found(types=["order.*", "invoice.sent"])) == 9
    assert len(await found(stream_prefix="invoice-")) == 3
    assert sorted(await found(correlation_id="checkout-1")) == [
        "invoice-1 invoice.sent",
        "order-1 order.paid",
        "order-1 order.placed",
    ]
    now = datetime.now(UTC)
    assert len(await found(since=(now - timedelta(hours=1)).isoformat())) == 9
    assert await found(since=(now + timedelta(hours=1)).isoformat()) == []
    assert await found(until=(now - timedelta(hours=1)).isoformat()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"since": "2026-06-01T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, "time range is empty"),
        ({"since": "2026-06-01T00:00:00Z", "until": "2026-06-01T02:00:00+02:00"}, "time range is empty"),
        ({"since": "2026-06-01T00:00:00"}, "'since'"),
        ({"until": "soon"}, "'until'"),
        ({"types": ["Order.Placed"]}, "'Order.Placed'"),
        ({"types": ["*.placed"]}, "'*.placed'"),
        ({"types": ["order.placed"] * 21}, "'types'"),
        ({"stream_prefix": ""}, "''"),
        ({"limit": 51}, "'limit'"),
        ({"limit": 0}, "'limit'"),
        ({"order": "sideways"}, "'order'"),
        ({"detail": "everything"}, "'detail'"),
        ({"cursor": "made-up"}, "cursor"),
        ({"tenant": "tenant-b"}, "'tenant'"),
    ],
)
async def test_questions_that_make_no_sense_are_refused_by_name(
    client: Client, arguments: dict[str, object], named: str
) -> None:
    said = await fail(client, "query_events", None, **arguments)
    assert said["code"] == "bad_input"
    assert named in said["message"]
    assert said["hint"]


async def test_a_cursor_serves_its_own_question_and_tenant_only(client: Client) -> None:
    for principal in (ADA, BOB):
        await call(client, "append_events", principal, stream="order-1", events=[event() for _ in range(4)])
    queried = (await call(client, "query_events", ADA, limit=1, types=["order.*"]))["next_cursor"]
    read = (await call(client, "read_stream", ADA, limit=1, stream="order-1"))["next_cursor"]
    assert (await call(client, "query_events", ADA, limit=2, types=["order.*"], cursor=queried))["events"]
    for tool, principal, arguments in (
        ("query_events", ADA, {"cursor": queried}),
        ("query_events", ADA, {"types": ["order.placed"], "cursor": queried}),
        ("query_events", ADA, {"types": ["order.*"], "order": "oldest_first", "cursor": queried}),
        ("query_events", ADA, {"types": ["order.*"], "cursor": read}),
        ("query_events", BOB, {"types": ["order.*"], "cursor": queried}),
        ("read_stream", ADA, {"stream": "order-1", "cursor": queried}),
        ("read_stream", ADA, {"stream": "order-1", "backwards": True, "cursor": read}),
        ("read_stream", BOB, {"stream": "order-1", "cursor": read}),
    ):
        said = await fail(client, tool, principal, **arguments)
        assert said["code"] == "bad_input", arguments
        assert said["message"] in (
            "The cursor belongs to another question.",
            "The cursor does not belong to this listing.",
        )


async def test_long_data_is_cut_in_brief_answers_and_pages_are_bounded(client: Client) -> None:
    big = {"text": "ä" * 400_000}
    for _ in range(5):
        await call(client, "append_events", stream="order-1", events=[event(data=big)])
    brief = await call(client, "read_stream", stream="order-1")
    assert len(brief["events"]) == 5
    assert all(each["data"] is None and each["data_preview"].endswith("…") for each in brief["events"])
    seen: list[int] = []
    cursor: str | None = None
    while cursor is not None or not seen:
        result = await client.call_tool("read_stream", {"stream": "order-1", "detail": "full", "cursor": cursor})
        page: Any = result.structured_content
        assert 0 < len(page["events"]) < 5
        assert all(each["data"] == big for each in page["events"])
        assert isinstance(result.content[0], types.TextContent)
        assert len(result.content[0].text) < 5_000
        seen += [each["version"] for each in page["events"]]
        cursor = page["next_cursor"]
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.slow
async def test_a_page_that_the_log_cuts_for_its_size_is_not_the_last(client: Client) -> None:
    big = {"text": "x" * 1_000_000}
    for _ in range(4):
        await call(client, "append_events", stream="order-1", events=[event(data=big) for _ in range(10)])
    for tool, arguments in (("read_stream", {"stream": "order-1"}), ("query_events", {})):
        seen: list[int] = []
        cursor: str | None = None
        while cursor is not None or not seen:
            page = await call(client, tool, limit=50, cursor=cursor, **arguments)
            seen += [each["version"] for each in page["events"]]
            cursor = page["next_cursor"]
        assert sorted(seen) == list(range(1, 41))


async def test_scopes_are_asked_for(client: Client) -> None:
    await call(client, "append_events", ADA, stream="order-1", events=[event()])
    assert (await call(client, "read_stream", READER, stream="order-1"))["events"]
    for principal, tool, arguments in (
        (READER, "append_events", {"stream": "order-1", "events": [event()]}),
        (READER, "create_snapshot", {"stream": "order-1"}),
        (ADA, "rebuild_projection", {"name": "streams"}),
        (ADA, "retry_dead_letter", {"projection": "streams", "id": "x"}),
        (ADA, "purge_dead_letters", {"projection": "streams"}),
        (ADA, "export_subject", {"subject": "customer-1"}),
        (ADA, "erase_subject", {"subject": "customer-1"}),
        (ADA, "state_at", {"stream": "order-1", "at_position": 1}),
        (ADA, "replay", {"projection": "streams", "after_position": 1}),
        (Principal("will", "tenant-a", scopes=frozenset({"events:append"})), "read_stream", {"stream": "order-1"}),
    ):
        said = await fail(client, tool, principal, **arguments)
        assert said["code"] == "denied", (tool, said)


async def test_no_tool_and_no_resource_shows_what_another_tenant_has(client: Client) -> None:
    secret = event("secret.kept", data={"word": "colonnade"}, correlation_id="c-1", subject="customer-1")
    await call(client, "append_events", ADA, stream="secret-1", events=[secret])
    await call(client, "append_events", BOB, stream="order-1", events=[event()])
    bob_admin = Principal("bea", "tenant-b", scopes=frozenset({"events:*"}))
    for tool, arguments in (
        ("read_stream", {"stream": "secret-1"}),
        ("state_at", {"stream": "secret-1"}),
        ("create_snapshot", {"stream": "secret-1"}),
        ("describe_event_type", {"type": "secret.kept"}),
    ):
        assert (await fail(client, tool, bob_admin, **arguments))["code"] == "not_found", tool
    for tool, arguments in (
        ("query_events", {}),
        ("query_events", {"correlation_id": "c-1"}),
        ("query_events", {"types": ["secret.*"]}),
        ("query_events", {"stream_prefix": "secret-"}),
        ("describe_event_type", {}),
        ("list_projections", {}),
        ("list_dead_letters", {}),
        ("export_subject", {"subject": "customer-1"}),
        ("erase_subject", {"subject": "customer-1"}),
        ("state_at", {"projection": "streams"}),
        ("replay", {"projection": "streams"}),
    ):
        said = json.dumps(await call(client, tool, bob_admin, **arguments))
        assert "secret" not in said, tool
        assert "colonnade" not in said, tool
    for uri in ("events://stream/secret-1", "events://type/secret.kept"):
        with pytest.raises(MCPError):
            await client.read_resource(uri, meta=as_meta(bob_admin), cache_mode="bypass")
    shown = await client.read_resource("events://projection/streams", meta=as_meta(bob_admin), cache_mode="bypass")
    assert "secret" not in str(shown)
    (kept,) = (await call(client, "read_stream", ADA, stream="secret-1"))["events"]
    assert kept["data"] == secret["data"]


async def test_only_callers_with_admin_learn_how_much_all_tenants_write(client: Client) -> None:
    for principal in (BOB, ADA):
        done = await call(client, "append_events", principal, stream="order-1", events=[event(), event()])
        assert done["position"] is None
    for tool, arguments in (
        ("read_stream", {"stream": "order-1", "detail": "full"}),
        ("query_events", {"detail": "full"}),
        ("list_projections", {}),
        ("state_at", {"projection": "streams"}),
        ("replay", {"projection": "streams"}),
    ):
        said: Any = await call(client, tool, ADA, **arguments)
        assert _positions(said) == set(), tool
    for uri in ("events://stream/order-1", "events://projection/streams", "events://type/order.placed"):
        (shown,) = (await client.read_resource(uri, meta=as_meta(ADA), cache_mode="bypass")).contents
        assert isinstance(shown, types.TextResourceContents)
        assert _positions(json.loads(shown.text)) == set(), uri
    newest = (await call(client, "read_stream", ADMIN, stream="order-1", backwards=True))["events"][0]
    assert newest["position"] == 4
    assert (await call(client, "list_projections", ADMIN))["projections"][0]["position"] is not None


def _positions(value: Any) -> set[Any]:
    if isinstance(value, list):
        return set[Any]().union(*(_positions(each) for each in value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - raw JSON
    if isinstance(value, dict):
        own = {each for name, each in value.items() if ("position" in name or "lag" in name) and each is not None}  # pyright: ignore[reportUnknownVariableType, reportOperatorIssue, reportUnknownArgumentType]
        return own.union(*(_positions(each) for each in value.values()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return set()


async def test_a_stream_is_a_resource_under_its_encoded_name(client: Client) -> None:
    await call(client, "append_events", stream="order-ä:1&2", events=[event(data={"n": n}) for n in range(60)])
    for address in ("events://stream/order-%C3%A4%3A1%262", "events://stream/order-ä:1&2"):
        (shown,) = (await client.read_resource(address)).contents
        assert isinstance(shown, types.TextResourceContents)
        assert shown.mime_type == "application/json"
        said = json.loads(shown.text)
        assert (said["stream"], said["version"]) == ("order-ä:1&2", 60)
        assert [each["version"] for each in said["events"]] == list(range(11, 61))
    for wrong in ("events://stream/order-404", "events://projection/none", "events://type/order.none"):
        with pytest.raises(MCPError) as caught:
            await client.read_resource(wrong)
        assert caught.value.error.code == types.INVALID_PARAMS


async def test_names_of_streams_projections_and_types_complete(client: Client) -> None:
    for number in range(120):
        await call(client, "append_events", ADA, stream=f"order-{number:03}", events=[event()])
    await call(client, "append_events", BOB, stream="order-bob", events=[event("order.bobbed")])

    async def complete(
        reference: types.ResourceTemplateReference | types.PromptReference, name: str, typed: str
    ) -> Any:
        params = types.CompleteRequestParams(
            ref=reference, argument=types.CompletionArgument(name=name, value=typed), _meta=as_meta(ADA)
        )
        result = await client.session.send_request(types.CompleteRequest(params=params), types.CompleteResult)
        return result.completion

    stream = types.ResourceTemplateReference(type="ref/resource", uri="events://stream/{id}")
    found = await complete(stream, "id", "order-")
    assert (len(found.values), found.has_more) == (100, True)
    assert (await complete(stream, "id", "order-11")).values == [f"order-{n}" for n in range(110, 120)]
    assert (await complete(stream, "id", "order-bob")).values == []
    kind = types.ResourceTemplateReference(type="ref/resource", uri="events://type/{name}")
    assert (await complete(kind, "name", "order.")).values == ["order.placed"]
    projection = types.ResourceTemplateReference(type="ref/resource", uri="events://projection/{name}")
    assert (await complete(projection, "name", "str")).values == ["streams"]
    prompt = types.PromptReference(type="ref/prompt", name="explain_what_happened")
    assert (await complete(prompt, "to", "order-00")).values == [f"order-{n:03}" for n in range(10)]


async def test_prompts_carry_what_they_are_about(client: Client) -> None:
    for name, arguments in (
        ("explain_what_happened", {"to": "order-1001"}),
        ("explain_run", {"run_id": "01J8"}),
        ("compare_two_moments", {"stream": "order-1001", "since": "yesterday"}),
        ("mend_dead_letters", {"projection": "streams"}),
    ):
        message = (await client.get_prompt(name, arguments)).messages[0].content
        assert isinstance(message, types.TextContent)
        assert all(value in message.text for value in arguments.values())


async def test_a_person_is_exported_and_forgotten(client: Client) -> None:
    named = [event("customer.named", data={"name": f"Zoe {n}"}, subject="customer-17") for n in range(12)]
    await call(client, "append_events", ADMIN, stream="customer-17", events=[event("customer.came"), *named])
    exported: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not exported:
        page = await call(client, "export_subject", ADMIN, subject="customer-17", limit=5, cursor=cursor)
        exported += page["events"]
        cursor = page["next_cursor"]
    assert [each["data"]["name"] for each in exported] == [f"Zoe {n}" for n in range(12)]
    done = await call(client, "erase_subject", ADMIN, subject="customer-17")
    assert (done["events"], done["streams"], done["was_known"]) == (12, 1, True)
    assert (await call(client, "export_subject", ADMIN, subject="customer-17"))["events"] == []
    page = await call(client, "read_stream", ADMIN, stream="customer-17", limit=50)
    assert [each["is_erased"] for each in page["events"]] == [False] + [True] * 12
    assert "Zoe" not in json.dumps(page)
    again = await call(client, "erase_subject", ADMIN, subject="customer-17")
    assert (again["events"], again["was_known"]) == (0, False)


async def test_a_type_says_what_reads_it_and_who_may_write_it(client: Client) -> None:
    await call(client, "append_events", stream="order-1", events=[event()])
    said = await call(client, "describe_event_type", type="order.placed")
    assert (said["is_described"], said["is_used"], said["is_reserved"]) == (False, True, False)
    assert said["read_by"] == ["streams"]
    assert (await fail(client, "describe_event_type", None, type="order.none"))["code"] == "not_found"
    assert (await fail(client, "describe_event_type", None, type="Nonsense"))["code"] == "bad_input"
    names: list[str] = []
    cursor: str | None = None
    while cursor is not None or not names:
        page = await call(client, "describe_event_type", limit=1, cursor=cursor)
        names += [each["event_type"] for each in page["types"]]
        cursor = page["next_cursor"]
    assert "order.placed" in names
    assert names == sorted(set(names))


def spoil(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 500)


async def test_a_log_that_cannot_be_opened_is_told_by_each_tool_and_the_server_lives(home: Path) -> None:
    path = home / "events.db"
    spoil(path)
    async with serving(home) as client:
        assert len((await client.list_tools()).tools) == 14
        for _ in range(2):
            said = await fail(client, "query_events", None)
            assert said["code"] in {"bad_input", "fault"}
            assert str(path) in said["message"]
        path.unlink()
        assert (await call(client, "query_events"))["events"] == []


def test_a_wrong_or_unknown_setting_is_named() -> None:
    with pytest.raises(BadInput, match="STOA_EVENTS_START_SECONDS"):
        EventsSettings.load({"STOA_EVENTS_START_SECONDS": "soon"})
    with pytest.raises(BadInput, match="STOA_EVENTS_PROJECTIONS"):
        EventsSettings.load({"STOA_EVENTS_PROJECTION": "1"})
    assert EventsSettings.load({"STOA_EVENTS_RESERVED": "vault, secret"}).reserved == ("vault", "secret")
