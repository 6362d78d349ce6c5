"""The fuller HTTP client, httpx2: for what the lean one cannot do, which is proxies and OAuth."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

import httpx2

from pool.wire.events import Event, EventParser
from pool.wire.lean_http import NotSent
from pool.wire.lean_socket import Broken
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["FullAnswer", "FullHttp"]

CONNECT_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 30.0
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
_TIMEOUT = httpx2.Timeout(connect=CONNECT_SECONDS, read=None, write=WRITE_SECONDS, pool=None)
"""Reading has no limit of its own: an answer may take as long as the caller's deadline allows."""


class FullHttp:
    """One httpx2 client for all members of a pool, made when first needed."""

    def __init__(self, *, tls: Callable[[], ssl.SSLContext]) -> None:
        self._tls = tls
        self._client: httpx2.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"<FullHttp {'open' if self._client else 'not used'}>"

    def client(self) -> httpx2.AsyncClient:
        if self._client is None:
            # httpx2's own default keeps 20 connections alive and would reopen the others for each call. What bounds
            # them are the slots of the replicas, which another configuration may change; a limit here could not follow.
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
            self._client = httpx2.AsyncClient(
                limits=limits, timeout=_TIMEOUT, follow_redirects=False, verify=self._tls()
            )
        return self._client

    async def send(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes, *, auth: httpx2.Auth | None
    ) -> "FullAnswer":
        """Raises `NotSent` and `Broken`. Whoever gets the answer closes it."""
        client = self.client()
        try:
            request = client.build_request(method, url, headers=headers, content=body or None)
            response = await client.send(request, stream=True, follow_redirects=False, auth=auth)
        except _NOT_SENT as error:
            raise NotSent(_say(error)) from error
        except httpx2.TransportError as error:
            raise Broken(_say(error)) from error
        finally:
            client.cookies.clear()  # they would be told to other servers of the same host
        answer = FullAnswer(response)
        try:
            await answer.read()
        except BaseException:
            await response.aclose()
            raise
        return answer

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class FullAnswer:
    """An answer like the lean client's."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._body = bytearray()
        self._parser = EventParser()
        self.lingers = False  # is left to httpx2
        self.status = response.status_code
        self.reason = response.reason_phrase
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        cookies = response.headers.get_list("set-cookie")
        if cookies:
            self.headers["set-cookie"] = "\n".join(cookies)
        content_type = self.headers.get("content-type", "").lower()
        self.is_stream = self.status == 200 and content_type.startswith("text/event-stream")

    def __repr__(self) -> str:
        return f"<FullAnswer {self.status}>"

    async def read(self) -> None:
        """All of it, unless it is a stream."""
        if self.is_stream:
            return
        try:
            async for chunk in self._response.aiter_bytes():
                self._body += chunk
                if len(self._body) > MAX_MESSAGE_BYTES:
                    raise _begun(f"it is larger than {MAX_MESSAGE_BYTES >> 20} MiB")
        except httpx2.TransportError as error:
            raise _begun(f"the connection broke: {_say(error)}") from error
        except httpx2.DecodingError as error:
            raise _begun(f"it cannot be unpacked: {_say(error)}") from error
        await self._response.aclose()

    def body(self) -> bytes:
        return bytes(self._body)

    async def events(self) -> AsyncIterator[Event]:
        try:
            async for chunk in self._response.aiter_bytes():
                for event in self._parser.feed(chunk):
                    yield event
        except httpx2.TransportError as error:
            raise Broken(f"the connection broke: {_say(error)}") from error

    @property
    def retry_seconds(self) -> float | None:
        return self._parser.retry_seconds

    async def aclose(self) -> None:
        with suppress(httpx2.TransportError):
            await self._response.aclose()


def _begun(reason: str) -> Broken:
    error = Broken(reason)
    error.has_begun = True
    return error


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
