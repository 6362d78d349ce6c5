"""Tools that ask the client back while they work: sampling, elicitation and roots.

Requests to the client exist in the handshake era only, on connections with a session. Since 2026-07-28 a tool answers
with what it still needs and is called again; these tools do so, too. More of that kind: `everything_rounds.py`.
"""

from typing import Any, TypeVar

import mcp_types as types
from fastmcp import Context
from fastmcp.server.elicitation import get_elicitation_schema
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

from kit.author import Server

__all__ = ["install"]

SCOPE = "conformance:use"

QUESTION = "question"

Said = str | types.InputRequiredResult
Question = types.CreateMessageRequest | types.ListRootsRequest | types.ElicitRequest
Answer = TypeVar("Answer", types.CreateMessageResult, types.ListRootsResult, types.ElicitResult)


class UserResponse(BaseModel):
    response: str = Field(description="User's response")


class Defaults(BaseModel):
    """A form with a default for each kind of field (SEP-1034)."""

    name: str = Field("John Doe", description="User name")
    age: int = Field(30, description="User age")
    score: float = Field(95.5, description="User score")
    status: str = Field("active", description="Status", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(True, description="Verification status")


def _titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


LOW_TO_HIGH: Any = {"oneOf": _titled(low="Low Priority", medium="Medium Priority", high="High Priority")}
KINDS: Any = {"items": {"anyOf": _titled(feature="New Feature", bug="Bug Fix", docs="Documentation")}}
SIZES: Any = {"enum": ["small", "medium", "large"], "enumNames": ["Small Size", "Medium Size", "Large Size"]}


class Choices(BaseModel):
    """A form with each way to write a choice (SEP-1330); the suite knows the fields by these names."""

    untitledSingle: str = Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})
    titledSingle: str = Field(json_schema_extra=LOW_TO_HIGH)
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": ["read", "write"]}})
    titledMulti: list[str] = Field(json_schema_extra=KINDS)
    legacyEnum: str = Field(json_schema_extra=SIZES)


def install(server: Server) -> None:
    tool = server.tool(title="Asks the client", scope=SCOPE, read_only=True, idempotent=True)

    @tool
    async def test_sampling(prompt: str, ctx: Context) -> Said:
        """Has the client's model write something."""
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
        params = types.CreateMessageRequestParams(messages=[message], max_tokens=100)
        written = await _ask(ctx, types.CreateMessageRequest(params=params), types.CreateMessageResult)
        if isinstance(written, types.InputRequiredResult):
            return written
        return f"LLM response: {written.content.text if isinstance(written.content, types.TextContent) else ''}"

    @tool
    async def ask_for_roots(ctx: Context) -> Said:
        """Says where the client works."""
        found = await _ask(ctx, types.ListRootsRequest(), types.ListRootsResult)
        return " ".join(str(root.uri) for root in found.roots) if isinstance(found, types.ListRootsResult) else found

    @tool
    async def test_elicitation(message: str, ctx: Context) -> Said:
        """Asks the user for a text."""
        return await _ask_user(ctx, message, UserResponse, "User response")

    @tool
    async def test_elicitation_sep1034_defaults(ctx: Context) -> Said:
        """Asks by a form with defaults."""
        return await _ask_user(ctx, "Please provide user information", Defaults, "Elicitation result")

    @tool
    async def test_elicitation_sep1330_enums(ctx: Context) -> Said:
        """Asks by a form with choices."""
        return await _ask_user(ctx, "Please select", Choices, "Elicitation completed")

    @tool
    async def test_missing_capability(ctx: Context) -> str:
        """Needs a client that can sample."""
        has = ctx.session.client_capabilities
        if has is None or has.sampling is None:
            raise MCPError(
                code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="This tool needs a client that can sample.",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return "The client can sample."


async def _ask_user(ctx: Context, message: str, form: type[BaseModel], said: str) -> Said:
    params = types.ElicitRequestFormParams(message=message, requested_schema=get_elicitation_schema(form))
    answer = await _ask(ctx, types.ElicitRequest(params=params), types.ElicitResult)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    filled = form.model_validate(answer.content).model_dump_json() if answer.action == "accept" else "{}"
    return f"{said}: action={answer.action}, content={filled}"


async def _ask(ctx: Context, question: Question, answer: type[Answer]) -> Answer | types.InputRequiredResult:
    """What the client says; or what the tool has to answer until it is called again with that."""
    if ctx.session.can_send_request:
        return await ctx.session.send_request(question, answer)
    given = (ctx.input_responses or {}).get(QUESTION)
    return given if isinstance(given, answer) else types.InputRequiredResult(input_requests={QUESTION: question})
