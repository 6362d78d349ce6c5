"""From nothing to the first answer: how much a stdio server takes until `tools/list` is answered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from time import perf_counter

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import BaseModel, JsonValue

from benchmarks.cpu import cpu_seconds, peak_bytes

__all__ = ["ColdStart", "cold_start"]

MAX_SECONDS = 60
MAX_LINE_BYTES = 16 * 2**20

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
MESSAGES: tuple[dict[str, object], ...] = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
)


@dataclass(frozen=True, slots=True)
class ColdStart:
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    tools: int


class Listing(BaseModel):
    tools: list[JsonValue] = []


class Answer(BaseModel):
    """As much of an answer as is looked at. An error has no result and does not fit."""

    result: Listing


async def cold_start(command: Sequence[str], *, environment: Mapping[str, str]) -> ColdStart:
    """Start the command, shake hands, list the tools, end it."""
    begun, answers = perf_counter(), list[Answer]()
    with anyio.fail_after(MAX_SECONDS):
        async with await anyio.open_process(
            command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)
            for message in MESSAGES:
                await process.stdin.send(json.dumps(message).encode() + b"\n")
                if "id" in message:
                    answers.append(Answer.model_validate_json(await lines.receive_until(b"\n", MAX_LINE_BYTES)))
            used, wall, peak = cpu_seconds(process.pid), perf_counter() - begun, peak_bytes(process.pid)
            await process.stdin.aclose()
            await process.wait()
    return ColdStart(used, wall, peak, len(answers[-1].result.tools))
