"""Clients of the handshake era in front of 2026-07-28 servers that ask, and ask."""

from typing import Any

import pytest

from gateway.client import Client
from gateway.rounds import MAX_QUESTIONS, MAX_ROUNDS, answer_for
from pool.wire.failures import Refusal
from stoa.errors import Denied, Fault, Unavailable

ROOTS = {"method": "roots/list"}


class Scripted(Client):
    """A client that says what it is asked."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        if self.refuses:
            raise Refusal(-32601, "No.")
        return {"asked": method, **params}


async def test_answers_go_back_with_the_state() -> None:
    sent: list[Any] = []

    async def send(more: Any) -> dict[str, Any]:
        sent.append(more)
        return {"content": []}

    asked = {"resultType": "input_required", "inputRequests": {"a": ROOTS, "b": ROOTS}, "requestState": "s"}
    assert await answer_for(Scripted(), asked, send, seconds=9) == {"content": []}
    assert sent == [
        {"inputResponses": {"a": {"asked": "roots/list"}, "b": {"asked": "roots/list"}}, "requestState": "s"}
    ]


async def test_a_server_that_never_stops_asking_is_stopped() -> None:
    asked = {"resultType": "input_required", "inputRequests": {"a": ROOTS}}
    sent: list[Any] = []

    async def send(more: Any) -> dict[str, Any]:
        sent.append(more)
        return asked

    with pytest.raises(Fault, match="still has no answer"):
        await answer_for(Scripted(), asked, send, seconds=9)
    assert len(sent) == MAX_ROUNDS


async def test_too_many_questions_at_once_are_not_asked() -> None:
    asked = {"resultType": "input_required", "inputRequests": {str(n): ROOTS for n in range(MAX_QUESTIONS + 1)}}

    async def send(more: Any) -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(Fault, match="at once"):
        await answer_for(Scripted(), asked, send, seconds=9)


async def test_a_client_that_refuses_ends_the_call_with_its_reason() -> None:
    asked = {"resultType": "input_required", "inputRequests": {"a": ROOTS, "b": {"method": 7}}}

    async def send(more: Any) -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(Denied, match="asked the client for input"):
        await answer_for(Scripted(refuses=True), asked, send, seconds=9)


async def test_a_question_that_nobody_answers_in_time_ends_the_call() -> None:
    asked = {"resultType": "input_required", "inputRequests": {"a": ROOTS}}

    async def send(more: Any) -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(Unavailable, match="not answered within 0 seconds"):
        await answer_for(Scripted(), asked, send, seconds=0)
