"""What every server of ours does, whichever way and in whichever protocol era a client comes."""

from typing import cast

import anyio
import mcp_types as types
import pytest
from mcp import MCPError

from tests.kit.example import Example
from tests.kit.wires import Connect


def fields(result: types.CallToolResult) -> dict[str, object]:
    assert result.is_error
    return cast("dict[str, object]", result.model_dump()["structured_content"])


async def test_a_model_is_given_as_structure_and_as_text(connected: Connect) -> None:
    async with connected() as client:
        result = await client.call_tool("say", {"text": "hé", "times": 2})
    assert not result.is_error
    assert result.structured_content == {"text": "hé hé", "times": 2}
    assert [block.text for block in result.content if isinstance(block, types.TextContent)] == [
        '{"text":"hé hé","times":2}'
    ]


async def test_a_model_that_says_itself_in_words_is_given_so_beside_its_structure(connected: Connect) -> None:
    async with connected() as client:
        result = await client.call_tool("count_words", {"text": "a b c"})
    assert result.structured_content == {"words": 3}
    assert [block.text for block in result.content if isinstance(block, types.TextContent)] == ["3 words"]


async def test_text_is_given_as_text_alone_and_a_tool_that_blocks_runs_in_a_thread(connected: Connect) -> None:
    async with connected() as client:
        result = await client.call_tool("say_in_a_thread", {"text": "hello"})
        picture = await client.call_tool("picture", {})
    assert result.structured_content is None
    assert [block.text for block in result.content if isinstance(block, types.TextContent)] == ["hello to default"]
    assert [block.type for block in picture.content] == ["image"]


async def test_tools_are_listed_in_the_same_order_with_all_that_a_client_wants_to_know(connected: Connect) -> None:
    async with connected() as client:
        tools = (await client.list_tools()).tools
        again = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == [tool.name for tool in again]
    say = next(tool for tool in tools if tool.name == "say")
    assert say.title == "Reads"
    assert say.description == "Say it, perhaps several times."
    assert say.meta is None
    assert say.annotations is not None
    assert say.annotations.model_dump(exclude={"title"}) == {
        "read_only_hint": True,
        "idempotent_hint": True,
        "destructive_hint": False,
        "open_world_hint": False,
    }
    assert say.input_schema["properties"]["text"]["description"] == "What to say, e.g. 'hello'."
    assert say.input_schema["required"] == ["text"]
    assert say.output_schema is not None
    assert set(say.output_schema["properties"]) == {"text", "times"}
    assert next(tool for tool in tools if tool.name == "say_in_a_thread").output_schema is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "The argument 'text' is missing."),
        ({"text": 7}, "The argument 'text' does not fit: input should be a valid string."),
        ({"text": "a", "times": 99}, "The argument 'times' does not fit: input should be less than or equal to 9."),
        ({"text": "a", "tims": 2}, "There is no argument 'tims'. Did you mean 'times'?"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_with_the_remedy(
    connected: Connect, arguments: dict[str, object], said: str
) -> None:
    async with connected() as client:
        result = await client.call_tool("say", arguments)
    assert fields(result) == {
        "code": "bad_input",
        "message": said,
        "hint": "It takes: text (required), times.",
        "retryable": False,
    }
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == f"{said} It takes: text (required), times."


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("not_found", {"message": "There is no note 'x'.", "hint": "List them first.", "retryable": False}),
        ("conflict", {"message": "Somebody was faster.", "hint": "", "retryable": False}),
        (
            "unavailable",
            {"message": "The store is busy.", "hint": "", "retryable": True, "retry_after_seconds": 2.5},
        ),
    ],
)
async def test_an_error_of_ours_is_a_result_that_says_what_to_do(
    connected: Connect, how: str, expected: dict[str, object]
) -> None:
    async with connected() as client:
        assert fields(await client.call_tool("fail", {"how": how})) == {"code": how, **expected}


@pytest.mark.parametrize("how", ["model", "unforeseen"])
async def test_what_nobody_foresaw_is_a_fault_without_internals(
    connected: Connect, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected() as client:
        result = await client.call_tool("fail", {"how": how})
        with pytest.raises(MCPError) as resource:
            await client.read_resource("example://broken")
    assert fields(result)["code"] == "fault"
    for said in (result.model_dump_json(), resource.value.error.model_dump_json()):
        assert "password" not in said
        assert "Traceback" not in said
        assert "pydantic" not in said
    assert "the password is 12345" in caplog.text


async def test_an_unknown_tool_is_a_protocol_error_with_near_matches(connected: Connect) -> None:
    async with connected() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("sya", {})
    assert caught.value.error.code == types.INVALID_PARAMS
    assert caught.value.error.message == "Unknown tool: 'sya'. Did you mean 'say'?"
    assert caught.value.error.data["near"] == ["say"]


async def test_resources_are_read_and_unknown_ones_are_protocol_errors(connected: Connect) -> None:
    async with connected() as client:
        note = (await client.read_resource("example://note/1")).contents[0]
        logo = (await client.read_resource("example://logo")).contents[0]
        for uri in ("example://note/7", "example://nothing"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.error.code == types.INVALID_PARAMS
        templates = (await client.list_resource_templates()).resource_templates
    assert isinstance(note, types.TextResourceContents)
    assert (note.text, note.mime_type) == ("bread", "text/plain")
    assert isinstance(logo, types.BlobResourceContents)
    assert logo.blob == "iVBORw=="
    assert [template.uri_template for template in templates] == ["example://note/{id}"]


async def test_resource_ids_are_completed_and_unknown_references_to_nothing(connected: Connect) -> None:
    async with connected() as client:
        found = await client.complete(
            types.ResourceTemplateReference(uri="example://note/{id}"), {"name": "id", "value": "1"}
        )
        nothing = await client.complete(types.ResourceTemplateReference(uri="x://{y}"), {"name": "y", "value": ""})
    assert found.completion.values == ["1"]
    assert nothing.completion.values == []


async def test_prompts_are_rendered_and_say_what_they_need(connected: Connect) -> None:
    async with connected() as client:
        prompt = await client.get_prompt("summarise", {"topic": "cats"})
        messages: list[str] = []
        for arguments in ({}, {"topic": "nothing"}):
            with pytest.raises(MCPError) as caught:
                await client.get_prompt("summarise", arguments)
            messages.append(caught.value.error.message)
        with pytest.raises(MCPError, match="Did you mean 'summarise'"):
            await client.get_prompt("sumarise", {})
    assert isinstance(prompt.messages[0].content, types.TextContent)
    assert prompt.messages[0].content.text == "Summarise cats."
    assert messages == ["The prompt 'summarise' needs the argument 'topic'.", "There is nothing to summarise."]


async def test_progress_is_told_to_those_who_ask(connected: Connect) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with connected() as client:
        await client.call_tool("count", {"to": 2})
        result = await client.call_tool("count", {"to": 3}, progress_callback=hear)
        with anyio.fail_after(5):
            while len(heard) < 3:
                await anyio.lowlevel.checkpoint()
    assert not result.is_error
    assert heard == [(1, 3, "1 of 3"), (2, 3, "2 of 3"), (3, 3, "3 of 3")]


async def test_a_client_that_gives_up_cancels_the_handler(connected: Connect, example: Example) -> None:
    async with connected() as client:
        await client.list_tools()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "wait")
                await example.waiting.wait()
                group.cancel_scope.cancel()
            await example.cancelled.wait()
            assert not (await client.call_tool("say", {"text": "still here"})).is_error


async def test_cursors_open_again(connected: Connect) -> None:
    async with connected() as client:
        cursor = (await client.call_tool("page", {})).content[0]
        assert isinstance(cursor, types.TextContent)
        opened = await client.call_tool("page", {"cursor": cursor.text})
        forged = await client.call_tool("page", {"cursor": cursor.text[:-2]})
    assert [block.text for block in opened.content if isinstance(block, types.TextContent)] == ["{'after': 7}"]
    assert fields(forged)["code"] == "bad_input"


async def test_many_calls_at_once_are_all_answered(connected: Connect) -> None:
    answers: list[object] = []

    async with connected() as client:
        await client.list_tools()

        async def ask(number: int) -> None:
            result = await client.call_tool("say", {"text": str(number)})
            assert isinstance(result.structured_content, dict)
            answers.append(cast("dict[str, object]", result.model_dump()["structured_content"])["text"])

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(ask, number)
    assert sorted(answers, key=str) == sorted(str(number) for number in range(40))
