"""What the pool is asked to do in each scenario of the suite for clients."""

import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
from anyio.abc import SocketStream
from pydantic import BaseModel, JsonValue

from pool.pool import Pool
from pool.spec import GroupSpec, HttpSpec
from pool.wire.asker import Asker
from stoa.errors import Denied, StoaError
from stoa.principal import LOCAL
from tests.conformance.client import DONE, REFUSED, SOCKET
from tests.conformance.client_login import Person

__all__ = ["stage"]

SERVER: Final = "suite"
SECONDS: Final = 25.0
AT_ONCE: Final = 4
LOGINS: Final = 3
"""How often a person logs in again because the server asks for it."""

Play = Callable[[Pool, Mapping[str, Any]], Awaitable[None]]


class Part(BaseModel):
    """What a client was started for."""

    scenario: str
    url: str
    context: dict[str, Any]


@asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[None]:
    """Play the scenarios of clients that are started in `folder`, while the block runs."""
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def serve(stream: SocketStream) -> None:
        async with stream:
            said = b"".join([chunk async for chunk in stream])
            async with limiter:
                with TemporaryDirectory(dir=folder) as own:
                    ending = await _ending(Part.model_validate_json(said), Path(own))
            await stream.send(ending.encode())

    listener = await anyio.create_unix_listener(folder / SOCKET)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield
        tasks.cancel_scope.cancel()


async def _ending(part: Part, folder: Path) -> str:
    """How a scenario ended; a trace when it was neither done nor refused."""
    try:
        with anyio.fail_after(SECONDS):
            await _play(part, folder)
    except StoaError as error:
        return f"{REFUSED}{error} {error.hint or ''}".replace("\n", " ")
    except Exception:  # noqa: BLE001 - told where the suite's results are read
        return traceback.format_exc()
    return DONE


async def _play(part: Part, folder: Path) -> None:
    play = SCENARIOS.get(part.scenario, call_each_tool)
    if not part.scenario.startswith("auth/"):
        async with Pool([GroupSpec(SERVER, (HttpSpec(part.url),))], internal_key=None) as pool:
            await play(pool, part.context)
        return
    person = Person(part.url, part.context, folder)
    await person.log_in()
    for times in range(LOGINS):
        try:
            async with Pool([GroupSpec(SERVER, (person.spec,))], internal_key=None, auth=person.logins.auth) as pool:
                await play(pool, part.context)
        except Denied:
            if times == LOGINS - 1:
                raise
            await person.log_in()  # as the error says
        else:
            return


async def ask(pool: Pool, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    passed = await pool.request(SERVER, method, dict(params), principal=LOCAL, asker=USER)
    return passed.result


async def call(pool: Pool, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool, and again with the answers as long as it needs to know more."""
    params: dict[str, Any] = {"name": name, "arguments": dict(arguments)}
    while True:
        result = await ask(pool, "tools/call", params)
        if result.get("resultType") != "input_required":
            return result
        params = {"name": name, "arguments": dict(arguments)}
        if (state := result.get("requestState")) is not None:
            params["requestState"] = state
        asked: Mapping[str, Any] = result.get("inputRequests") or {}
        params["inputResponses"] = {
            key: await answer(each["method"], each.get("params") or {}) for key, each in asked.items()
        }


async def answer(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A user who takes whatever a form proposes, and a model that always says the same."""
    if method == "elicitation/create":
        return {"action": "accept", "content": _proposed(params.get("requestedSchema") or {})}
    if method == "roots/list":
        return {"roots": []}
    text = {"type": "text", "text": "Said by a model."}
    return {"role": "assistant", "model": "none", "stopReason": "endTurn", "content": text}


def _proposed(schema: Mapping[str, Any]) -> dict[str, JsonValue]:
    fields: Mapping[str, Any] = schema.get("properties") or {}
    yes = {name: True for name, field in fields.items() if field.get("type") == "boolean"}
    return {**yes, **{name: field["default"] for name, field in fields.items() if "default" in field}}


USER = Asker(key="user", capabilities={"elicitation": {"form": {}}, "sampling": {}, "roots": {}}, answer=answer)


async def list_tools(pool: Pool, _: Mapping[str, Any]) -> None:
    await pool.tools(SERVER)
    await ask(pool, "tools/list", {})


async def add_numbers(pool: Pool, _: Mapping[str, Any]) -> None:
    await call(pool, "add_numbers", {"a": 5, "b": 3})


async def call_each_tool(pool: Pool, _: Mapping[str, Any]) -> None:
    """Only those that the pool lists: it leaves out what no client may call."""
    for tool in (await pool.offer(SERVER)).tools:
        await call(pool, tool.ref.tool, {"region": "eu-north-1"} if "region" in str(tool.input_schema) else {})


async def call_as_told(pool: Pool, context: Mapping[str, Any]) -> None:
    for each in context["toolCalls"]:
        await call(pool, each["name"], each["arguments"])


async def use_everything(pool: Pool, context: Mapping[str, Any]) -> None:
    await call_each_tool(pool, context)
    for resource in (await ask(pool, "resources/list", {}))["resources"]:
        await ask(pool, "resources/read", {"uri": resource["uri"]})
    for prompt in (await ask(pool, "prompts/list", {}))["prompts"]:
        await ask(pool, "prompts/get", {"name": prompt["name"]})


async def send_schema_back(pool: Pool, _: Mapping[str, Any]) -> None:
    tools = (await ask(pool, "tools/list", {}))["tools"]
    seen = next(tool["inputSchema"] for tool in tools if tool["name"] == "json_schema_2020_12_tool")
    await call(pool, "json_schema_echo", {"schema": seen})


SCENARIOS: Final[Mapping[str, Play]] = {
    "initialize": list_tools,
    "request-metadata": list_tools,
    "json-schema-ref-no-deref": list_tools,
    "tools_call": add_numbers,
    "http-standard-headers": use_everything,
    "http-custom-headers": call_as_told,
    "json-schema-2020-12-preservation": send_schema_back,
}
"""What differs from calling each tool once."""
