"""How requests get their token: from the file, renewed shortly before it ends or when a server no longer takes it.

The SDK's own provider is not used here: it holds a lock while it waits for an answer, so that calls would queue behind
each other, and it forgets where to refresh.
"""

from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import httpx2

from pool.login.renewal import read_answer, read_error, refresh_form, renewed
from pool.login.scopes import union, wanted_scope
from pool.login.tokens import Grant, TokenFolder, canonical
from pool.login.web import web_client
from pool.spec import HttpSpec, SseSpec
from stoa.clock import Clock, SystemClock
from stoa.errors import StoaError

__all__ = ["Logins", "TokenAuth"]

EARLY_SECONDS: Final = 30.0
"""A token that ends so soon is renewed before it is used."""
RENEW_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 10.0
"""After a server has refused to renew, it is not asked again for so long."""


class Logins:
    """The logins of one STOA_HOME. `auth` is what a pool's connections ask for; it reads one small file."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self._tokens = TokenFolder(folder)
        self._clock = clock or SystemClock()
        self._known: dict[str, TokenAuth] = {}

    def __repr__(self) -> str:
        return f"<Logins in {self._tokens.folder}: {len(self._known)} used>"

    def auth(self, spec: HttpSpec | SseSpec) -> httpx2.Auth | None:
        """None for a server that nobody has logged in to, and for one whose token stands in its headers.

        Connections to the same address share one, so that only one of them renews. Raises `BadInput` for a
        damaged file.
        """
        if any(name.lower() == "authorization" for name in spec.headers):
            return None
        url = canonical(spec.url)
        if url not in self._known:
            if not spec.login.is_machine and self._tokens.read(url) is None:
                return None
            self._known[url] = TokenAuth(spec, tokens=self._tokens, clock=self._clock)
        return self._known[url]


class TokenAuth(httpx2.Auth):
    """State: the grant as it was last read. Many requests use it at the same time; one at a time renews it."""

    def __init__(self, spec: HttpSpec | SseSpec, *, tokens: TokenFolder, clock: Clock) -> None:
        self._spec = spec
        self._url = canonical(spec.url)
        self._origin = httpx2.URL(self._url)
        self._tokens = tokens
        self._clock = clock
        self._grant: Grant | None = None
        self._lock = anyio.Lock()
        self._refused_at = -AGAIN_SECONDS

    def __repr__(self) -> str:
        return f"<TokenAuth {self._spec}>"

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Raises `ConnectError` when there is no way to the authorization server: nothing was sent then."""
        is_ours = (request.url.scheme, request.url.host, request.url.port) == (
            self._origin.scheme,
            self._origin.host,
            self._origin.port,
        )
        if not is_ours:  # a token is for its server only
            yield request
            return
        grant = self._grant or self._tokens.read(self._url)
        self._grant = grant
        if grant is None or self._ends_in(grant, EARLY_SECONDS):
            try:
                grant = await self._renew(grant, request=request)
            except httpx2.ConnectError:
                if grant is None or self._ends_in(grant, 0):
                    raise  # else it does for now
        if grant is not None:
            request.headers["Authorization"] = f"Bearer {grant.access_token}"
        response = yield request
        scope = wanted_scope(response.headers.get("www-authenticate", "")) if response.status_code == 403 else ""
        if grant is not None and scope and (fresh := await self._want(grant, scope)) is not None:
            request.headers["Authorization"] = f"Bearer {fresh.access_token}"
            yield request
        if response.status_code == 401:
            fresh = await self._renew(grant, request=request)
            if fresh is not None and (grant is None or fresh.access_token != grant.access_token):
                request.headers["Authorization"] = f"Bearer {fresh.access_token}"
                yield request

    async def _want(self, used: Grant, scope: str) -> Grant | None:
        """Take down what another login has to ask for (SEP-2350: beside all that there is); or give what somebody has
        got by one meanwhile."""
        wanted = union(used.scope, scope)
        with suppress(StoaError):
            async with self._lock, self._tokens.locked(self._url):
                stored = self._tokens.read(self._url)
                if stored is None or stored.access_token != used.access_token:
                    self._grant = stored
                    return stored
                if stored.wanted != wanted:
                    self._grant = stored.model_copy(update={"wanted": wanted})
                    self._tokens.write(self._grant)
        return None

    def _ends_in(self, grant: Grant, seconds: float) -> bool:
        return grant.expires_at is not None and grant.expires_at - seconds <= self._clock.now().timestamp()

    async def _renew(self, used: Grant | None, *, request: httpx2.Request) -> Grant | None:
        """Another grant than the one that was used, where there is a way to one; else what there is."""
        # Shielded: a refresh token is spent by using it, and the answer with the next one must not be lost.
        with anyio.CancelScope(shield=True), anyio.move_on_after(RENEW_SECONDS):
            try:
                async with self._lock, self._tokens.locked(self._url):
                    return await self._renew_alone(used)
            except StoaError as error:
                raise httpx2.ConnectError(
                    f"the login could not be renewed: {error.message}", request=request
                ) from error
            except httpx2.RequestError as error:
                said = str(error) or type(error).__name__
                raise httpx2.ConnectError(f"the login could not be renewed: {said}", request=request) from error
        raise httpx2.ConnectError("the login could not be renewed in time", request=request)

    async def _renew_alone(self, used: Grant | None) -> Grant | None:
        stored = self._tokens.read(self._url)
        is_new = stored is not None and (used is None or stored.access_token != used.access_token)
        if is_new and stored is not None and not self._ends_in(stored, EARLY_SECONDS):
            self._grant = stored  # somebody else was faster
            return stored
        if self._clock.monotonic() - self._refused_at < AGAIN_SECONDS:
            return stored
        fresh = await self._refresh(stored) if stored is not None and stored.refresh_token else None
        if fresh is None and self._spec.login.is_machine:
            from pool.login.flow import log_in_as_machine  # brings the SDK's client, which others have no use for

            fresh = await log_in_as_machine(self._spec)
        if fresh is None:
            self._refused_at = self._clock.monotonic()
            self._grant = stored
            return stored
        self._tokens.write(fresh)
        self._grant = fresh
        return fresh

    async def _refresh(self, grant: Grant) -> Grant | None:
        """None when the server takes the refresh token no more: somebody has to log in again."""
        form, headers = refresh_form(grant)
        async with web_client(self._spec.url) as client:
            response = await client.post(grant.token_endpoint, data=form, headers=headers)
            body = await response.aread()
        if response.status_code in (200, 201):
            answer = read_answer(body)
            if answer is None:
                raise httpx2.ReadError("the authorization server sent no token")
            return renewed(grant, answer, now=self._clock.now().timestamp())
        if response.status_code in (400, 401, 403) and read_error(body):
            return None
        raise httpx2.ReadError(f"the authorization server answered with HTTP {response.status_code}")
