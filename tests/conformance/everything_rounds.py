"""Tools and a prompt that answer with what they still need, and are called again with it (SEP-2322, 2026-07-28)."""

import json
from collections.abc import Mapping

import mcp_types as types
from fastmcp import Context
from fastmcp.prompts import Message
from pydantic import JsonValue

from kit.author import Server
from kit.call import current_call

__all__ = ["install"]

SCOPE = "conformance:use"

Asking = str | types.InputRequiredResult


def install(server: Server) -> None:
    _install_single(server)
    _install_stateful(server)
    _install_prompt(server)


def _install_single(server: Server) -> None:
    tool = server.tool(title="Needs an answer", scope=SCOPE, read_only=True, idempotent=True)

    @tool
    async def test_input_required_result_elicitation(ctx: Context) -> Asking:
        """Needs a name."""
        if answer := _answers(ctx).get("user_name"):
            return f"Hello, {_filled(answer, 'name')}!"
        return _needs(user_name=_form("What is your name?", name="string"))

    @tool
    async def test_input_required_result_sampling(ctx: Context) -> Asking:
        """Needs a sentence by the client's model."""
        if answer := _answers(ctx).get("capital_question"):
            return f"Model said: {_written(answer)}"
        return _needs(capital_question=_sample("What is the capital of France?"))

    @tool
    async def test_input_required_result_list_roots(ctx: Context) -> Asking:
        """Needs the client's roots."""
        answer = _answers(ctx).get("client_roots")
        if isinstance(answer, types.ListRootsResult):
            return f"Client exposed {len(answer.roots)} root(s)."
        return _needs(client_roots=types.ListRootsRequest())

    @tool
    async def test_input_required_result_capabilities(ctx: Context) -> types.InputRequiredResult:
        """Asks only for what the client says it can do."""
        can = ctx.session.client_capabilities
        wanted: types.InputRequests = {}
        if can is None or can.sampling is not None:
            wanted["sample"] = _sample("Say hello")
        if can is None or can.elicitation is not None:
            wanted["ask"] = _form("What is your name?", name="string")
        return _needs("capability-gated", **wanted)

    @tool
    async def test_streaming_elicitation(ctx: Context) -> Asking:
        """Reports progress before it asks; no request of its own may travel on that stream."""
        await current_call().progress(1, 2)
        if _answers(ctx):
            return "done"
        return _needs(user_name=_form("What is your name?", name="string"))


def _install_stateful(server: Server) -> None:
    tool = server.tool(title="Needs answers and remembers", scope=SCOPE, read_only=True, idempotent=True)

    @tool
    async def test_input_required_result_request_state(ctx: Context) -> Asking:
        """Hands out state and wants it back."""
        if "confirm" in _answers(ctx) and ctx.request_state == "first-round":
            return "state-ok: confirmation received"
        return _needs("first-round", confirm=_form("Please confirm", ok="boolean"))

    @tool
    async def test_input_required_result_tampered_state(ctx: Context) -> Asking:
        """Never sees state that somebody has changed: the call is refused before."""
        if ctx.request_state is not None:
            return f"state-ok: {ctx.request_state}"
        return _needs("round-1", confirm=_form("Please confirm", ok="boolean"))

    @tool
    async def test_input_required_result_multiple_inputs(ctx: Context) -> Asking:
        """Needs three things at once."""
        if {"user_name", "greeting", "client_roots"} <= _answers(ctx).keys():
            return "All inputs received."
        return _needs(
            "multiple-inputs",
            user_name=_form("What is your name?", name="string"),
            greeting=_sample("Generate a greeting"),
            client_roots=types.ListRootsRequest(),
        )

    @tool
    async def test_input_required_result_multi_round(ctx: Context) -> Asking:
        """Needs two things, one after the other."""
        state: dict[str, JsonValue] = json.loads(ctx.request_state) if ctx.request_state else {"round": 0}
        answers = _answers(ctx)
        if state["round"] == 1 and "step1" in answers:
            later = json.dumps({"round": 2, "name": _filled(answers["step1"], "name")})
            return _needs(later, step2=_form("Step 2: What is your favorite color?", color="string"))
        if state["round"] == 2 and "step2" in answers:
            return f"{state['name']} likes {_filled(answers['step2'], 'color')}."
        return _needs(json.dumps({"round": 1}), step1=_form("Step 1: What is your name?", name="string"))


def _install_prompt(server: Server) -> None:
    @server.prompt(title="Needs an answer")
    async def test_input_required_result_prompt(ctx: Context) -> list[Message] | types.InputRequiredResult:
        """A prompt that needs to know more."""
        if answer := _answers(ctx).get("user_context"):
            return [Message(f"Use the following context: {_filled(answer, 'context')}")]
        return _needs(user_context=_form("What context should the prompt use?", context="string"))


def _needs(state: str | None = None, /, **requests: types.InputRequest) -> types.InputRequiredResult:
    """What a call answers that cannot go on without these; `state` comes back with the answers."""
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def _answers(ctx: Context) -> Mapping[str, types.InputResponse]:
    return ctx.input_responses or {}


def _filled(answer: types.InputResponse, field: str) -> JsonValue:
    """One field of a form that the user has filled in."""
    content = answer.content if isinstance(answer, types.ElicitResult) else None
    value = content.get(field) if content else None
    return list(value) if isinstance(value, list) else value


def _written(answer: types.InputResponse) -> str:
    """What the client's model wrote."""
    content = answer.content if isinstance(answer, types.CreateMessageResult) else None
    return content.text if isinstance(content, types.TextContent) else ""


def _form(message: str, **fields: str) -> types.ElicitRequest:
    """A question with one field for each name, of this JSON type; all are required."""
    schema: types.ElicitRequestedSchema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))
