"""MCP over Streamable HTTP, both eras: one exchange for each request, in the task of whoever asks.

What goes wrong with one request fails that request only, told for what it is. Redirects are refused. On 2026-07-28
closing the exchange is the cancellation; before, the server is told, and a session may break off a stream of events
and have it fetched again.
"""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import anyio
import httpx2
from anyio.abc import TaskGroup
from mcp.shared.inbound import encode_header_value

from pool.spec import HttpSpec
from pool.wire.asked import Asked
from pool.wire.asker import only_one
from pool.wire.events import EventIsTooBig
from pool.wire.failures import Lost, Refusal, read_error
from pool.wire.http_door import Answer, HttpDoor, header_line
from pool.wire.http_pool import HttpPool
from pool.wire.lean_socket import Broken, LeanAnswer
from pool.wire.link import Wire
from pool.wire.peer import CANCELLED, LOG, TOO_BIG, write_message
from pool.wire.question import PROGRESS, Question
from pool.wire.reading import read_object
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["HttpWire"]

_log = logging.getLogger(__name__)

GOODBYE_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0
MAX_POSTS: Final = 2
LISTEN_SECONDS: Final = 1.0
"""How long the first request waits for the stream that belongs to none: what a server says before is lost."""
RESUME_TIMES: Final = 5
RESUME_SECONDS: Final = 1.0
LEAST_LISTEN_SECONDS: Final = 0.2
MOST_RESUME_SECONDS: Final = 30.0
LISTEN_FAILURES: Final = 5
NAMES: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""What is repeated in the header Mcp-Name."""


class HttpWire(Wire):
    """One member's way over the clients of its pool; headers and cookies are its own."""

    def __init__(self, spec: HttpSpec, *, server: str, pool: HttpPool, auth: httpx2.Auth | None = None) -> None:
        super().__init__()
        self._spec = spec
        self._server = server
        self._door = HttpDoor(spec, pool=pool, auth=auth)
        self._session: str | None = None
        self._pending: dict[int, Question] = {}
        self._tasks: TaskGroup | None = None
        self._asked: Asked | None = None
        self._listens = anyio.Event()
        self._posting = anyio.Semaphore(MAX_POSTS)

    def __repr__(self) -> str:
        return f"<HttpWire {self._server} {self._spec}{' full' if self._door.is_full else ''}>"

    @property
    def is_session(self) -> bool:
        return self._session is not None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks, self._asked = tasks, Asked(tasks, self._post)
            try:
                yield
            finally:
                has_session = self._session is not None and not self.lost.is_set()
                self._abandon("The connection was closed.")
                if has_session:
                    await self._say_goodbye()
                tasks.cancel_scope.cancel()

    def _abandon(self, reason: str) -> None:
        """Whoever still waits for an answer is told."""
        self.lose(reason)
        for question in list(self._pending.values()):
            question.fail(Lost(self.explain()))
            if question.elsewhere is not None:
                question.elsewhere.cancel()

    async def _carry(
        self,
        question: Question,
        method: str,
        params: dict[str, Any],
        *,
        headers: Mapping[str, str] | None,
        is_cancellable: bool,
    ) -> dict[str, Any]:
        id = question.id
        try:
            data = write_message({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        except Refusal:
            raise Refusal(TOO_BIG, f"The request is larger than {MAX_MESSAGE_BYTES >> 20} MiB.", status=413) from None
        self._pending[id] = question
        try:
            with anyio.CancelScope() as question.elsewhere:
                return await self._exchange(question, data, self._more(method, params, headers))
            return await question.answered()
        except anyio.get_cancelled_exc_class():
            if is_cancellable and not self.is_modern and self._tasks is not None:
                told = {"requestId": id, "reason": "The caller no longer waits for the answer."}
                self._tasks.start_soon(self._tell_quietly, CANCELLED, told)
            raise
        finally:
            del self._pending[id]

    async def tell(self, method: str, params: dict[str, Any]) -> None:
        if self.is_modern:
            return  # that revision has no notifications to a server over HTTP
        await self._post({"jsonrpc": "2.0", "method": method, "params": params})
        if method == "notifications/initialized" and self._tasks is not None:
            self._tasks.start_soon(self._listen)
            if self._session is not None:
                with anyio.move_on_after(LISTEN_SECONDS):
                    await self._listens.wait()

    async def _tell_quietly(self, method: str, params: dict[str, Any]) -> None:
        with suppress(Lost, Refusal), anyio.move_on_after(TELL_SECONDS):
            await self.tell(method, params)

    # One exchange.

    async def _exchange(self, question: Question, data: bytes, more: str) -> dict[str, Any]:
        answer = await self._send("POST", more, data, is_held=question.on_notice is not None)
        try:
            if self._session is None and not self.is_modern and (session := answer.headers.get("mcp-session-id")):
                self._session = session
            if answer.status != 200:
                raise self._refused(answer)
            if not answer.is_stream:
                body = answer.body()
                self.traffic.received(len(body))
                message = self._read_message(body)
                if not _is_answer_to(question.id, message):
                    if isinstance(answer, LeanAnswer):
                        answer.fail_late()  # what comes next on this connection would be for somebody else, too
                    raise self._lost("The answer cannot be read: it belongs to another request.")
                return self._read_answer(message)
            result, last_id = await self._follow(question, answer)
        finally:
            await answer.aclose()
        if result is None:
            result = await self._resume(question, last_id, answer.retry_seconds)
        return result

    async def _follow(self, question: Question, answer: Answer) -> tuple[dict[str, Any] | None, str | None]:
        """The answer out of a stream of events; None and the last event's id when it ended before."""
        last_id: str | None = None
        try:
            async for event in answer.events():
                last_id = event.id
                if event.kind == "message" and event.data:
                    result = await self._take(event.data, question)
                    if result is not None:
                        answer.lingers = True
                        return result, last_id
        except EventIsTooBig:
            raise self._lost(
                f"The answer cannot be read: an event is larger than {MAX_MESSAGE_BYTES >> 20} MiB."
            ) from None
        except Broken as error:
            if last_id is None or self.is_modern:
                raise self._lost(f"The answer broke off: {error}.") from error
        return None, last_id

    async def _resume(self, question: Question, last_id: str | None, seconds: float | None) -> dict[str, Any]:
        """Fetch the rest of a stream that the server broke off, as 2025-11-25 allows it."""
        for attempt in range(RESUME_TIMES):
            if last_id is None or self.is_modern:
                break
            await anyio.sleep(min(MOST_RESUME_SECONDS, RESUME_SECONDS * 2**attempt if seconds is None else seconds))
            try:
                answer = await self._send("GET", header_line("last-event-id", last_id), b"")
            except Lost:
                continue
            try:
                if answer.status != 200 or not answer.is_stream:
                    break
                result, newer_id = await self._follow(question, answer)
                if result is not None:
                    return result
                last_id, seconds = newer_id or last_id, answer.retry_seconds
            finally:
                await answer.aclose()
        raise self._lost("The answer broke off: the stream of events ended without it.")

    def _read_message(self, body: bytes) -> dict[str, Any]:
        try:
            message = read_object(body)
        except ValueError as error:
            raise self._lost(f"The answer cannot be read: {str(error)[:300]}.") from error
        return cast("dict[str, Any]", message) if isinstance(message, dict) else {}

    def _read_answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        result, error = fields.get("result"), fields.get("error")
        if isinstance(result, dict):
            return cast("dict[str, Any]", result)
        if isinstance(error, dict):
            raise read_error(cast("dict[str, Any]", error))
        raise self._lost("The answer cannot be read: it is no JSON-RPC message.")

    async def _take(self, data: bytes, question: Question | None) -> dict[str, Any] | None:
        """One message of a stream; the result, if that is what it is. `question` is whose stream it is."""
        self.traffic.received(len(data))
        try:
            message = read_object(data)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            if question is not None:
                raise self._lost("The answer cannot be read: an event is no JSON-RPC message.")
            return None
        fields = cast("dict[str, Any]", message)
        method = fields.get("method")
        if not isinstance(method, str):
            owner = self._owner(fields, question)
            if owner is not None and owner is question:
                return self._read_answer(fields)
            if owner is not None:
                self._answer_elsewhere(owner, fields)
            return None
        params = cast("dict[str, Any]", fields["params"]) if isinstance(fields.get("params"), dict) else {}
        if "id" in fields:
            asker = question.asker if question is not None else only_one(one.asker for one in self._pending.values())
            if self._asked is not None and not self.is_modern:
                self._asked.take(fields, asker)
        elif method == CANCELLED:
            if self._asked is not None:
                self._asked.cancel(params)
        elif question is not None and question.on_notice is not None:
            question.notice(method, params)
        elif method in (PROGRESS, LOG):
            await self._pass_on(method, params, question)
        else:
            self.on_notice(method, params)
        return None

    def _owner(self, fields: Mapping[str, Any], question: Question | None) -> Question | None:
        """Whose answer this is: a server may send it on any stream of the session. Nobody's, when it comes late."""
        if question is not None and _is_answer_to(question.id, fields):
            return question
        return next((one for one in self._pending.values() if fields.get("id") == one.id), None)

    def _answer_elsewhere(self, question: Question, fields: dict[str, Any]) -> None:
        if question.elsewhere is None:
            return
        try:
            question.answer(self._read_answer(fields))
        except (Lost, Refusal) as error:
            question.fail(error)
        question.elsewhere.cancel()

    async def _pass_on(self, method: str, params: dict[str, Any], question: Question | None) -> None:
        """Progress and log messages; what came on no request's stream goes to the one it can belong to."""
        if question is not None:
            await question.tell(method, params)
            return
        token = params.get("progressToken")
        found = [one for one in self._pending.values() if method == LOG or one.id == token]
        if found and (asker := only_one(one.asker for one in found)) is not None:
            await next(one for one in reversed(found) if one.asker is asker).tell(method, params)

    # Requests and answers of HTTP.

    async def _send(self, verb: str, more: str, data: bytes, *, is_held: bool = False) -> Answer:
        if self.protocol is not None:
            more += f"mcp-protocol-version: {self.protocol}\r\n"
        if self._session is not None:
            more += header_line("mcp-session-id", self._session)
        if data:
            self.traffic.sent(len(data))
        try:
            return await self._door.send(verb, more, data, is_held=is_held)
        except Lost as loss:
            if loss.is_final:
                self.lose(loss.reason)
            raise

    def _refused(self, answer: Answer) -> Lost | Refusal:
        """What an answer other than 200 means."""
        failure = self._door.read_refusal(answer, has_session=self._session is not None)
        if isinstance(failure, Lost) and failure.is_final:
            self.lose(failure.reason)
        return failure

    def _lost(self, reason: str) -> Lost:
        return self._door.lost(reason)

    def _more(self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None) -> str:
        if not self.is_modern:
            return ""
        more = header_line("mcp-method", method)
        if (key := NAMES.get(method)) is not None and isinstance(name := params.get(key), str):
            more += f"mcp-name: {encode_header_value(name)}\r\n"
        if headers:
            more += "".join(header_line(name, value) for name, value in headers.items())
        return more

    # Sessions of the handshake era.

    async def _post(self, message: dict[str, Any]) -> None:
        """An answer or a notification of ours. Raises `Lost` and `Refusal`.

        Few at once, for a short time: a server that asks much and takes no answers holds no connections of others.
        """
        with anyio.move_on_after(TELL_SECONDS):
            async with self._posting:
                answer = await self._send("POST", "", write_message(message))
                try:
                    if answer.status >= 300:
                        raise self._refused(answer)
                finally:
                    await answer.aclose()
            return
        raise self._lost(f"A message was not taken within {TELL_SECONDS:g} seconds.")

    async def _listen(self) -> None:
        """Keep the stream open on which a server says what belongs to no request; many have none."""
        last_id: str | None = None
        failures = 0
        while failures < LISTEN_FAILURES and not self.lost.is_set():
            try:
                more = header_line("last-event-id", last_id) if last_id is not None else ""
                answer = await self._send("GET", more, b"", is_held=True)
            except Lost:
                return
            finally:
                self._listens.set()
            seconds = None
            try:
                if answer.status != 200 or not answer.is_stream:
                    return
                async for event in answer.events():
                    failures, last_id = 0, event.id
                    if event.kind == "message" and event.data:
                        await self._take(event.data, None)
            except (Broken, EventIsTooBig) as error:
                _log.debug("the stream of %s broke: %s", self._server, error)
            finally:
                await answer.aclose()
            failures += 1
            seconds = answer.retry_seconds
            seconds = RESUME_SECONDS * 2**failures if seconds is None else max(LEAST_LISTEN_SECONDS, seconds)
            await anyio.sleep(min(MOST_RESUME_SECONDS, seconds))

    async def _say_goodbye(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_SECONDS):
            try:
                await (await self._send("DELETE", "", b"")).aclose()
            except (Lost, Refusal) as error:
                _log.debug("%s did not take the goodbye: %s", self._server, error)


def _is_answer_to(id: int, fields: Mapping[str, Any]) -> bool:
    """Whether the message answers this request. Some servers give a number back as a text, and an error that comes
    before the request was understood names none."""
    given = fields.get("id")
    if isinstance(given, str) and given.isdecimal() and len(given) < 19:
        given = int(given)
    if isinstance(given, int | float):
        return given == id and not isinstance(given, bool)
    return "error" in fields
