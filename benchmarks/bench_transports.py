"""What a call costs on each transport and in each protocol era, and what it costs to start a server.

`python -m benchmarks.bench_transports [--json] [--seconds N] [--rounds N] [--only WORDS] [--seed N]`

One echo tool on the kit, called directly, beside the floor (a bare POST endpoint on the same uvicorn) and beside two
rivals. All servers run for the whole time, each a process of its own; every round measures the floor, then all cases in
a new order, then the floor again. Figures are medians over the rounds, ratios are taken within each round. The servers
are as users run them: who calls, arguments, telemetry and error translation are not switched off.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import anyio

from benchmarks.clients import MODERN, Opened, Opener, lean_http, lean_websocket, sdk_http, sdk_stdio
from benchmarks.cold_start import cold_start
from benchmarks.load import Window, closed_loop, percentile
from benchmarks.report import Report, Row
from tests.conformance.process import free_port, script, server_environment, serving

__all__ = ["measure"]

ERAS = ("2026-07-28", "2025-11-25")
FLOOR = "floor: bare POST"
PACKAGES = ("mcp", "fastmcp", "starlette", "uvicorn", "uvloop", "httptools", "websockets", "httpx2", "pydantic")
COLD_STARTS = 5
WARM_UP_CALLS = 40
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Case:
    """Who calls whom. `target`: the most that server CPU per call may be, in times of the floor."""

    name: str
    server: str
    opener: Opener
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One case in one round."""

    one: Window
    some: Window
    many: Window


def cases(ports: dict[str, int], home: Path) -> tuple[Case, ...]:
    kit = ports["kit"]
    listed = [Case(FLOOR, "floor", lean_http(ports["floor"], MODERN))]
    for era in ERAS:
        limit: Callable[[float], float | None] = (lambda most: most) if era == MODERN else (lambda _: None)
        listed += [
            Case(f"stdio {era}", "child", sdk_stdio(home / era, era), limit(5)),
            Case(f"ws {era}", "kit", lean_websocket(kit, era), limit(5)),
            Case(f"http {era}", "kit", lean_http(kit, era), limit(7)),
            Case(f"http {era}, SDK client", "kit", sdk_http(kit, era)),
        ]
    return (
        *listed,
        Case(f"rival FastMCP http_app {MODERN}", "fastmcp", lean_http(ports["fastmcp"], MODERN)),
        Case(f"rival SDK MCPServer {MODERN}", "sdk", lean_http(ports["sdk"], MODERN)),
    )


async def measure(*, seconds: float, rounds: int, seed: int, only: str, folder: Path) -> tuple[Row, ...]:
    """Rows for the cases whose name holds `only`; the floor is always among them."""
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        ports = {kind: free_port() for kind in ("floor", "kit", "fastmcp", "sdk")}
        chosen = [case for case in cases(ports, folder) if only in case.name or case.name == FLOOR]
        pids: dict[str, int] = {}
        for kind in sorted({case.server for case in chosen} - {"child"}):
            command = (sys.executable, "-m", "benchmarks.echo", kind, str(ports[kind]))
            environment = server_environment(folder / kind)
            server = serving(command, port=ports[kind], environment=environment, log=folder / f"{kind}.log")
            pids[kind] = (await stack.enter_async_context(server)).pid
        clients: dict[str, tuple[Opened, int]] = {}
        for case in chosen:
            opened = await stack.enter_async_context(case.opener())
            clients[case.name] = opened, opened.pid or pids[case.server]
            for _ in range(WARM_UP_CALLS):
                await opened.call()
        samples: dict[str, list[Sample]] = {case.name: [] for case in chosen}
        others = [case.name for case in chosen if case.name != FLOOR]
        for _ in range(rounds):
            rng.shuffle(others)
            for name in (FLOOR, *others, FLOOR):
                opened, pid = clients[name]
                samples[name].append(await _sample(opened, pid, seconds))
    return _rows(chosen, samples)


async def _sample(opened: Opened, pid: int, seconds: float) -> Sample:
    one, some, many = [
        await closed_loop(opened.call, callers=callers, seconds=seconds, server_pid=pid) for callers in (1, 16, 64)
    ]
    return Sample(one, some, many)


def _rows(chosen: Sequence[Case], samples: dict[str, list[Sample]]) -> tuple[Row, ...]:
    used = {name: [sample.some.server_cpu_us for sample in taken] for name, taken in samples.items()}
    floor = [mean(pair) for pair in zip(used[FLOOR][::2], used[FLOOR][1::2], strict=True)]
    rows: list[Row] = []
    for case in chosen:
        taken = samples[case.name]

        def middle(read: Callable[[Sample], float], taken: Sequence[Sample] = taken) -> float:
            return median(read(sample) for sample in taken)

        rows += [
            Row(case.name, "p50", "ms", middle(lambda sample: percentile(sample.one.latencies, 50) * 1e3)),
            Row(case.name, "p99", "ms", middle(lambda sample: percentile(sample.one.latencies, 99) * 1e3)),
            Row(case.name, "at 1", "calls/s", middle(lambda sample: sample.one.calls_per_second)),
            Row(case.name, "at 16", "calls/s", middle(lambda sample: sample.some.calls_per_second)),
            Row(case.name, "at 64", "calls/s", middle(lambda sample: sample.many.calls_per_second)),
            Row(case.name, "client CPU", "µs/call", middle(lambda sample: sample.some.client_cpu_us)),
        ]
        cost, unit = median(used[case.name]), "µs/call"
        if case.name == FLOOR:
            rows.append(Row(case.name, "server CPU", unit, cost))
        else:
            times = median(mine / bare for mine, bare in zip(used[case.name], floor, strict=True))
            rows.append(Row(case.name, "server CPU", unit, cost, rival="floor", ratio=times, target=case.target))
    return (*rows, *_beside_rivals(used))


def _beside_rivals(used: dict[str, list[float]]) -> list[Row]:
    """Our HTTP beside theirs, called by the same client with the same bytes."""
    ours = used.get(f"http {MODERN}", [])
    rivals = [name for name in used if name.startswith("rival")] if ours else []
    return [
        Row(
            f"http {MODERN} beside {name.removeprefix('rival ')}",
            "server CPU beside a rival",
            "µs/call",
            median(ours),
            rival="it",
            ratio=median(mine / theirs for mine, theirs in zip(ours, used[name], strict=True)),
        )
        for name in rivals
    ]


async def measure_start(folder: Path) -> tuple[Row, ...]:
    """`stoa serve content` on stdio until tools/list is answered; the first start makes the home for the others."""
    environment = server_environment(folder / "content")
    command = (script("stoa"), "serve", "content")
    starts = [await cold_start(command, environment=environment) for _ in range(COLD_STARTS)]
    case = "stoa serve content, first answer"
    return (
        Row(case, "CPU", "s", median(start.cpu_seconds for start in starts), target=1.5),
        Row(case, "peak memory", "MB", median(start.peak_bytes for start in starts) / MEGABYTE, target=130),
        Row(case, "wall", "s", median(start.wall_seconds for start in starts)),
    )


async def bench(options: argparse.Namespace, folder: Path) -> Report:
    rows = await measure(
        seconds=options.seconds, rounds=options.rounds, seed=options.seed, only=options.only, folder=folder
    )
    if options.only in "cold start":
        rows += await measure_start(folder)
    return Report("bench_transports", rows, seed=options.seed, packages=PACKAGES)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_transports", description="MCP transports side by side."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of each window (default 0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (default 5)")
    parser.add_argument("--only", default="", help="only cases whose name holds this, e.g. 'ws' or 'cold start'")
    parser.add_argument("--seed", type=int, default=1, help="for the order of cases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stoa-bench-") as folder:
        report = anyio.run(bench, options, Path(folder), backend_options={"use_uvloop": sys.platform != "win32"})
    print(json.dumps(report.document(), indent=2, ensure_ascii=False) if options.json else report.table())


if __name__ == "__main__":
    main()
