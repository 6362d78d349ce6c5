"""The benchmark runs and counts what it does. What comes out of the clock is never looked at here."""

import os
import sys
from collections import Counter
from pathlib import Path

import anyio
import pytest

from benchmarks.bench_transports import measure
from benchmarks.clients import lean_http
from benchmarks.cold_start import cold_start
from benchmarks.load import closed_loop, percentile

METRICS = {"p50", "p99", "at 1", "at 16", "at 64", "client CPU", "server CPU"}

ANSWERS_TWICE = """
import sys, json
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": [{"name": "echo"}]}}), flush=True)
"""


async def test_every_call_of_a_closed_loop_is_counted_once_and_never_more_than_the_callers_run() -> None:
    made = running = most = 0

    async def call() -> None:
        nonlocal made, running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        made += 1

    window = await closed_loop(call, callers=3, seconds=0.01, server_pid=os.getpid())
    assert window.calls == made
    assert most == 3


async def test_a_wrong_answer_ends_the_measurement() -> None:
    async def call() -> None:
        raise RuntimeError("wrong")

    with pytest.RaisesGroup(RuntimeError):
        await closed_loop(call, callers=1, seconds=60, server_pid=os.getpid())


def test_a_percentile_is_one_of_the_values() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1.0, 3.0, 4.0, 4.0]


async def test_a_cold_start_ends_with_the_list_of_tools() -> None:
    command = (sys.executable, "-c", ANSWERS_TWICE)
    start = await cold_start(command, environment=dict(os.environ))
    assert start.tools == 1


@pytest.mark.slow  # starts two servers
async def test_each_case_gets_one_row_for_each_metric_and_ours_are_held_to_the_floor(tmp_path: Path) -> None:
    rows = await measure(seconds=0.01, rounds=1, seed=1, only="2026-07-28", folder=tmp_path)
    measured = [row for row in rows if row.metric in METRICS]
    assert set(Counter((row.case, row.metric) for row in measured).values()) == {1}
    cases = {row.case for row in measured}
    assert {"floor: bare POST", "stdio 2026-07-28", "ws 2026-07-28", "http 2026-07-28"} <= cases
    assert len(measured) == len(cases) * len(METRICS)
    targets = {row.case: row.target for row in rows if row.target is not None}
    assert targets == {"stdio 2026-07-28": 5, "ws 2026-07-28": 5, "http 2026-07-28": 7}
    assert {row.case for row in rows if row.metric == "server CPU" and row.ratio is None} == {"floor: bare POST"}
    assert {row.metric for row in rows} - METRICS == {"server CPU beside a rival"}


@pytest.mark.slow  # as above, in the other era
async def test_the_handshake_era_is_measured_too(tmp_path: Path) -> None:
    rows = await measure(seconds=0.01, rounds=1, seed=1, only="2025-11-25", folder=tmp_path)
    assert {row.case for row in rows} == {
        "floor: bare POST",
        "stdio 2025-11-25",
        "ws 2025-11-25",
        "http 2025-11-25",
        "http 2025-11-25, SDK client",
    }


async def test_the_lean_client_refuses_an_answer_to_somebody_else() -> None:
    async def answer_anything(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"other"}]}}'
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    with anyio.fail_after(5):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer_anything)
            async with lean_http(port, "2026-07-28")() as opened:
                with pytest.raises(RuntimeError, match="HTTP 200"):
                    await opened.call()
            tasks.cancel_scope.cancel()
