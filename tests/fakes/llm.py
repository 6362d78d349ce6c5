"""A provider of models on loopback: three APIs at one address, answered by a `brain` that the test writes."""

import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.llm_wire import WIRES, Asked, Call, Result, Turn, Wire, encode_event

__all__ = ["Asked", "Brain", "Call", "FakeLlm", "Refusal", "Result", "Turn", "script", "serve_llm"]

Brain = Callable[[Asked], Turn]


@dataclass(frozen=True)
class Refusal:
    """An answer that is no answer. `body` replaces the usual error object, for garbage."""

    status: int
    message: str = "no"
    kind: str = "error"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None
    media_type: str = "application/json"


class FakeLlm:
    """Keeps what it was asked in `requests`; hands out `refusals` first, then asks its brain."""

    def __init__(self, brain: Brain, *refusals: Refusal) -> None:
        self.requests: list[Asked] = []
        self.refusals = deque(refusals)
        self._brain = brain

    def app(self) -> Starlette:
        return Starlette(routes=[Route(wire.path, self._endpoint(wire), methods=["POST"]) for wire in WIRES.values()])

    def _endpoint(self, wire: Wire) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            body = json.loads(await request.body())
            asked = wire.read(body, dict(request.headers))
            self.requests.append(asked)
            if self.refusals:
                return _refuse(self.refusals.popleft())
            turn, number = self._brain(asked), len(self.requests)
            if not asked.stream:
                return JSONResponse(wire.whole(turn, number=number, body=body))
            events = (encode_event(event) for event in wire.events(turn, number=number, body=body))
            return StreamingResponse(events, media_type="text/event-stream")

        return answer


def script(*turns: Turn) -> Brain:
    """A brain that says these turns one after the other and then the last one again."""
    left = deque(turns)
    return lambda _: left.popleft() if len(left) > 1 else left[0]


@asynccontextmanager
async def serve_llm(fake: FakeLlm) -> AsyncGenerator[str]:
    """The address of the stand-in (`http://127.0.0.1:PORT`), as long as the block lasts."""
    server = _Server(uvicorn.Config(fake.app(), host="127.0.0.1", port=0, lifespan="off", ws="none", log_config=None))
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        with anyio.fail_after(10):
            await server.ready.wait()
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        except Exception as error:  # noqa: BLE001 - raised again below, as it is and not inside a group
            failure = error
        finally:
            server.should_exit = server.force_exit = True
    if failure is not None:
        raise failure


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the test runner."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, *args: object, **kwargs: object) -> None:
        await super().startup()
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _refuse(refusal: Refusal) -> Response:
    error = {"type": refusal.kind, "message": refusal.message, "code": None, "param": None}
    body = refusal.body if refusal.body is not None else json.dumps({"type": "error", "error": error})
    return Response(body, refusal.status, dict(refusal.headers), refusal.media_type)
