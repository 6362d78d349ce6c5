"""Opening the chosen model over its provider's SDK, and turning what goes wrong there into errors of ours.

One retry layer: the SDK's own (two more attempts on 408, 409, 429, 5xx and lost connections, waiting as the provider
asks). Redirects are not followed, so text goes to the address that was named and to no other.
"""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

from pydantic_ai import exceptions as wrong
from pydantic_ai.models import Model

from host.llm.choose import ModelChoice, is_loopback
from stoa.errors import BadInput, Denied, NotFound, StoaError, Unavailable

__all__ = ["MAX_RETRIES", "explain", "open_model"]

MAX_RETRIES: Final = 2
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 120.0
"""Silence on an open connection after which the provider counts as away."""

_NO_KEY: Final = "no-key"
"""The SDK insists on a key; servers that need none ignore it."""


@asynccontextmanager
async def open_model(choice: ModelChoice) -> AsyncGenerator[Model]:
    """The model, ready to be asked; its connections close with the block. Imports only the SDK that is needed."""
    match choice.provider:
        case "anthropic":
            opened = _open_anthropic(choice)
        case "openai" | "openai-compatible":
            opened = _open_openai(choice)
    async with opened as model:
        yield model


@asynccontextmanager
async def _open_openai(choice: ModelChoice) -> AsyncGenerator[Model]:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout
    from pydantic_ai.models.openai import (
        OpenAIChatModel,
        OpenAIResponsesModel,
        OpenAIResponsesModelSettings,
    )
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    timeout = Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    compatible = choice.provider == "openai-compatible"
    key = choice.key.get_secret_value() if choice.key is not None else _NO_KEY
    async with DefaultAsyncHttpxClient(follow_redirects=False, mounts=_routes(choice), timeout=timeout) as http:
        client = AsyncOpenAI(
            api_key=key,
            base_url=choice.base_url,
            http_client=http,
            timeout=timeout,
            max_retries=MAX_RETRIES,
            default_headers=_without_openai_extras(key) if compatible else None,
        )
        if not compatible:
            # What is asked is not kept at the provider; the reasoning comes back to us sealed and is sent along.
            settings = OpenAIResponsesModelSettings(openai_store=False)
            yield OpenAIResponsesModel(choice.name, provider=OpenAIProvider(openai_client=client), settings=settings)
            return
        client.organization = client.project = None  # the SDK read them from OPENAI_*; this server is not OpenAI
        yield OpenAIChatModel(choice.name, provider=OpenAICompatibleProvider("openai-compatible", openai_client=client))


@asynccontextmanager
async def _open_anthropic(choice: ModelChoice) -> AsyncGenerator[Model]:
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient, Timeout
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    timeout = Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    async with DefaultAsyncHttpxClient(follow_redirects=False, mounts=_routes(choice), timeout=timeout) as http:
        client = AsyncAnthropic(
            api_key=choice.key.get_secret_value() if choice.key is not None else _NO_KEY,
            base_url=choice.base_url,
            http_client=http,
            timeout=timeout,
            max_retries=MAX_RETRIES,
            open_telemetry=False,
        )
        yield AnthropicModel(choice.name, provider=AnthropicProvider(anthropic_client=client))


def explain(error: Exception, choice: ModelChoice) -> StoaError:
    """What went wrong between us and the provider, by who can mend it; never holds the key."""
    where = choice.base_url or f"the {choice.provider} API"
    said = _said(error, choice)
    retry_after = error.retry_after if isinstance(error, wrong.ModelAPIError) else None
    match error:
        case wrong.ModelAuthenticationError():
            return Denied(
                f"{where} refuses the key in {choice.key_variable}{said}.",
                hint=f"Set {choice.key_variable} to a key that may use the model {choice.name!r}.",
            )
        case wrong.ModelNotFoundError():
            return NotFound(
                f"{where} knows no model {choice.name!r}{said}.",
                hint="Name another one with --model, or check the address (most end in /v1).",
            )
        case wrong.ModelQuotaExceededError():
            return Denied(
                f"The account behind {choice.key_variable} has nothing left to spend{said}.",
                hint="Top it up, or choose another model with --model.",
            )
        case wrong.ModelRateLimitError():
            return Unavailable(
                f"{where} takes no more requests for now{said}.", hint="Try again later.", retry_after=retry_after
            )
        case wrong.ModelContextWindowExceededError():
            return BadInput(
                f"The task and what the tools found are too long for {choice.name!r}{said}.",
                hint="Ask for less at a time, or choose a model that reads more.",
            )
        case wrong.ModelTimeoutError() | wrong.ModelRequestTimeout():
            return Unavailable(f"{where} did not answer in time.", hint="Try again, or choose another model.")
        case wrong.ModelConnectionError():
            return Unavailable(
                f"{where} cannot be reached.", hint="Check that the server runs and the address is right."
            )
        case wrong.ModelRequestRejectedError():
            return BadInput(f"{where} rejects the request{said}.", hint="Choose another model with --model.")
        case wrong.ModelServerError() | wrong.ModelUnavailableError():
            return Unavailable(
                f"{where} failed to answer{said}.",
                hint="Try again, or choose another model with --model.",
                retry_after=retry_after,
            )
        case wrong.OutputTokenLimitExceeded() | wrong.IncompleteToolCall():
            return Unavailable(
                f"{choice.name!r} ran out of room in the middle of its answer.",
                hint="Ask for less at a time, or choose another model with --model.",
            )
        case wrong.ContentFilterError():
            return Denied(f"The content filter of {where} stopped the answer.", hint="Put the task in other words.")
        case _:
            return Unavailable(
                f"{where} sent no answer that can be used{said}.",
                hint="Check that the address is that of a model API, or choose another model with --model.",
            )


def _said(error: Exception, choice: ModelChoice) -> str:
    """What the provider said, short and without the key: ` (401: "no such key")`."""
    status = f"{error.status_code}" if isinstance(error, wrong.ModelHTTPError) else ""
    words = _message(error.body) if isinstance(error, wrong.ModelAPIError) else ""
    if isinstance(error, wrong.UnexpectedModelBehavior):
        words = error.message
    if choice.key is not None:
        words = words.replace(choice.key.get_secret_value(), "***")
    words = " ".join(words.split())
    parts = [part for part in (status, f'"{words[:200]}"' if words else "") if part]
    return f" ({': '.join(parts)})" if parts else ""


def _message(body: object) -> str:
    """`message` in an error body, at the top or under `error`."""
    if not isinstance(body, Mapping):
        return ""
    found = cast("Mapping[str, object]", body)
    message = found.get("message") or found.get("error")
    return message if isinstance(message, str) else _message(message)


def _routes(choice: ModelChoice) -> dict[str, None]:
    """Requests to this machine stay on it, whatever HTTP_PROXY says: every kind of address goes the direct way."""
    direct = choice.base_url is not None and is_loopback(choice.base_url)
    return {"all://": None, "http://": None, "https://": None} if direct else {}


def _without_openai_extras(key: str) -> Mapping[str, str]:
    """Headers for a server that is not OpenAI: those that the SDK takes from OPENAI_CUSTOM_HEADERS are not for it."""
    from openai import Omit

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    extras = {line.partition(":")[0].strip() for line in lines if ":" in line}
    headers: dict[str, str | Omit] = {name: Omit() for name in extras if name.lower() != "authorization"}
    headers["Authorization"] = f"Bearer {key}"
    return cast("Mapping[str, str]", headers)  # the SDK takes Omit here; its annotation does not say so
