"""Where the browser comes back to: one small HTTP endpoint on the loopback address, for the length of one login.

Only the answer with the right `state` counts. Anything else that knocks (a page in the browser may try) is turned away,
and the login goes on waiting.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream

from stoa.errors import BadInput, Denied

__all__ = ["Callback", "Returned", "listening"]

HOST: Final = "127.0.0.1"
PATH: Final = "/callback"
MAX_REQUEST_BYTES: Final = 2**14
REQUEST_SECONDS: Final = 10.0

_PAGE: Final = (
    "<!doctype html><meta charset=utf-8><title>Stoa</title>"
    "<body style='font-family: sans-serif; margin: 4em'><p>{said}</p></body>"
)


@dataclass(frozen=True, slots=True, repr=False)
class Returned:
    """What the authorization server sent along: a code that is good for one token."""

    code: str
    state: str
    iss: str | None


class Callback:
    """State: which `state` is expected, and what came back with it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}{PATH}"
        self._state = secrets.token_urlsafe()  # nobody's, until one is expected
        self._came = anyio.Event()
        self._returned: Returned | Denied | None = None

    def __repr__(self) -> str:
        return f"<Callback {self.url}, {'answered' if self._returned else 'waiting'}>"

    def expect(self, authorization_url: str) -> None:
        """The login goes over this address, and comes back with its `state`."""
        self._state = parse_qs(urlsplit(authorization_url).query).get("state", [self._state])[0]

    async def wait(self) -> Returned:
        """Raises `Denied` when the authorization server says no."""
        await self._came.wait()
        if isinstance(self._returned, Returned):
            return self._returned
        assert self._returned is not None
        raise self._returned

    def take(self, target: str) -> tuple[int, str]:
        """What a request for this target means: HTTP status and a sentence for the person in front of the browser."""
        try:
            parts = urlsplit(target)
            said = {name: values[0] for name, values in parse_qs(parts.query, max_num_fields=20).items()}
        except ValueError:
            return 400, "This address cannot be understood."
        if parts.path != PATH:
            return 404, "There is nothing here."
        if not secrets.compare_digest(said.get("state", "").encode(), self._state.encode()):
            return 400, "This is not the login that Stoa is waiting for. Nothing has happened."
        if self._returned is not None:
            return 400, "This login has been answered already."
        if "code" in said and "error" not in said:
            self._returned = Returned(said["code"], said["state"], said.get("iss"))
        else:
            reason = ": ".join(part[:300] for key in ("error", "error_description") if (part := said.get(key)))
            self._returned = Denied(
                f"The login was refused: {reason or 'no reason was given'}.", hint="Run the same command to try again."
            )
        self._came.set()
        if isinstance(self._returned, Denied):
            return 200, "The login was refused. You can close this window."
        return 200, "Stoa has received the login. You can close this window and go back to the terminal."


@asynccontextmanager
async def listening(port: int) -> AsyncGenerator[Callback]:
    """Listen while the block runs; port 0 takes a free one. Raises `BadInput` for one that is taken."""
    try:
        listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    except OSError as error:
        raise BadInput(
            f"The port {port} for the browser's way back cannot be used: {error.strerror}.", hint="Choose another one."
        ) from None
    callback = Callback(listener.extra(SocketAttribute.local_port))  # noqa: S610 - not Django's

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError), anyio.move_on_after(REQUEST_SECONDS):
                await _answer(stream, callback)

    async with listener:
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        tasks.start_soon(listener.serve, serve)
        try:
            yield callback
        finally:  # by hand, because the block's own error shall come out as it is, not inside a group
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)


async def _answer(stream: SocketStream, callback: Callback) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
        if len(head) > MAX_REQUEST_BYTES:
            return
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    is_get = len(words) == 3 and words[0] == "GET"
    status, said = callback.take(words[1]) if is_get else (405, "This is for browsers.")
    page = _PAGE.format(said=said).encode()
    lines = [
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(page)}",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
        "Connection: close",
    ]
    await stream.send("\r\n".join([*lines, "", ""]).encode() + page)
