"""Servers of the handshake era that keep a session for each connection: callers stay where theirs is, a session that
the server forgot is opened again, and one that nobody uses is closed."""

import json
import random
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pool.balance.balancer import Balancer
from pool.balance.homes import Homes
from pool.balance.policy import BalancePolicy
from pool.pool import Pool
from pool.spec import GroupSpec, HttpSpec
from stoa.errors import BadInput
from stoa.principal import Principal
from stoa.tools import ToolCall, ToolRef
from tests.pool.stage import load, open_pool, quick, served, until

CALLERS = tuple("abcdefgh")


class Watched:
    """A server of 2025 that writes down on which session each caller calls; `forget` makes it lose one."""

    def __init__(self) -> None:
        self.app = load("legacy_http").only_legacy(load("plain").build().streamable_http_app())
        self.sessions: defaultdict[str, list[str]] = defaultdict(list)
        self.methods: list[str] = []
        self.forgotten: set[str] = set()
        self.answer_to_forgotten = Response(status_code=404)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        session = headers.get(b"mcp-session-id", b"").decode()
        if scope["method"] != "POST":
            self.methods.append(scope["method"])
            await self.app(scope, receive, send)
            return
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        sent: dict[str, Any] = json.loads(body)
        self.methods.append(str(sent.get("method")))
        if session in self.forgotten:
            await self.answer_to_forgotten(scope, receive, send)
            return
        if sent.get("method") == "tools/call":
            self.sessions[sent["params"]["arguments"]["text"]].append(session)
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)

    @property
    def used(self) -> set[str]:
        return {session for found in self.sessions.values() for session in found}


@asynccontextmanager
async def watched(**options: object) -> AsyncGenerator[tuple[Watched, Pool]]:
    server = Watched()
    async with served(server) as address:
        spec: GroupSpec = quick("one", HttpSpec(f"http://{address}/mcp"), **options)
        async with open_pool(spec) as pool:
            yield server, pool


async def write(pool: Pool, caller: str) -> str:
    """A call that is not made twice unless it was certainly not processed."""
    call = ToolCall(ToolRef("one", "write"), {"text": caller})
    return (await pool.call(call, principal=Principal(caller, "acme"))).replica


async def test_the_calls_of_one_caller_stay_with_one_session_and_others_may_be_elsewhere() -> None:
    async with watched(replicas=2) as (server, pool):
        await pool.status()
        for _ in range(4):
            for caller in CALLERS:
                await write(pool, caller)
        assert all(len(set(server.sessions[caller])) == 1 for caller in CALLERS)
        assert len(server.used) == 2


async def test_without_affinity_they_go_wherever_there_is_room() -> None:
    async with watched(replicas=2, affinity="none", policy=BalancePolicy(strategy="round_robin")) as (server, pool):
        await pool.status()
        for _ in range(20):
            await write(pool, "a")
        assert len(set(server.sessions["a"])) == 2


async def test_a_replica_that_comes_later_takes_nobody_away() -> None:
    async with watched(replicas=2) as (server, pool):
        for caller in CALLERS:
            assert await write(pool, caller) == "one-0"
        await pool.status()  # starts the other one
        for caller in CALLERS:
            assert await write(pool, caller) == "one-0"
        assert {await write(pool, str(number)) for number in range(16)} == {"one-0", "one-1"}
        assert all(len(set(server.sessions[caller])) == 1 for caller in CALLERS)


async def test_a_session_that_the_server_forgot_costs_no_call_and_its_callers_move_together() -> None:
    async with watched(replicas=2) as (server, pool):
        await pool.status()
        for caller in CALLERS:
            await write(pool, caller)
        lost = server.sessions["a"][0]
        server.forgotten.add(lost)
        for _ in range(3):
            for caller in CALLERS:
                await write(pool, caller)  # a write, and yet known not to have been processed
        for caller in CALLERS:
            first, *later = server.sessions[caller]
            assert len(later) == 3
            assert lost not in later
            assert len(set(later)) == 1
            assert first == lost or set(later) == {first}
        await until(lambda: "2/2 ready" in repr(pool))
        assert pool.stats().groups[0].replicas[0].reconnects + pool.stats().groups[0].replicas[1].reconnects == 1


def refused(code: int, message: str) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}, status_code=400)


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=404),
        refused(-32600, "Bad Request: Missing session ID"),
        refused(-32000, "Bad Request: No valid session ID provided"),
        refused(-32001, "Session expired"),
    ],
)
async def test_with_one_replica_the_session_is_opened_again_and_the_call_made_once_more(answer: Response) -> None:
    async with watched() as (server, pool):
        server.answer_to_forgotten = answer
        await write(pool, "a")
        server.forgotten.add(server.sessions["a"][0])
        await write(pool, "a")
        first, second = server.sessions["a"]
        assert first != second
        assert server.methods.count("initialize") == 2


async def test_an_argument_that_is_called_session_does_not_cost_the_session() -> None:
    async with watched() as (server, pool):
        server.answer_to_forgotten = refused(-32602, "session_id must be a number")
        await write(pool, "a")
        server.forgotten.add(server.sessions["a"][0])
        with pytest.raises(BadInput, match="session_id must be a number"):
            await write(pool, "a")
        assert server.methods.count("initialize") == 1


async def test_a_session_that_nobody_uses_is_closed_and_opened_by_the_next_call() -> None:
    async with watched(idle_timeout_seconds=0.1, probe_interval_seconds=0.05) as (server, pool):
        await write(pool, "a")
        await until(lambda: "DELETE" in server.methods)
        assert pool.stats().groups[0].replicas[0].state == "stopped"
        await write(pool, "a")
        assert len(set(server.sessions["a"])) == 2
        assert server.methods.count("initialize") == 2


def test_a_caller_whose_replica_is_full_comes_back_to_it_and_one_whose_replica_is_gone_stays_away() -> None:
    balancer, rng = Balancer(BalancePolicy(slow_start_seconds=0.0)), random.Random(1)
    for name in ("a", "b"):
        balancer.add(name, now=0.0, max_in_flight=1)
        balancer.set_ready(name, True, 0.0, wants_affinity=True)

    def pick() -> str:
        decision = balancer.pick(0.0, rng, key="ann")
        assert decision is not None
        balancer.finish(decision, 0.0, seconds=0.1, outcome="ok")
        return decision.member

    home = pick()
    other = "b" if home == "a" else "a"
    held = balancer.pick(0.0, rng, key="ann")
    assert held is not None
    assert held.why == "the caller's session is there"
    assert pick() == other  # it has no room
    balancer.finish(held, 0.0, seconds=0.1, outcome="ok")
    assert pick() == home
    balancer.set_ready(home, False, 0.0)
    assert pick() == other
    balancer.set_ready(home, True, 0.0)
    assert pick() == other  # what was kept for it at home is gone


def test_of_too_many_homes_those_not_used_for_longest_are_forgotten() -> None:
    homes = Homes(most=2)
    homes.settle("ann", "a")
    homes.settle("bob", "b")
    assert homes.find("ann") == "a"
    homes.settle("cy", "c")
    assert [homes.find(key) for key in ("ann", "bob", "cy")] == ["a", None, "c"]


@pytest.mark.parametrize("strategy", ["least_latency", "round_robin", "random", "p2c", "least_connections", "weighted"])
def test_affinity_goes_before_the_strategy(strategy: Any) -> None:
    balancer, rng = Balancer(BalancePolicy(strategy=strategy, slow_start_seconds=0.0)), random.Random(1)
    for name in ("a", "b", "c"):
        balancer.add(name, now=0.0)
        balancer.set_ready(name, True, 0.0, wants_affinity=True)
    found = [balancer.pick(0.0, rng, key="ann") for _ in range(9)]
    assert len({decision.member for decision in found if decision is not None}) == 1
