"""Hearing each answer of a model as soon as it is whole, in the words of the host: for the record of the run."""

import json
import time
from collections.abc import Callable

from pydantic import JsonValue
from pydantic_ai import RunContext
from pydantic_ai.capabilities import Hooks
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import ModelRequestContext

from host.answer import ModelAnswer, OnModelAnswer, Usage, WantedCall
from host.llm.choose import ModelChoice

__all__ = ["listening"]


def listening(on_answer: OnModelAnswer, choice: ModelChoice, name_of: Callable[[str], str]) -> Hooks[None]:
    """Tells `on_answer` of every answer, before the calls in it are made. `name_of` turns a tool's name for the model
    into `server.tool`."""
    asked = [time.monotonic()]

    async def before(ctx: RunContext[None], request_context: ModelRequestContext) -> ModelRequestContext:
        asked[0] = time.monotonic()
        return request_context

    async def after(
        ctx: RunContext[None], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        used = response.usage
        on_answer(
            ModelAnswer(
                choice.label,
                "\n\n".join(part.content for part in response.parts if isinstance(part, TextPart) and part.content),
                tuple(
                    WantedCall(name_of(part.tool_name), _arguments(part))
                    for part in response.parts
                    if isinstance(part, ToolCallPart)
                ),
                time.monotonic() - asked[0],
                Usage(1, used.input_tokens, used.output_tokens, used.cost if choice.is_priced else None),
            )
        )
        return response

    return Hooks(before_model_request=before, after_model_request=after)


def _arguments(call: ToolCallPart) -> dict[str, JsonValue]:
    """What the model wrote, also when it is no JSON object."""
    if isinstance(call.args, dict):
        return call.args
    try:
        found: JsonValue = json.loads(call.args or "{}")
    except ValueError:
        found = call.args
    return found if isinstance(found, dict) else {"": found}
