"""One run of a model, set up: the stand-in provider, a server in this process, a real pool between them."""

import json
from dataclasses import dataclass, field

import anyio
import pytest
from pydantic import SecretStr

from host.answer import Answer, ModelAnswer, Step
from host.llm.agent import Limits, run
from host.llm.choose import ModelChoice, Provider
from pool.pool import Pool
from stoa.principal import LOCAL
from tests.fakes.library import Library
from tests.fakes.llm import Asked, Call, FakeLlm, Turn, serve_llm

__all__ = ["KEY", "SEARCH", "Stage", "every_wire", "finder", "streamed_or_whole"]

KEY = "sk-very-secret-1234"
SEARCH = Call("library_search_documents", {"query": "lock a file"})
PROVIDERS: dict[str, Provider] = {"chat": "openai-compatible", "responses": "openai", "messages": "anthropic"}
NAMES: dict[Provider, str] = {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5", "openai-compatible": "fake"}

every_wire = pytest.mark.parametrize("wire", list(PROVIDERS))
streamed_or_whole = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass
class Stage:
    """Everything of one run but the model's script."""

    fake: FakeLlm
    library: Library
    wire: str = "chat"
    stream: bool = False
    allow_writes: bool = False
    trusted: bool = True
    servers: tuple[str, ...] = ("library",)
    limits: Limits = field(default_factory=Limits)
    steps: list[Step] = field(default_factory=list[Step])
    heard: list[str] = field(default_factory=list[str])
    answers: list[ModelAnswer] = field(default_factory=list[ModelAnswer])

    async def run(self, task: str = "How do I lock a file?", *, url: str | None = None) -> Answer:
        provider = PROVIDERS[self.wire]
        with anyio.fail_after(30):
            async with (
                serve_llm(self.fake) as served,
                Pool([self.library.group(trusted=self.trusted)], internal_key=None) as pool,
            ):
                base = url or served
                return await run(
                    task,
                    choice=ModelChoice(
                        provider,
                        NAMES[provider],
                        base if provider == "anthropic" else f"{base}/v1",
                        SecretStr(KEY),
                        "THE_KEY",
                    ),
                    pool=pool,
                    principal=LOCAL,
                    servers=self.servers,
                    trusted={"library"} if self.trusted else set(),
                    on_step=self.steps.append,
                    on_text=self.heard.append if self.stream else None,
                    on_answer=self.answers.append,
                    allow_writes=self.allow_writes,
                    limits=self.limits,
                )


def finder(asked: Asked) -> Turn:
    """Searches once, then answers with a mark taken from what it was given."""
    if not asked.results:
        return Turn("Let me look.", (SEARCH,))
    found = json.loads(asked.results[0].text)["result"]["hits"]
    return Turn(f"Call acquire() on the file {found[0]['cite']}.")
