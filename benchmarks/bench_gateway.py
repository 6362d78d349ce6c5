"""What a call costs that passes a gateway, beside the same call made directly and beside other people's gateways.

`python -m benchmarks.bench_gateway [--json] [--seconds N] [--rounds N] [--only WORDS] [--seed N] [--check]`

One echo server stands behind all gateways; each gateway is a process of its own and is called over HTTP by the same
lean client, in a protocol era that it speaks. Every round measures all cases in a new order, and before and after each
of them the direct call. Figures are medians over the rounds, ratios are taken within each round. CPU is that of the
gateway's own process: where it starts the echo server as a child, the child is not counted. Ours runs as users run it,
with statistics, trace and the callers' identity, which it signs for the server behind it.
"""

import argparse
import json
import random
import secrets
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks import gateways
from benchmarks.clients import HANDSHAKE, MODERN, Opened, Opener, lean_http, lean_websocket, sdk_stdio
from benchmarks.gateway_figures import DIRECT, Round, rows
from benchmarks.load import closed_loop
from benchmarks.report import Report, Row
from tests.conformance.process import free_port

__all__ = ["CASES", "measure"]

PACKAGES = ("mcp", "fastmcp", "starlette", "uvicorn", "uvloop", "httptools", "websockets", "httpx2", "pydantic")
WARM_UP_CALLS = 20
CHILD = "child"


@dataclass(frozen=True, slots=True)
class Case:
    """A client that speaks `era` with one of the processes."""

    name: str
    process: str
    era: str = MODERN


CASES: tuple[Case, ...] = (
    Case(DIRECT, "direct"),
    Case("direct, ws", "direct"),
    Case("direct, stdio", CHILD),
    Case(f"direct, {HANDSHAKE}", "direct", HANDSHAKE),
    *(Case(f"ours, {upstream} upstream", f"ours-{upstream}") for upstream in gateways.UPSTREAMS),
    *(Case(f"ours, {upstream} upstream, {HANDSHAKE}", f"ours-{upstream}", HANDSHAKE) for upstream in ("http", "stdio")),
    Case("fastmcp create_proxy(url)", "fastmcp-fresh"),
    Case("fastmcp create_proxy(client)", "fastmcp-connected"),
    Case(f"fastmcp create_proxy(url), {HANDSHAKE}", "fastmcp-fresh", HANDSHAKE),
    Case(f"fastmcp create_proxy(client), {HANDSHAKE}", "fastmcp-connected", HANDSHAKE),
    Case(f"mcp-proxy, stdio upstream, {HANDSHAKE}", "mcp-proxy", HANDSHAKE),
)


async def measure(*, seconds: float, rounds: int, seed: int, only: str, folder: Path) -> tuple[Row, ...]:
    """Rows for the cases whose name holds one of the words of `only`, separated by `|`, and for the direct call."""
    rng = random.Random(seed)
    words = only.split("|")
    chosen = [case for case in CASES if case.name == DIRECT or any(word in case.name for word in words)]
    taken: dict[str, list[Round]] = {case.name: [] for case in chosen}
    async with AsyncExitStack() as stack:
        ports, pids = await _started(stack, chosen, folder)
        clients: dict[str, tuple[Opened, int]] = {}
        for case in chosen:
            opened = await stack.enter_async_context(_opener(case, ports, folder)())
            clients[case.name] = opened, opened.pid or pids[case.process]
            for _ in range(WARM_UP_CALLS):
                await opened.call()
        others = [case.name for case in chosen if case.name != DIRECT]
        for _ in range(rounds):
            rng.shuffle(others)
            before = await _round(clients[DIRECT], seconds)
            taken[DIRECT].append(before)
            for name in others:
                measured = await _round(clients[name], seconds)
                after = await _round(clients[DIRECT], seconds)
                taken[name].append(Round(measured.one, measured.some, beside=(before, after)))
                taken[DIRECT].append(after)
                before = after
    return rows(taken)


async def _round(client: tuple[Opened, int], seconds: float) -> Round:
    opened, pid = client
    one, some = [
        await closed_loop(opened.call, callers=callers, seconds=seconds, server_pid=pid) for callers in (1, 16)
    ]
    return Round(one, some)


async def _started(
    stack: AsyncExitStack, chosen: list[Case], folder: Path
) -> tuple[Mapping[str, gateways.Gateway], Mapping[str, int]]:
    """All processes that the cases need: what they are, and their ids."""
    needed = {case.process for case in chosen} - {CHILD}
    key = secrets.token_urlsafe(32)
    server = gateways.echo(free_port(), key=key)
    started = {"direct": server}
    for upstream in gateways.UPSTREAMS:
        if f"ours-{upstream}" in needed:
            started[f"ours-{upstream}"] = gateways.ours(
                upstream, server_port=server.port, port=free_port(), folder=folder, key=key
            )
    for kind in ("fresh", "connected"):
        if f"fastmcp-{kind}" in needed:
            started[f"fastmcp-{kind}"] = gateways.fastmcp(kind, server_port=server.port, port=free_port())
    if "mcp-proxy" in needed:
        started["mcp-proxy"] = gateways.mcp_proxy(port=free_port())
    pids = {name: (await stack.enter_async_context(each.running(folder))).pid for name, each in started.items()}
    return started, pids


def _opener(case: Case, ports: Mapping[str, gateways.Gateway], folder: Path) -> Opener:
    if case.process == CHILD:
        return sdk_stdio(folder / "stdio", case.era)
    gateway = ports[case.process]
    if case.name == "direct, ws":
        return lean_websocket(gateway.port, case.era)
    return lean_http(gateway.port, case.era, tool=gateway.tool)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_gateway", description="Gateways side by side.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of each window (default 0.5)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each case is measured (default 7)")
    parser.add_argument("--only", default="", help="only cases whose name holds one of these, e.g. 'ours|mcp-proxy'")
    parser.add_argument("--seed", type=int, default=1, help="for the order of cases")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()

    async def run() -> tuple[Row, ...]:
        with tempfile.TemporaryDirectory(prefix="stoa-bench-") as folder:
            return await measure(
                seconds=options.seconds,
                rounds=options.rounds,
                seed=options.seed,
                only=options.only,
                folder=Path(folder),
            )

    measured = anyio.run(run, backend_options={"use_uvloop": sys.platform != "win32"})
    report = Report("bench_gateway", measured, seed=options.seed, packages=PACKAGES)
    print(json.dumps(report.document(), indent=2, ensure_ascii=False) if options.json else report.table())
    if options.check and any(row.ok is False for row in measured):
        sys.exit(1)


if __name__ == "__main__":
    main()
