"""What holds on every kind of connection: stdio, Streamable HTTP, WebSocket and in this process."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import anyio
import pytest

from pool.pool import Pool
from pool.spec import HttpSpec, InProcessSpec, MemberSpec, StdioSpec, WsSpec
from stoa.errors import Denied, NotFound, OutcomeUnknown, StoaError, Unavailable
from stoa.principal import LOCAL, Principal, verify_assertion
from stoa.tools import ToolCall, ToolRef
from tests.pool.stage import call, load, open_pool, quick, raw, served, until

KEY = b"k" * 32


@pytest.fixture(params=["stdio", "stdio legacy", "http", "http legacy", "ws", "in process"])
async def member(request: pytest.FixtureRequest) -> AsyncGenerator[MemberSpec]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "stdio":
                yield raw("modern")
            case "stdio legacy":
                yield raw()
            case "http" | "http legacy":
                app = load("plain").build().streamable_http_app()
                if request.param == "http legacy":
                    app = load("legacy_http").only_legacy(app)
                address = await stack.enter_async_context(served(app))
                yield HttpSpec(f"http://{address}/mcp")
            case "ws":
                address = await stack.enter_async_context(served(load("sockets").socket_app(load("plain").build())))
                yield WsSpec(f"ws://{address}/mcp/ws")
            case _:
                yield InProcessSpec(load("plain").build())


@pytest.fixture
async def pool(member: MemberSpec) -> AsyncGenerator[Pool]:
    async with open_pool(quick("one", member), key=KEY) as pool:
        yield pool


async def test_a_tool_is_called_and_its_result_comes_back(pool: Pool) -> None:
    served = await pool.call(ToolCall(ToolRef("one", "echo"), {"text": "hello"}), principal=LOCAL)
    assert served.result.text == "hello"
    assert not served.result.is_error
    assert served.result.blocks[0].wire == {"type": "text", "text": "hello"}
    assert served.replica == "one-0"
    assert 0 < served.latency_seconds < 30


async def test_tools_are_listed_with_what_the_server_says_of_them(pool: Pool) -> None:
    catalogue = await pool.tools()
    assert catalogue.unreachable == ()
    echo = catalogue.find(ToolRef("one", "echo"))
    assert echo is not None
    assert echo.read_only
    assert echo.may_repeat
    assert not echo.destructive
    assert echo.input_schema["type"] == "object"
    unmarked = next(tool for tool in catalogue.tools if tool.ref.tool in ("write", "write_slow"))
    assert unmarked.destructive
    assert not unmarked.may_repeat


async def test_an_unknown_tool_is_not_found_with_near_matches(pool: Pool) -> None:
    with pytest.raises(NotFound, match="no tool 'ecko'") as caught:
        await call(pool, "one.ecko")
    assert "'echo'" in caught.value.hint


async def test_an_unknown_server_is_not_found_with_near_matches(pool: Pool) -> None:
    with pytest.raises(NotFound, match="no server 'on'") as caught:
        await call(pool, "on.echo")
    assert "'one'" in caught.value.hint


async def test_a_call_past_its_deadline_ends_in_time_and_the_connection_goes_on(pool: Pool) -> None:
    await pool.tools()
    started = anyio.current_time()
    with pytest.raises(Unavailable, match="did not answer within"):
        await call(pool, "one.slow", {"seconds": 20}, timeout_seconds=0.3)
    assert anyio.current_time() - started < 5
    assert (await call(pool, "one.echo", {"text": "still here"})).text == "still here"
    assert "1/1 ready, 0 in flight, 0 waiting" in repr(pool)


async def test_a_caller_who_goes_away_frees_the_slot(pool: Pool) -> None:
    await pool.tools()
    with anyio.move_on_after(0.2) as scope:
        await call(pool, "one.slow", {"seconds": 20})
    assert scope.cancelled_caught
    assert "0 in flight, 0 waiting" in repr(pool)
    assert (await call(pool, "one.echo", {"text": "next"})).text == "next"


async def test_progress_is_relayed(pool: Pool) -> None:
    told: list[tuple[float, float | None]] = []

    async def listen(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total))

    await pool.call(ToolCall(ToolRef("one", "slow"), {"seconds": 0.2}), principal=LOCAL, progress=listen)
    assert told
    assert told[0][1] in (2, 4)


async def test_calls_share_one_connection(pool: Pool) -> None:
    await pool.tools()
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(call, pool, "one.slow", {"seconds": 1})
    assert anyio.current_time() - started < 6


async def test_status_tells_era_version_and_latency(pool: Pool, request: pytest.FixtureRequest) -> None:
    (line,) = await pool.status()
    legacy = "legacy" in request.node.callspec.id
    assert (line.server, line.replica, line.state, line.reason) == ("one", "one-0", "healthy", "")
    assert line.era == ("legacy" if legacy else "modern")
    assert line.protocol == ("2025-11-25" if legacy else "2026-07-28")
    assert line.version in ("1.2.3", "0.0.1")
    assert line.latency_seconds is not None


async def test_more_than_the_slots_wait_their_turn(member: MemberSpec) -> None:
    async with open_pool(quick("one", member, max_in_flight=2)) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(call, pool, "one.slow", {"seconds": 0.2})
            await until(lambda: "2 in flight, 4 waiting" in repr(pool))
        assert "0 in flight, 0 waiting" in repr(pool)


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(member: MemberSpec) -> None:
    async with open_pool(quick("one", member, max_in_flight=1, max_waiting=1)) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(call, pool, "one.slow", {"seconds": 0.5})
            await until(lambda: "1 in flight, 1 waiting" in repr(pool))
            with pytest.raises(Unavailable, match="is busy") as caught:
                await call(pool, "one.echo", {"text": "me too"})
            assert caught.value.retry_after is not None
            assert caught.value.retry_after > 0


async def test_whoever_waits_too_long_is_refused_and_takes_no_slot(member: MemberSpec) -> None:
    async with open_pool(quick("one", member, max_in_flight=1, acquire_timeout_seconds=0.1)) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, pool, "one.slow", {"seconds": 1})
            await until(lambda: "1 in flight" in repr(pool))
            with pytest.raises(Unavailable, match="no slot became free"):
                await call(pool, "one.echo", {"text": "me too"})
            assert "1 in flight, 0 waiting" in repr(pool)


async def test_a_deadline_covers_the_wait_for_a_slot(member: MemberSpec) -> None:
    async with open_pool(quick("one", member, max_in_flight=1)) as pool:
        await pool.tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, pool, "one.slow", {"seconds": 1})
            await until(lambda: "1 in flight" in repr(pool))
            with pytest.raises(Unavailable, match="was not sent"):
                await call(pool, "one.echo", {"text": "me too"}, timeout_seconds=0.1)


async def test_a_closed_pool_says_so(member: MemberSpec) -> None:
    async with open_pool(quick("one", member)) as pool:
        await pool.tools()
    with pytest.raises(Unavailable, match="closed"):
        await call(pool, "one.echo", {"text": "late"})
    assert "<Pool closed" in repr(pool)


async def test_the_error_of_the_block_comes_out_as_it_is(member: MemberSpec) -> None:
    async def fail() -> None:
        async with open_pool(quick("one", member)) as pool:
            await pool.tools()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_a_circle_of_servers_is_broken(pool: Pool) -> None:
    with pytest.raises(Denied, match="passed through 5 servers"):
        await pool.caller(LOCAL, hops=5).call_tool(ToolCall(ToolRef("one", "echo"), {"text": "again"}))


async def test_an_untrusted_server_is_not_believed(member: MemberSpec) -> None:
    async with open_pool(quick("one", member, trusted=False)) as pool:
        await pool.tools()
        with pytest.raises(OutcomeUnknown):
            await call(pool, "one.slow", {"seconds": 20}, timeout_seconds=0.1)


@pytest.mark.parametrize("trusted", [True, False])
async def test_only_trusted_servers_are_told_who_calls(member: MemberSpec, trusted: bool) -> None:
    ann = Principal("ann", "acme", scopes=frozenset({"content:read"}))
    async with open_pool(quick("one", member, trusted=trusted), key=KEY) as pool:
        result = (await pool.call(ToolCall(ToolRef("one", "whoami")), principal=ann, hops=2)).result
        assert isinstance(result.structured, dict)
        meta = result.structured["meta"]
        assert isinstance(meta, dict)
        if not trusted:
            assert not any(key.startswith("io.stoa/") for key in meta)
            return
        assert meta["io.stoa/hops"] == 2
        assertion = str(meta["io.stoa/principal"])
        if isinstance(member, StdioSpec):  # a key of its own, which only the child knows
            with pytest.raises(StoaError, match="not signed with our key"):
                verify_assertion(assertion, audiences=["raw"], key=KEY, now=time.time())
        else:
            assert verify_assertion(assertion, audiences=["plain"], key=KEY, now=time.time()) == ann


async def test_the_server_is_told_when_a_caller_goes_away(
    pool: Pool, member: MemberSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = anyio.Event()
    said = ""

    async def listen(done: float, total: float | None, message: str | None) -> None:
        begun.set()

    def is_told() -> bool:
        nonlocal said
        said += (
            capsys.readouterr().err
            if not isinstance(member, StdioSpec)
            else "".join(pool.stderr("one").get("one-0", ()))
        )
        return "cancelled" in said

    async with anyio.create_task_group() as tasks:
        slow = ToolCall(ToolRef("one", "slow"), {"seconds": 20})
        tasks.start_soon(lambda: pool.call(slow, principal=LOCAL, progress=listen))
        await begun.wait()
        tasks.cancel_scope.cancel()
    await until(is_told)


async def test_whoever_still_waits_when_the_pool_is_closed_is_told_at_once(member: MemberSpec) -> None:
    caught: list[StoaError] = []

    async def wait(pool: Pool) -> None:
        with pytest.raises(StoaError) as error:
            await call(pool, "one.slow", {"seconds": 20})
        caught.append(error.value)

    async with anyio.create_task_group() as tasks:
        async with open_pool(quick("one", member)) as pool:
            await pool.tools()
            tasks.start_soon(wait, pool)
            await until(lambda: "1 in flight" in repr(pool))
        await until(lambda: bool(caught), within_seconds=3)
    assert isinstance(caught[0], Unavailable)
