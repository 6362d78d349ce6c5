"""`stoa run` with a model, as people start it: real processes, real documents, a provider on loopback."""

import json
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest

from tests.fakes.llm import Asked, Call, FakeLlm, Refusal, Turn, serve_llm

DOCUMENT = "# Opening hours\n\nThe reading room opens at nine and closes at five. Lockers are free of charge.\n"
QUESTION = "When does the reading room open?"
KEY = "sk-very-secret-1234"


async def stoa(*words: str, **environ: str) -> "CompletedProcess[bytes]":
    """One `stoa` in an environment without keys but those given."""
    with anyio.fail_after(60):
        return await anyio.run_process(
            [sys.executable, "-m", "host", *words], env={**os.environ, **environ}, check=False
        )


def brain(asked: Asked) -> Turn:
    if not asked.results:
        return Turn(calls=(Call("content_search_documents", {"query": "when does the reading room open"}),))
    hit = json.loads(asked.results[0].text)["result"]["hits"][0]
    return Turn(f"It opens at nine {hit['cite']}.")


@pytest.fixture
async def ingested(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "hours.md"
    path.write_text(DOCUMENT, "utf-8")
    done = await stoa("ingest", str(path))
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.usefixtures("ingested")
async def test_a_named_compatible_server_answers_from_real_documents() -> None:
    fake = FakeLlm(brain)
    async with serve_llm(fake) as url:
        done = await stoa("run", QUESTION, "--json", "--model", f"openai-compatible:{url}/v1#fake")
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["found"]) == ("It opens at nine [1].", True)
    assert answer["citations"][0]["source"].endswith("hours.md")
    assert "opens at nine" in answer["citations"][0]["passage"]
    assert answer["model"].startswith("openai-compatible:http://127.0.0.1:")
    assert [step["ref"] for step in answer["steps"]] == ["content.search_documents"]
    assert answer["usage"] == {"requests": 2, "input_tokens": 22, "output_tokens": 14, "cost_usd": None}
    assert done.stderr == b""
    kept = json.loads((await stoa("runs", "show", answer["run_id"], "--json")).stdout)
    assert (kept["state"], kept["text"], kept["citations"]) == ("finished", answer["text"], answer["citations"])
    assert [each["tool_calls"] for each in kept["answers"]] == [
        [{"tool": "content.search_documents", "arguments": {"query": "when does the reading room open"}}],
        [],
    ]
    shown = (await stoa("runs", "show", answer["run_id"])).stdout.decode()
    assert "It opens at nine [1]." in shown
    assert "called content.search_documents on content-0" in shown
    assert "22 tokens in, 14 out" in shown


@pytest.mark.slow
@pytest.mark.usefixtures("ingested")
@pytest.mark.parametrize("provider", ["OPENAI", "ANTHROPIC"])
async def test_a_key_in_the_environment_is_enough(provider: str, home: Path) -> None:
    fake = FakeLlm(brain)
    async with serve_llm(fake) as url:
        address = f"{url}/v1" if provider == "OPENAI" else url
        keys = {f"{provider}_API_KEY": KEY, f"{provider}_BASE_URL": address}
        done = await stoa("run", QUESTION, **keys)
    shown = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, shown
    assert "It opens at nine [1]." in shown
    assert provider.lower() in shown
    assert KEY not in shown
    files = [path async for path in anyio.Path(home).glob("*.db*")]
    assert files
    assert [path for path in files if KEY.encode() in await path.read_bytes()] == []
    assert {asked.wire for asked in fake.requests} == {"responses" if provider == "OPENAI" else "messages"}


@pytest.mark.slow
@pytest.mark.usefixtures("ingested")
async def test_the_planner_sends_nothing_although_keys_are_set() -> None:
    fake = FakeLlm(brain)
    async with serve_llm(fake) as url:
        keys = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/v1", "STOA_MODEL_URL": f"{url}/v1#fake"}
        done = await stoa("run", QUESTION, "--model", "planner", **keys)
    assert done.returncode == 0, done.stderr.decode()
    assert "no model configured: extractive answer" in done.stdout.decode()
    assert fake.requests == []


@pytest.mark.slow
async def test_a_server_that_listens_but_was_not_named_is_sent_nothing() -> None:
    fake = FakeLlm(brain)
    async with serve_llm(fake):
        await stoa("run", QUESTION)
    assert fake.requests == []


@pytest.mark.slow
async def test_a_refused_key_is_one_clear_block() -> None:
    fake = FakeLlm(brain, Refusal(401, f"bad key {KEY}"))
    async with serve_llm(fake) as url:
        keys = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/v1"}
        done = await stoa("run", QUESTION, **keys)
    shown = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in shown
    assert KEY not in shown
    assert "Traceback" not in shown


async def test_a_model_that_cannot_be_meant_is_bad_input() -> None:
    done = await stoa("run", "When?", "--model", "gpt")
    assert done.returncode == 2
    assert "openai-compatible:URL#NAME" in " ".join(done.stderr.decode().split())


async def test_a_key_that_is_missing_is_named() -> None:
    done = await stoa("run", "When?", "--model", "anthropic:claude-haiku-5-5")
    assert done.returncode == 2
    assert "ANTHROPIC_API_KEY" in done.stderr.decode()


@pytest.mark.slow
@pytest.mark.usefixtures("ingested")
async def test_in_a_terminal_the_answer_comes_once_and_its_sources_below() -> None:
    fake = FakeLlm(brain)
    ours, theirs = os.openpty()
    try:
        async with serve_llm(fake) as url:
            with anyio.fail_after(60):
                done = await anyio.run_process(
                    [sys.executable, "-m", "host", "run", QUESTION, "--model", f"openai-compatible:{url}/v1#fake"],
                    env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
                    stdout=theirs,
                    check=False,
                )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr.decode()
    assert shown.startswith("It opens at nine [1].")
    assert shown.count("It opens at nine") == 1
    assert "Sources" in shown
    assert all(asked.stream for asked in fake.requests)
