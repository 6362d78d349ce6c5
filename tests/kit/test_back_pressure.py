"""A client that asks and does not read: what waits for it is bounded, and it is what waits."""

import anyio
import anyio.lowlevel
import pytest

from kit.duplex import MAX_OPEN_REQUESTS, MAX_UNSENT_BYTES, Duplex
from kit.eras import serve_duplex
from tests.kit.example import Example
from tests.kit.test_limits import call, raw_pipes


class Stuck:
    """A wire with endless requests for long answers, of which nothing is taken until `released`."""

    def __init__(self, *, megabytes: int) -> None:
        self.megabytes = megabytes
        self.asked = 0
        self.answered = 0
        self.held = 0
        self.peak = 0
        self.released = anyio.Event()
        self.is_over = False

    async def receive(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.is_over:
            raise anyio.EndOfStream
        self.asked += 1
        return call(self.asked, None, tool="grow").replace(
            b'{}, "_meta"', b'{"megabytes": %d}, "_meta"' % self.megabytes
        )

    async def send(self, message: bytes) -> None:
        self.held += len(message)
        self.peak = max(self.peak, self.held)
        await self.released.wait()
        self.held -= len(message)
        self.answered += 1
        self.is_over = self.answered > 100


async def test_requests_are_not_read_while_too_much_waits_to_be_written(example: Example) -> None:
    wire = Stuck(megabytes=2)
    with anyio.fail_after(20):
        async with (
            example.server.lowlevel.lifespan(example.server.lowlevel) as state,
            anyio.create_task_group() as group,
        ):

            async def serve() -> None:
                await serve_duplex(example.server.lowlevel, Duplex(wire), lifespan_state=state)

            group.start_soon(serve)
            await anyio.wait_all_tasks_blocked()
            asked = wire.asked
            assert 0 < wire.peak < MAX_UNSENT_BYTES * 2
            assert asked < 20
            wire.released.set()
            # What waited is written, and reading goes on; the group ends with the stream.
    assert wire.answered > 100
    assert wire.answered == wire.asked


@pytest.mark.parametrize("again", [7, "7"])
async def test_an_id_that_is_still_open_is_refused_and_free_again_once_answered(
    example: Example, again: int | str
) -> None:
    repeated = call(7, "again").replace(b'"id": 7', b'"id": "7"' if isinstance(again, str) else b'"id": 7')
    async with raw_pipes(example) as lines:
        await lines.write(b"\n".join([call(7, None, tool="wait"), *[repeated] * 3]) + b"\n")
        refused = [await lines.read() for _ in range(3)]
        assert [(one["id"], one["error"]["code"]) for one in refused] == [(again, -32600)] * 3
        example.release.set()
        assert (await lines.read())["result"]["content"][0]["text"] == "waited"
        await lines.write(repeated + b"\n")
        assert (await lines.read())["result"]["structuredContent"]["text"] == "again"


def test_one_connection_holds_a_few_hundred_requests() -> None:
    assert MAX_OPEN_REQUESTS <= 256
