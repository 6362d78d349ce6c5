"""When the provider fails: who can mend it, what to do, and never a key in what is said."""

import logging
import socket
import traceback

import pytest

from stoa.errors import BadInput, Denied, NotFound, StoaError, Unavailable
from tests.fakes.library import Library
from tests.fakes.llm import FakeLlm, Refusal, Turn, script, serve_llm
from tests.host.llm.stage import KEY, Stage, every_wire, finder, streamed_or_whole

SOON = {"retry-after-ms": "1"}


def refusing(*refusals: Refusal, wire: str = "chat", stream: bool = False) -> Stage:
    return Stage(FakeLlm(finder, *refusals), Library(), wire, stream)


async def failure(stage: Stage, *, url: str | None = None) -> StoaError:
    with pytest.raises(StoaError) as caught:
        await stage.run(url=url)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in f"{caught.value!r} {caught.value} {shown}"
    return caught.value


@every_wire
@streamed_or_whole
async def test_a_refused_key_is_named_by_its_variable_and_never_shown(
    wire: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage = refusing(
        Refusal(401, f"Incorrect API key provided: {KEY}.", "authentication_error"), wire=wire, stream=stream
    )
    error = await failure(stage)
    assert isinstance(error, Denied)
    assert "THE_KEY" in error.message
    assert "Incorrect API key provided: ***." in error.message
    assert "THE_KEY" in error.hint
    assert len(stage.fake.requests) == 1
    assert KEY not in caplog.text


@every_wire
async def test_an_unknown_model_is_named(wire: str) -> None:
    error = await failure(refusing(Refusal(404, "no such model", "not_found_error"), wire=wire))
    assert isinstance(error, NotFound)
    assert "no such model" in error.message
    assert "--model" in error.hint


@every_wire
@streamed_or_whole
async def test_a_busy_provider_is_asked_again_as_often_as_the_sdk_does(wire: str, stream: bool) -> None:
    stage = refusing(Refusal(429, headers=SOON), Refusal(503, headers=SOON), wire=wire, stream=stream)
    answer = await stage.run()
    assert answer.found
    assert len(stage.fake.requests) == 4


@every_wire
@pytest.mark.parametrize("status", [429, 500, 529])
async def test_a_provider_that_stays_away_is_unavailable_after_three_requests(wire: str, status: int) -> None:
    stage = refusing(*[Refusal(status, "not now", headers={**SOON, "retry-after": "7"})] * 3, wire=wire)
    error = await failure(stage)
    assert isinstance(error, Unavailable)
    assert "not now" in error.message
    assert len(stage.fake.requests) == 3
    assert error.retry_after is not None


@every_wire
async def test_a_rejected_request_carries_the_provider_s_reason(wire: str) -> None:
    error = await failure(refusing(Refusal(400, "tools are not supported", "invalid_request_error"), wire=wire))
    assert isinstance(error, BadInput)
    assert "tools are not supported" in error.message


@every_wire
@streamed_or_whole
@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ("<html>It works!</html>", "text/html"),
        ("{}", "application/json"),
        ("[1, 2", "application/json"),
        ("", "application/json"),
        ("data: nonsense\n\n", "text/event-stream"),
    ],
)
async def test_a_reply_that_is_no_answer_is_a_clear_error(wire: str, stream: bool, body: str, media_type: str) -> None:
    garbage = [Refusal(200, body=body, media_type=media_type)] * 3
    error = await failure(refusing(*garbage, wire=wire, stream=stream))
    assert isinstance(error, Unavailable)
    assert "address" in error.hint


@every_wire
@streamed_or_whole
async def test_a_model_that_says_nothing_is_asked_again_twice(wire: str, stream: bool) -> None:
    stage = Stage(FakeLlm(script(Turn(""))), Library(), wire, stream)
    error = await failure(stage)
    assert isinstance(error, Unavailable)
    assert "no answer that can be used" in error.message
    assert len(stage.fake.requests) == 3


@every_wire
async def test_an_address_where_nobody_listens_is_named(wire: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(refusing(wire=wire), url=f"http://127.0.0.1:{port}")
    assert isinstance(error, Unavailable)
    assert f"127.0.0.1:{port}" in error.message


@every_wire
async def test_text_goes_to_the_named_address_and_to_no_other(wire: str) -> None:
    elsewhere = FakeLlm(finder)
    async with serve_llm(elsewhere) as url:
        stage = refusing(Refusal(307, headers={"location": f"{url}/v1/chat/completions"}), wire=wire)
        assert isinstance(await failure(stage), StoaError)
    assert elsewhere.requests == []


@every_wire
async def test_a_request_to_this_machine_does_not_go_through_a_proxy(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert (await refusing(wire=wire).run()).found


async def test_what_is_meant_for_openai_is_not_sent_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-openai")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: of-openai\nAuthorization: Bearer of-openai")
    stage = refusing()
    await stage.run()
    sent = stage.fake.requests[0].headers
    assert not [name for name, value in sent.items() if "of-openai" in value]
    assert sent["authorization"] == f"Bearer {KEY}"
