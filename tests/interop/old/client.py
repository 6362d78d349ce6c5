"""A client as they were written with the SDK before 2.0: `client.py URL` or `client.py COMMAND ARGUMENT …`.

It goes through what the server of all scenarios offers, and writes what it got as one JSON object. Runs in the
environment of `requirements/interop-mcp1.txt`.
"""

import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl


async def main(target: list[str]) -> None:
    said = {}
    logs = []
    mark = Path(os.environ["MARK"])

    async def on_elicit(context, params):
        fields = params.requestedSchema["properties"]
        return types.ElicitResult(action="accept", content={name: fields[name].get("default", "me") for name in fields})

    async def on_sample(context, params):
        text = types.TextContent(type="text", text=f"heard {params.messages[0].content.text}")
        return types.CreateMessageResult(role="assistant", content=text, model="none")

    async def on_roots(context):
        return types.ListRootsResult(roots=[types.Root(uri=AnyUrl("file:///work"))])

    async def on_log(params):
        logs.append(params.data if isinstance(params.data, str) else params.data.get("msg"))

    async with AsyncExitStack() as stack:
        if target[0].startswith("http"):
            read, write, _ = await stack.enter_async_context(streamablehttp_client(target[0]))
        else:
            command = StdioServerParameters(command=target[0], args=target[1:], env=dict(os.environ))
            read, write = await stack.enter_async_context(stdio_client(command))
        session = await stack.enter_async_context(
            ClientSession(
                read,
                write,
                elicitation_callback=on_elicit,
                sampling_callback=on_sample,
                list_roots_callback=on_roots,
                logging_callback=on_log,
            )
        )
        begun = await session.initialize()
        said["protocol"] = begun.protocolVersion
        said["tools"] = sorted(tool.name for tool in (await session.list_tools()).tools)
        said["text"] = text_of(await session.call_tool("test_simple_text"))
        said["image"] = (await session.call_tool("test_image_content")).content[0].mimeType
        failed = await session.call_tool("test_error_handling")
        said["error"] = [failed.isError, text_of(failed)]
        said["unknown"] = await refusal(session.call_tool("no_such_tool"))
        steps = []

        async def on_progress(done, total, message):
            steps.append([done, total])

        await session.call_tool("test_tool_with_progress", progress_callback=on_progress)
        said["progress"] = steps
        await session.set_logging_level("info")
        await session.call_tool("test_tool_with_logging")
        said["elicited"] = text_of(await session.call_tool("test_elicitation", {"message": "Who?"}))
        said["sampled"] = text_of(await session.call_tool("test_sampling", {"prompt": "a question"}))
        said["roots"] = text_of(await session.call_tool("ask_for_roots"))
        said["resources"] = sorted(str(each.uri) for each in (await session.list_resources()).resources)
        said["templates"] = [each.uriTemplate for each in (await session.list_resource_templates()).resourceTemplates]
        said["resource"] = (await session.read_resource(AnyUrl("test://static-text"))).contents[0].text
        said["templated"] = (await session.read_resource(AnyUrl("test://template/7/data"))).contents[0].text
        said["missing"] = await refusal(session.read_resource(AnyUrl("test://nowhere")))
        said["prompts"] = sorted(each.name for each in (await session.list_prompts()).prompts)
        arguments = {"arg1": "one", "arg2": "two"}
        prompt = await session.get_prompt("test_prompt_with_arguments", arguments)
        said["prompt"] = prompt.messages[0].content.text
        ref = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        said["completion"] = (await session.complete(ref, {"name": "arg1", "value": "par"})).completion.values
        said["cancelled"] = await cancel(session, mark)
        await session.send_ping()
        said["logs"] = logs
    sys.stdout.write(json.dumps(said))


async def cancel(session: ClientSession, mark: Path) -> bool:
    """Begin a call that never ends, take it back, and look whether the server has noticed."""
    id = session._request_id
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refusal, session.call_tool("wait_for_cancellation", {"mark": str(mark)}))
        await there(mark.with_name(mark.name + ".begun"))
        params = types.CancelledNotificationParams(requestId=id, reason="enough")
        await session.send_notification(
            types.ClientNotification(types.CancelledNotification(method="notifications/cancelled", params=params))
        )
        noticed = await there(mark)
        tasks.cancel_scope.cancel()
    return noticed


async def there(path: Path) -> bool:
    seen = anyio.Path(path)
    with anyio.move_on_after(10):
        while not await seen.exists():  # noqa: ASYNC110 - another process sets no event
            await anyio.sleep(0.02)
    return await seen.exists()


async def refusal(asking) -> str:
    """What a request was refused with, be it as an error of the protocol or as a failed call."""
    try:
        result = await asking
    except McpError as error:
        return f"{error.error.code}"
    return text_of(result) if getattr(result, "isError", False) else "no error"


def text_of(result) -> str:
    return result.content[0].text


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:])
