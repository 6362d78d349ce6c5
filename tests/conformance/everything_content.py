"""What the suite looks for by name: tools that give each kind of content, resources and prompts."""

import base64
from typing import Annotated

import anyio
import mcp_types as types
from fastmcp import Context
from fastmcp.prompts import Message
from pydantic import BaseModel, Field

from kit.author import Server
from kit.call import current_call

__all__ = ["install"]

SCOPE = "conformance:use"

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

Region = Annotated[str, Field(description="Sent as a header, too.", json_schema_extra={"x-mcp-header": "Region"})]


class TemplateData(BaseModel):
    """What the templated resource holds."""

    id: str
    template_test: bool = Field(True, serialization_alias="templateTest")
    data: str


def install(server: Server) -> None:
    _install_tools(server)
    _install_talking_tools(server)
    _install_resources(server)
    _install_prompts(server)


def _install_tools(server: Server) -> None:
    tool = server.tool(title="A kind of content", scope=SCOPE, read_only=True, idempotent=True)

    @tool
    def test_simple_text() -> str:
        """One block of text."""
        return "This is a simple text response for testing."

    @tool
    def test_image_content() -> list[types.ImageContent]:
        """One image."""
        return [_image()]

    @tool
    def test_audio_content() -> list[types.AudioContent]:
        """One sound."""
        return [types.AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]

    @tool
    def test_embedded_resource() -> list[types.EmbeddedResource]:
        """One resource inside the answer."""
        return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]

    @tool
    def test_multiple_content_types() -> list[types.TextContent | types.ImageContent | types.EmbeddedResource]:
        """Text, an image and a resource in one answer."""
        return [
            types.TextContent(type="text", text="Multiple content types test:"),
            _image(),
            _embedded("test://mixed-content-resource", "application/json", '{"test": "data", "value": 123}'),
        ]

    @tool
    def test_error_handling() -> str:
        """Fails."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @tool
    def test_x_mcp_header(region: Region = "<none>") -> str:
        """An argument that a gateway may read in a header."""
        return f"region={region}"


def _install_talking_tools(server: Server) -> None:
    tool = server.tool(title="Says something on the way", scope=SCOPE, read_only=True, idempotent=True)

    @tool
    async def test_tool_with_logging(ctx: Context) -> str:
        """Logs to the client (only the handshake era has this)."""
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(line)
        return "Tool with logging executed successfully"

    @tool
    async def test_logging_tool(ctx: Context) -> str:
        """Logs to a client that did not ask for it: nothing may arrive."""
        await ctx.info("The client asked for no log.")
        return "logged"

    @tool
    async def test_tool_with_progress() -> str:
        """Reports three steps."""
        for done in (0, 50, 100):
            await current_call().progress(done, 100, f"Completed step {done} of 100")
        return "done"

    @tool
    async def wait_for_cancellation(mark: str) -> str:
        """Never ends. Leaves `mark`.begun when it begins, and `mark` when it is cancelled."""
        await anyio.Path(f"{mark}.begun").touch()
        try:
            return str(await anyio.sleep_forever())
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(mark).touch()

    @tool
    async def test_reconnection(ctx: Context) -> str:
        """Closes the stream on the way; the client comes back for the answer."""
        await ctx.info("Before the stream closes")
        await ctx.close_sse_stream()
        await anyio.sleep(0.2)
        await ctx.info("After it")
        return "Reconnection test completed"


def _install_resources(server: Server) -> None:
    @server.resource("test://static-text", title="Text", scope=SCOPE, media_type="text/plain")
    def static_text() -> str:
        """A text that never changes."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", title="Bytes", scope=SCOPE, media_type="image/png")
    def static_binary() -> bytes:
        """Bytes that never change."""
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource", title="Watched", scope=SCOPE, media_type="text/plain")
    def watched_resource() -> str:
        """A text to subscribe to."""
        return "Watched resource content"

    @server.resource("test://template/{id}/data", title="By id", scope=SCOPE, media_type="application/json")
    def template_data(id: str) -> str:
        """A text for every id."""
        return TemplateData(id=id, template_test=True, data=f"Data for ID: {id}").model_dump_json(by_alias=True)


def _install_prompts(server: Server) -> None:
    @server.prompt(title="Simple")
    def test_simple_prompt() -> list[Message]:
        """One message."""
        return [Message("This is a simple prompt for testing.")]

    @server.prompt(title="With arguments")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[Message]:
        """A message with two arguments in it."""
        return [Message(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    @server.prompt(title="With a resource")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
        """A message that is a resource."""
        embedded = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [Message(embedded), Message("Please process the embedded resource above.")]

    @server.prompt(title="With an image")
    def test_prompt_with_image() -> list[Message]:
        """A message that is an image."""
        return [Message(_image()), Message("Please analyze the image above.")]


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _embedded(uri: str, media_type: str, text: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=media_type, text=text)
    return types.EmbeddedResource(type="resource", resource=contents)
