"""The stand-in speaks the three APIs well enough for the providers' own SDKs, streamed and whole."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, RateLimitError

from tests.fakes.llm import Asked, Call, FakeLlm, Refusal, Turn, script, serve_llm

Said = tuple[str, list[tuple[str, Any]]]
ARGUMENTS = {"query": "lock a file: how?"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
TURN = Turn("let me see", (Call("search", ARGUMENTS), Call("list", {})))
EXPECTED: Said = ("let me see", [("search", ARGUMENTS), ("list", {})])


async def ask_chat(url: str, *, stream: bool) -> Said:
    async with AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as typed:
        client = cast("Any", typed)
        question: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "how?"}]}
        question["tools"] = [{"type": "function", "function": {"name": "search", "parameters": SCHEMA}}]
        if stream:
            async with client.chat.completions.stream(**question) as events:
                whole = await events.get_final_completion()
        else:
            whole = await client.chat.completions.create(**question)
    message = whole.choices[0].message
    calls: list[Any] = list(message.tool_calls or [])
    return message.content or "", [(call.function.name, json.loads(call.function.arguments)) for call in calls]


async def ask_responses(url: str, *, stream: bool) -> Said:
    async with AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as typed:
        client = cast("Any", typed)
        question: dict[str, Any] = {"model": "m", "input": "how?"}
        question["tools"] = [{"type": "function", "name": "search", "parameters": SCHEMA, "strict": False}]
        if stream:
            async with client.responses.stream(**question) as events:
                whole = await events.get_final_response()
        else:
            whole = await client.responses.create(**question)
    calls: list[Any] = [item for item in whole.output if item.type == "function_call"]
    return whole.output_text, [(call.name, json.loads(call.arguments)) for call in calls]


async def ask_messages(url: str, *, stream: bool) -> Said:
    async with AsyncAnthropic(api_key="k", base_url=url) as typed:
        client = cast("Any", typed)
        question: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "how?"}]}
        question["tools"] = [{"name": "search", "input_schema": SCHEMA}]
        if stream:
            async with client.messages.stream(**question) as events:
                whole = await events.get_final_message()
        else:
            whole = await client.messages.create(**question)
    blocks: list[Any] = list(whole.content)
    text = "".join(block.text for block in blocks if block.type == "text")
    return text, [(block.name, block.input) for block in blocks if block.type == "tool_use"]


Ask = Callable[..., Awaitable[Said]]
WIRES = pytest.mark.parametrize("ask", [ask_chat, ask_responses, ask_messages], ids=["chat", "responses", "messages"])


@WIRES
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_sdk_reads_text_and_calls(ask: Ask, stream: bool) -> None:
    fake = FakeLlm(script(TURN))
    with anyio.fail_after(20):
        async with serve_llm(fake) as url:
            assert await ask(url, stream=stream) == EXPECTED
    asked = fake.requests[0]
    assert (asked.user, asked.stream, list(asked.tools)) == ("how?", stream, ["search"])
    assert asked.headers["authorization"] == "Bearer k"


@WIRES
async def test_refusals_come_first(ask: Ask) -> None:
    fake = FakeLlm(script(TURN), Refusal(429, headers={"retry-after-ms": "1"}))
    with anyio.fail_after(20):
        async with serve_llm(fake) as url:
            assert await ask(url, stream=False) == EXPECTED
    assert len(fake.requests) == 2


async def test_a_refusal_that_stays_reaches_the_caller() -> None:
    fake = FakeLlm(script(TURN), *[Refusal(429, "too fast", headers={"retry-after-ms": "1"})] * 3)
    with anyio.fail_after(20):
        async with serve_llm(fake) as url:
            with pytest.raises(RateLimitError, match="too fast"):
                await ask_chat(url, stream=False)


async def test_results_of_tools_are_read_back() -> None:
    def brain(asked: Asked) -> Turn:
        return Turn(" and ".join(result.text for result in asked.results))

    calls = [{"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    messages: list[Any] = [
        {"role": "user", "content": "how?"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "so"},
    ]
    with anyio.fail_after(20):
        async with serve_llm(FakeLlm(brain)) as url, AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as client:
            whole = await client.chat.completions.create(model="m", messages=messages)
    assert whole.choices[0].message.content == "so"
