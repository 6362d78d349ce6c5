"""The door to one HTTP endpoint: its headers and cookies, and what its answers mean where they are no messages."""

import base64
import re
from typing import Any, Final, cast
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from pool.redact import mask, mask_url
from pool.spec import HttpSpec
from pool.wire.events import EventIsTooBig
from pool.wire.failures import Lost, Refusal, read_error
from pool.wire.full_http import FullAnswer
from pool.wire.http_pool import HttpPool, needs_proxy
from pool.wire.lean_http import NotSent
from pool.wire.lean_socket import Broken, LeanAnswer
from pool.wire.peer import TOO_BIG
from pool.wire.reading import read_object
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["Answer", "HttpDoor", "header_line"]

CONNECTION_CLOSED: Final = -32000
OF_TRANSPORT: Final = frozenset({-32000, -32001, -32600})
"""What servers answer for a session that they do not know, beside HTTP 404: the SDKs' own codes."""
MAX_SHOWN: Final = 300
MAX_RETRY_AFTER: Final = 3600.0
_SAFE_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII), re.compile(r"[\x20-\x7e\t]*")
_OURS = frozenset({"host", "content-length", "content-type", "accept", "accept-encoding", "connection"})

Answer = LeanAnswer | FullAnswer


class HttpDoor:
    """One member's way over the clients of its pool."""

    def __init__(self, spec: HttpSpec, *, pool: HttpPool, auth: httpx2.Auth | None) -> None:
        self._spec = spec
        self._pool = pool
        self._auth = auth
        self.is_full = auth is not None or needs_proxy(spec.url)
        self._cookies: dict[str, str] = {}
        parts = urlsplit(spec.url)
        host = parts.hostname or ""
        self._origin = (parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = [
            ("host", parts.netloc.rpartition("@")[2]),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("accept-encoding", "identity"),
            ("user-agent", "stoa"),
            *((name, value) for name, value in spec.headers.items() if name.lower() not in _OURS),
        ]
        if parts.username is not None and "authorization" not in {name.lower() for name in spec.headers}:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers.append(("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
        self._head = "".join(f"{name}: {value}\r\n" for name, value in self._headers)

    def __repr__(self) -> str:
        return f"<HttpDoor {self._spec}{' full' if self.is_full else ''}>"

    async def send(self, verb: str, more: str, data: bytes, *, is_held: bool = False) -> Answer:
        """Whoever gets the answer closes it. `is_held`: to listen on. Raises `Lost`."""
        if self._cookies:
            more += f"cookie: {'; '.join(f'{name}={value}' for name, value in self._cookies.items())}\r\n"
        try:
            if self.is_full:
                extra = [cast("tuple[str, str]", tuple(line.split(": ", 1))) for line in more.split("\r\n")[:-1]]
                answer = await self._pool.full.send(
                    verb, self._spec.url, [*self._headers, *extra], data, auth=self._auth
                )
            else:
                size = f"content-length: {len(data)}\r\n" if verb == "POST" else ""
                head = f"{verb} {self._path} HTTP/1.1\r\n{self._head}{more}{size}\r\n"
                answer = await self._pool.lean.send(self._origin, head.encode("latin-1") + data, is_held=is_held)
        except NotSent as error:
            if not error.is_final:
                raise Lost(f"All connections to {self._spec} are busy.", sent=False, is_final=False) from error
            raise self.lost(f"{self._spec} cannot be reached: {error}.", sent=False, is_final=True) from error
        except EventIsTooBig as error:
            raise self.lost(f"An event of {self._spec} is larger than {MAX_MESSAGE_BYTES >> 20} MiB.") from error
        except Broken as error:
            said = "The answer cannot be read" if error.has_begun else f"{self._spec} did not answer"
            raise self.lost(f"{said}: {error}.") from error
        if (cookies := answer.headers.get("set-cookie")) is not None:
            self._keep_cookies(cookies)
        if not self.is_full and answer.headers.get("content-encoding", "identity").lower() != "identity":
            await answer.aclose()
            raise self.lost("The answer cannot be read: it is compressed, which nobody asked for.")
        return answer

    def read_refusal(self, answer: Answer, *, has_session: bool) -> Lost | Refusal:
        """What an answer other than 200 means."""
        status, body = answer.status, b"" if answer.is_stream else answer.body()
        if 300 <= status < 400 and (location := answer.headers.get("location")):
            return self._no(
                f"{self._spec} redirects to {self._target(location)}; redirects are refused.", status=status
            )
        error = _error_in(body)
        if has_session and (status == 404 or (status == 400 and error is not None and _is_of_session(error))):
            # Nothing has been done: the server did not find the session, and so not even the request.
            return self.lost("The server no longer knows our session.", sent=False, is_final=True)
        if error is not None and status >= 400:
            return error
        if 200 <= status < 300:
            return self.lost(f"The answer cannot be read: HTTP {status} without a message.")
        return self._no(
            f"{self._spec} answered with HTTP {status} {answer.reason}".rstrip() + ".",
            status=status,
            retry_after=_seconds(answer.headers.get("retry-after")),
        )

    def _target(self, location: str) -> str:
        try:
            return mask_url(urljoin(self._spec.url, location)).partition("?")[0][:MAX_SHOWN]
        except ValueError:
            return "what is no address"

    def _no(self, message: str, *, status: int, retry_after: float | None = None) -> Refusal:
        said = mask(message, self._spec.secrets)
        return Refusal(CONNECTION_CLOSED, said, status=status, retry_after=retry_after)

    def lost(self, reason: str, *, sent: bool = True, is_final: bool = False) -> Lost:
        said = mask(reason, self._spec.secrets)
        return Lost(said, sent=sent, is_final=is_final)

    def _keep_cookies(self, lines: str) -> None:
        """What a balancer in front of a session's server tells it by."""
        for line in lines.split("\n"):
            name, sign, value = line.partition(";")[0].strip().partition("=")
            is_small = len(self._cookies) < 20 and len(value) < 4096
            if sign and is_small and _SAFE_HEADER[0].fullmatch(name) and _SAFE_HEADER[1].fullmatch(value):
                self._cookies[name] = value


def header_line(name: str, value: str) -> str:
    """A header. Raises `Refusal` for what would not be one."""
    if not _SAFE_HEADER[0].fullmatch(name) or not _SAFE_HEADER[1].fullmatch(value):
        raise Refusal(TOO_BIG, f"The header {name!r:.80} cannot be sent: it is not printable ASCII on one line.")
    return f"{name}: {value}\r\n"


def _is_of_session(error: Refusal) -> bool:
    """Whether it is the transport that has lost the session; of arguments that are called so a tool speaks itself."""
    return error.code in OF_TRANSPORT and "session" in error.message.lower()


def _error_in(body: bytes) -> Refusal | None:
    try:
        message = read_object(body)
    except ValueError:
        return None
    error = cast("dict[str, Any]", message).get("error") if isinstance(message, dict) else None
    if not isinstance(error, dict) or not isinstance(cast("dict[str, Any]", error).get("code"), int):
        return None
    return read_error(cast("dict[str, Any]", error))


def _seconds(text: str | None) -> float | None:
    return min(MAX_RETRY_AFTER, float(text)) if text is not None and text.isdecimal() and len(text) < 10 else None
