"""The content server as a client sees it, in one process: five tools, one resource, one prompt."""

import base64
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from servers.content.schema import IngestedDocument
from servers.content.server import create
from servers.content.settings import ContentSettings
from stoa.errors import BadInput, Denied
from stoa.principal import Principal, sign_assertion
from stoa.settings import Settings
from stoa.wire import PRINCIPAL_KEY

KEY = b"k" * 32
ADA = Principal("ada", "tenant-a", scopes=frozenset({"content:read", "content:write"}))
BOB = Principal("bob", "tenant-b", scopes=frozenset({"content:read", "content:write"}))
READER = Principal("rita", "tenant-a", scopes=frozenset({"content:read"}))


def settings(home: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": home, **values})


def library(folder: Path) -> tuple[Path, Path]:
    """A root with a guide and a link that leads out of it, and the file outside."""
    root, outside = folder / "root", folder / "diary.md"
    root.mkdir()
    (root / "guide.md").write_text("# Guide\n\nTurn the lever.")
    outside.write_text("# Diary\n\nDear diary.")
    (root / "link.md").symlink_to(outside)
    return root, outside


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    server = create(settings(home, internal_key=KEY.decode()))
    async with Client(server.lowlevel) as client:
        yield client


def as_meta(principal: Principal | None) -> types.RequestParamsMeta | None:
    if principal is None:
        return None
    assertion = sign_assertion(principal, audience="content", key=KEY, now=time.time())
    return {PRINCIPAL_KEY: assertion}  # type: ignore[typeddict-unknown-key]  # _meta is open to extensions


async def call(client: Client, tool: str, principal: Principal | None = None, /, **arguments: object) -> Any:
    """The structured result; an error is raised as the test's own failure."""
    result = await client.call_tool(tool, arguments, meta=as_meta(principal))
    assert not result.is_error, result.content
    return result.structured_content


async def fail(client: Client, tool: str, principal: Principal | None = None, /, **arguments: object) -> Any:
    result = await client.call_tool(tool, arguments, meta=as_meta(principal))
    assert result.is_error, result.structured_content
    said: Any = result.structured_content
    assert said.keys() >= {"code", "message", "hint", "retryable"}
    assert "Traceback" not in str(result.content)
    return said


async def test_every_tool_says_what_it_does_and_every_argument_has_an_example(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    read_only = {"search_documents", "get_document", "list_documents"}
    assert tools.keys() == read_only | {"ingest_document", "delete_document"}
    for name, tool in tools.items():
        assert tool.title
        assert tool.description
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (name in read_only)
        assert tool.annotations.destructive_hint is (name not in read_only)
        assert tool.annotations.idempotent_hint is True
        assert tool.annotations.open_world_hint is False
        properties: Mapping[str, Mapping[str, str]] = tool.input_schema["properties"]
        for argument, described in properties.items():
            assert argument == "detail" or "e.g. " in described["description"], f"{name}.{argument}"


@pytest.mark.parametrize(
    ("arguments", "media_type"),
    [
        ({"text": "# Keys\n\nRotate them."}, "text/markdown"),
        ({"text": "<h1>Keys</h1><p>Rotate them.</p>", "media_type": "text/html"}, "text/html"),
        ({"text": "Keys\n====\n\nRotate *them*.", "name": "keys.rst"}, "text/x-rst"),
        ({"data_base64": base64.b64encode(b"# Keys\n\nRotate them.").decode(), "name": "keys.md"}, "text/markdown"),
        ({"data_base64": base64.b64encode(b'{"keys": "Rotate them."}').decode()}, "application/json"),
    ],
)
async def test_documents_come_as_text_or_bytes(client: Client, arguments: dict[str, str], media_type: str) -> None:
    ingested = await call(client, "ingest_document", None, **arguments)
    assert (ingested["media_type"], ingested["created"], ingested["version"]) == (media_type, True, 1)
    again = await call(client, "ingest_document", None, **arguments)
    assert again == {**ingested, "created": False, "status": "unchanged"}
    hits = (await call(client, "search_documents", query="How do I rotate keys?"))["hits"]
    assert [hit["document_id"] for hit in hits] == [ingested["id"]]
    read = await call(client, "get_document", id=ingested["id"])
    assert read["markdown"][hits[0]["start"] : hits[0]["end"]] == hits[0]["passage"]


async def test_an_ingest_tells_its_progress(client: Client) -> None:
    told: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message
        told.append((progress, total))

    await client.call_tool("ingest_document", {"text": "words"}, progress_callback=hear)
    assert told == [(1, 3), (2, 3), (3, 3)]


async def test_new_content_under_a_name_replaces_the_older_version(client: Client) -> None:
    first = await call(client, "ingest_document", text="Turn the brass lever.", name="guide.md")
    second = await call(client, "ingest_document", text="Push the steel button.", name="guide.md")
    assert (second["id"], second["version"], second["status"]) == (first["id"], 2, "replaced")
    assert (await call(client, "search_documents", query="brass lever"))["hits"] == []
    assert (await call(client, "list_documents"))["documents"][0]["version"] == 2


async def test_a_document_is_read_in_parts(client: Client) -> None:
    id = (await call(client, "ingest_document", text="0123456789" * 5))["id"]
    text, offset = "", 0
    while offset is not None:
        part = await call(client, "get_document", id=id, offset=offset, limit_characters=16)
        text, offset = text + part["markdown"], part["next_offset"]
    assert text == "0123456789" * 5
    assert (await call(client, "get_document", id=id, offset=999))["next_offset"] is None


async def test_pages_are_walked_by_cursor(client: Client) -> None:
    for number in range(7):
        await call(client, "ingest_document", text=f"# Note {number}\n\nThe lever number {number}.")
    listed: list[str] = []
    found: list[str] = []
    for tool, arguments, seen, items, id in (
        ("list_documents", {}, listed, "documents", "id"),
        ("search_documents", {"query": "lever"}, found, "hits", "document_id"),
    ):
        cursor: str | None = None
        while cursor is not None or not seen:
            page = await call(client, tool, None, limit=3, cursor=cursor, **arguments)
            seen += [item[id] for item in page[items]]
            cursor = page["next_cursor"]
    assert len(listed) == len(found) == 7
    assert set(listed) == set(found)


async def test_a_cursor_serves_its_own_search_only(client: Client) -> None:
    for number in range(3):
        for principal in (ADA, BOB):
            await call(client, "ingest_document", principal, text=f"The lever number {number}.")
    found = (await call(client, "search_documents", ADA, query="lever", limit=1))["next_cursor"]
    listed = (await call(client, "list_documents", ADA, limit=1))["next_cursor"]
    assert (await call(client, "search_documents", ADA, query="lever", limit=1, cursor=found))["hits"]
    for tool, principal, arguments in (
        ("search_documents", ADA, {"query": "number", "cursor": found}),
        ("search_documents", ADA, {"query": "lever", "cursor": listed}),
        ("search_documents", ADA, {"query": "lever", "cursor": "made-up"}),
        ("search_documents", BOB, {"query": "lever", "cursor": found}),
        ("list_documents", BOB, {"cursor": listed}),
    ):
        assert (await fail(client, tool, principal, **arguments))["code"] == "bad_input", arguments


async def test_no_tool_shows_or_changes_what_another_tenant_has(client: Client) -> None:
    ours = await call(client, "ingest_document", ADA, text="The brass lever.", name="guide.md")
    theirs = await call(client, "ingest_document", BOB, text="The brass lever.", name="guide.md")
    assert theirs["created"]
    assert theirs["id"] != ours["id"]
    hits = (await call(client, "search_documents", BOB, query="brass lever"))["hits"]
    assert [hit["document_id"] for hit in hits] == [theirs["id"]]
    listed = (await call(client, "list_documents", BOB))["documents"]
    assert [document["id"] for document in listed] == [theirs["id"]]
    for tool, arguments in (
        ("get_document", {"id": ours["id"]}),
        ("delete_document", {"id": ours["id"]}),
        ("search_documents", {"query": "lever", "document_id": ours["id"]}),
    ):
        assert (await fail(client, tool, BOB, **arguments))["code"] == "not_found"
    uri = f"content://document/{ours['id']}"
    with pytest.raises(MCPError):
        await client.read_resource(uri, meta=as_meta(BOB), cache_mode="bypass")
    assert (await client.read_resource(uri, meta=as_meta(ADA), cache_mode="bypass")).contents
    key = {"idempotency_key": "same key"}
    await call(client, "ingest_document", ADA, text="One.", **key)
    assert (await call(client, "ingest_document", BOB, text="Two.", **key))["created"]


async def test_scopes_are_asked_for(client: Client) -> None:
    ingested = await call(client, "ingest_document", ADA, text="The brass lever.")
    assert (await call(client, "search_documents", READER, query="lever"))["hits"]
    for tool, arguments in (("ingest_document", {"text": "x"}), ("delete_document", {"id": ingested["id"]})):
        assert (await fail(client, tool, READER, **arguments))["code"] == "denied"
    writer = Principal("will", "tenant-a", scopes=frozenset({"content:write"}))
    assert (await fail(client, "get_document", writer, id=ingested["id"]))["code"] == "denied"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "text, data_base64 and path"),
        ({"text": "a", "path": "/etc/hostname"}, "text and path"),
        ({"text": ""}, "empty"),
        ({"text": "   "}, "white space"),
        ({"data_base64": "not base64!"}, "data_base64"),
        ({"data_base64": base64.b64encode(b"%PDF-1.7 cut in half").decode()}, "PDF"),
        ({"text": "a", "name": ""}, "name"),
        ({"text": "a", "name": "two\nlines"}, "name"),
        ({"text": "a", "name": "n" * 501}, "name"),
        ({"text": "a", "title": "t" * 301}, "title"),
        ({"text": "a", "tags": ["t"] * 21}, "tags"),
        ({"text": "a", "tags": [""]}, "tags"),
        ({"text": "a", "media_type": "video/mp4"}, "video/mp4"),
        ({"text": 7}, "text"),
        ({"txt": "a"}, "txt"),
        ({"path": "/etc/passwd"}, "/etc/passwd"),
        ({"path": "../../etc/passwd"}, "etc/passwd"),
    ],
)
async def test_what_cannot_be_ingested_is_named(client: Client, arguments: dict[str, object], named: str) -> None:
    said = await fail(client, "ingest_document", None, **arguments)
    assert said["code"] in {"bad_input", "denied"}
    assert named in said["message"]
    assert said["hint"]
    assert (await call(client, "list_documents"))["documents"] == []


async def test_a_document_above_the_limit_is_refused_with_both_sizes(home: Path) -> None:
    server = create(settings(home), content=ContentSettings.load({"STOA_CONTENT_MAX_DOCUMENT_BYTES": "1000"}))
    async with Client(server.lowlevel) as client:
        said = await fail(client, "ingest_document", None, text="a" * 1001, name="big.txt")
        assert "big.txt has 1,001 bytes; the limit is 1,000" in said["message"]
        assert (await call(client, "ingest_document", None, text="a" * 1000))["created"]


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("search_documents", {}, "query"),
        ("search_documents", {"query": "q" * 1001}, "query"),
        ("search_documents", {"query": "q", "limit": 51}, "limit"),
        ("search_documents", {"query": "q", "detail": "everything"}, "detail"),
        ("get_document", {"id": "x", "offset": -1}, "offset"),
        ("get_document", {"id": "x", "limit_characters": 10**9}, "limit_characters"),
        ("list_documents", {"limit": 0}, "limit"),
        ("delete_document", {}, "id"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(
    client: Client, tool: str, arguments: dict[str, object], named: str
) -> None:
    said = await fail(client, tool, None, **arguments)
    assert said["code"] == "bad_input"
    assert repr(named) in said["message"]


async def test_a_file_below_a_root_is_ingested_under_its_path(home: Path, tmp_path: Path) -> None:
    root, outside = library(tmp_path)
    async with Client(create(settings(home, roots=(root,))).lowlevel) as client:
        ingested = await call(client, "ingest_document", path=str(root / "guide.md"))
        assert (ingested["name"], ingested["title"]) == (str(root / "guide.md"), "Guide")
        assert (await call(client, "ingest_document", path="guide.md"))["id"] == ingested["id"]
        for path in (str(outside), "../diary.md", "link.md", str(root / "link.md")):
            assert (await fail(client, "ingest_document", None, path=path))["code"] == "denied"
        assert (await fail(client, "ingest_document", None, path="none.md"))["code"] == "not_found"


def test_the_whole_disk_is_a_root_only_when_forced(home: Path) -> None:
    with pytest.raises(Denied, match="whole file system"):
        create(settings(home, roots=("/",)))
    create(settings(home, roots=("/",), force_roots=True))


async def test_an_idempotency_key_belongs_to_one_request(client: Client) -> None:
    first = await call(client, "ingest_document", text="One.", idempotency_key="upload-1")
    assert await call(client, "ingest_document", text="One.", idempotency_key="upload-1") == first
    said = await fail(client, "ingest_document", None, text="Two.", idempotency_key="upload-1")
    assert said["code"] == "conflict"


async def test_a_document_is_a_resource_and_its_id_completes(client: Client) -> None:
    ingested = IngestedDocument.model_validate(await call(client, "ingest_document", text="# Brass lever\n\nPull it."))
    read = await client.read_resource(f"content://document/{ingested.id}")
    assert isinstance(read.contents[0], types.TextResourceContents)
    assert read.contents[0].mime_type == "text/markdown"
    assert read.contents[0].text == "# Brass lever\n\nPull it."
    reference = types.ResourceTemplateReference(type="ref/resource", uri="content://document/{id}")
    for typed in (ingested.id[:6], "brass"):
        completed = await client.complete(reference, {"name": "id", "value": typed})
        assert completed.completion.values == [ingested.id]
    completed = await client.complete(reference, {"name": "id", "value": "zzz"})
    assert completed.completion.values == []
    with pytest.raises(MCPError) as caught:
        await client.read_resource("content://document/none")
    assert caught.value.error.code == types.INVALID_PARAMS


async def test_the_prompt_carries_the_question(client: Client) -> None:
    prompt = await client.get_prompt("answer_from_documents", {"question": "Who holds the lever?"})
    assert isinstance(prompt.messages[0].content, types.TextContent)
    assert "Who holds the lever?" in prompt.messages[0].content.text


async def test_subscribers_of_the_tenant_hear_of_changes(client: Client) -> None:
    ingested = await call(client, "ingest_document", text="One.", name="guide.md")
    uri = f"content://document/{ingested['id']}"
    with anyio.fail_after(10):
        async with client.listen(resources_list_changed=True, resource_subscriptions=[uri]) as heard:
            await call(client, "ingest_document", ADA, text="Not for us.")
            await call(client, "ingest_document", text="Two.", name="guide.md")
            first = [type(await anext(heard)).__name__ for _ in range(2)]
            assert sorted(first) == ["ResourceUpdated", "ResourcesListChanged"]
            await call(client, "delete_document", id=ingested["id"])
            second = [type(await anext(heard)).__name__ for _ in range(2)]
            assert sorted(second) == ["ResourceUpdated", "ResourcesListChanged"]


def spoil(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 500)


async def test_a_broken_database_is_told_by_the_tool_and_the_server_lives(home: Path) -> None:
    spoil(home / "content.db")
    async with Client(create(settings(home)).lowlevel) as client:
        assert len((await client.list_tools()).tools) == 5
        said = await fail(client, "list_documents", None)
        assert str(home / "content.db") in said["message"]


def test_a_wrong_or_unknown_setting_is_named() -> None:
    with pytest.raises(BadInput, match="STOA_CONTENT_BUSY_SECONDS"):
        ContentSettings.load({"STOA_CONTENT_BUSY_SECONDS": "soon"})
    with pytest.raises(BadInput, match="STOA_CONTENT_MAX_DOCUMENT_BYTES"):
        ContentSettings.load({"STOA_CONTENT_MAX_DOCUMENT_SIZE": "1"})
