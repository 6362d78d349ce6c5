"""Logging in: the SDK's OAuth client finds the authorization server, registers and trades; here it is driven, told
where the browser comes back to, and what it got is taken down.

Discovery (RFC 9728, RFC 8414, OpenID), dynamic registration or CIMD, PKCE, resource indicators and the check of the
issuer (RFC 9207) are the SDK's. What is ours: no address that a stranger's server could misuse, and errors for people.
"""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.auth.utils import issuers_match
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl, ValidationError

from pool.login.callback import listening
from pool.login.renewal import client_form
from pool.login.tokens import Grant, canonical
from pool.login.web import may_ask, web_client
from pool.redact import mask
from pool.spec import HttpSpec, LoginSpec, SseSpec
from stoa import __version__
from stoa.errors import BadInput, Denied, StoaError, Unavailable

__all__ = ["PERSON_SECONDS", "log_in", "log_in_as_machine", "revoke"]

PERSON_SECONDS: Final = 300.0
"""How long a person may take in the browser."""
PROTOCOL: Final = "2025-11-25"
MAX_SAID: Final = 300

_KNOCK: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
"""Whatever is asked without a token is answered with 401, and from there the SDK finds its way."""
_LET_IN: Final = (400, 405, 406, 415, 422)
"""What servers without a login say to it: they want a session or another revision, and no token."""


async def log_in(
    spec: HttpSpec | SseSpec,
    *,
    show: Callable[[str], Awaitable[None]],
    before: Grant | None = None,
    wait_seconds: float = PERSON_SECONDS,
) -> Grant:
    """Log in as a person; `show` is given the address that the browser has to open. `before` is the login that there
    is: what the server has asked for beyond it is asked for now, too.

    Raises `Denied` when somebody says no, `BadInput` when the server asks for no login, `Unavailable` when the one or
    the other server cannot be reached or nobody answers in time.
    """
    async with listening(spec.login.port) as callback:
        known = _known_client(spec.login, callback.url)

        async def redirect(url: str) -> None:
            context = provider.context
            if known is not None and (context.client_info is None or context.client_info.client_id != known.client_id):
                raise Denied(
                    f"The client {known.client_id!r} belongs to {spec.login.issuer}, but the server asks for a login "
                    f"at {context.auth_server_url}.",
                    hint="Correct stoa.logins.",
                )
            if not may_ask(url, server=spec.url):
                raise Denied(f"The login page of {spec} is not at an https address, so it is not opened.")
            callback.expect(url)
            await show(url)

        async def answer() -> AuthorizationCodeResult:
            returned = await callback.wait()
            return AuthorizationCodeResult(code=returned.code, state=returned.state, iss=returned.iss)

        provider = _Person(
            spec.url,
            OAuthClientMetadata(
                redirect_uris=[AnyUrl(callback.url)],
                client_name="Stoa",
                software_id="stoa",
                software_version=__version__,
            ),
            _Nothing(known),
            redirect_handler=redirect,
            callback_handler=answer,
            client_metadata_url=spec.login.metadata_url or None,
        )
        provider.scope = spec.login.scope or (before.wanted if before is not None else None) or ""
        with anyio.move_on_after(wait_seconds):
            return await _obtain(spec, provider)
    raise Unavailable(f"Nobody has finished the login in {wait_seconds:g} seconds.", hint="Run the same command again.")


async def log_in_as_machine(spec: HttpSpec | SseSpec) -> Grant:
    """Log in with the client's own secret. Raises like `log_in`."""
    login = spec.login
    provider = _Machine(
        server_url=spec.url,
        storage=_Nothing(None),
        client_id=login.client_id,
        client_secret=login.client_secret,
        issuer=login.issuer,
    )
    provider.scope = login.scope
    return await _obtain(spec, provider)


async def revoke(grant: Grant) -> bool:
    """Tell the authorization server to forget the tokens (RFC 7009), where it takes that. Whether it did."""
    if grant.revocation_endpoint is None or not may_ask(grant.revocation_endpoint, server=grant.url):
        return False
    kind = "refresh_token" if grant.refresh_token else "access_token"
    form, headers = client_form(grant, {"token": grant.refresh_token or grant.access_token, "token_type_hint": kind})
    with suppress(httpx2.RequestError):
        async with web_client(grant.url) as client:
            response = await client.post(grant.revocation_endpoint, data=form, headers=headers)
            return response.status_code == 200
    return False


class _Person(OAuthClientProvider):
    scope = ""

    async def _perform_authorization(self) -> httpx2.Request:
        if self.scope:  # the SDK has put there what the server asked for
            self.context.client_metadata.scope = self.scope
        return await super()._perform_authorization()


class _Machine(ClientCredentialsOAuthProvider):
    scope = ""

    async def _perform_authorization(self) -> httpx2.Request:
        if self.scope:
            self.context.client_metadata.scope = self.scope
        return await super()._perform_authorization()


class _Nothing:
    """The SDK's idea of a store: it starts empty, and what it is given is taken from the provider afterwards."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self._client = client

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None: ...

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None: ...


def _known_client(login: LoginSpec, redirect_url: str) -> OAuthClientInformationFull | None:
    if not login.client_id:
        return None
    return OAuthClientInformationFull(
        client_id=login.client_id,
        client_secret=login.client_secret or None,
        token_endpoint_auth_method="client_secret_basic" if login.client_secret else "none",
        redirect_uris=[AnyUrl(redirect_url)],
        issuer=login.issuer or None,
    )


async def _obtain(spec: HttpSpec | SseSpec, provider: OAuthClientProvider) -> Grant:
    """Knock without a token and let the provider do what follows."""
    try:
        with _silent():
            async with web_client(spec.url, auth=provider) as client:
                status = await _knock(client, spec)
    except StoaError:
        raise
    except httpx2.RequestError as error:
        said = mask(str(error) or type(error).__name__, spec.secrets)[:MAX_SAID]
        raise Unavailable(f"The login to {spec} did not get through: {said}.") from None
    except (OAuthFlowError, ValidationError, ValueError) as error:
        # The words of validation quote what they found, which may be a token.
        said = "its answer cannot be understood" if isinstance(error, ValidationError) else str(error)
        raise Denied(f"The login to {spec} failed: {mask(said, spec.secrets)[:MAX_SAID]}.") from None
    if provider.context.current_tokens is None:
        if status < 400 or status in _LET_IN:
            raise BadInput(f"{spec} does not ask for a login.", hint="There is nothing to do.")
        if status == 404:
            raise BadInput(f"There is no MCP server at {spec} (HTTP 404).", hint="Correct its url in mcp.json.")
        raise Unavailable(f"{spec} answers with HTTP {status}, which is no request for a login.")
    if status == 401:
        raise Denied(f"{spec} does not accept the token that its own authorization server has given.")
    return _grant(spec, provider, provider.context.current_tokens)


async def _knock(client: httpx2.AsyncClient, spec: HttpSpec | SseSpec) -> int:
    """The status of one request. The body of an answer that may never end is left alone."""
    headers = {**spec.headers, "accept": "application/json, text/event-stream", "mcp-protocol-version": PROTOCOL}
    if isinstance(spec, SseSpec):
        request = client.build_request("GET", spec.url, headers={**headers, "accept": "text/event-stream"})
    else:
        request = client.build_request("POST", spec.url, headers=headers, json=_KNOCK)
    response = await client.send(request, stream=True)
    await response.aclose()
    return response.status_code


def _grant(spec: HttpSpec | SseSpec, provider: OAuthClientProvider, tokens: OAuthToken) -> Grant:
    context, metadata, client = provider.context, provider.context.oauth_metadata, provider.context.client_info
    assert client is not None, "there are no tokens without a client"
    if metadata is not None and spec.login.issuer and not issuers_match(str(metadata.issuer), spec.login.issuer):
        raise Denied(f"The tokens for {spec} come from {metadata.issuer}, not from {spec.login.issuer}.")
    origin = httpx2.URL(spec.url)
    revocation = metadata.revocation_endpoint if metadata is not None else None
    return Grant(
        url=canonical(spec.url),
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_at=context.token_expiry_time,
        scope=tokens.scope,
        issuer=str(metadata.issuer) if metadata is not None else None,
        resource=context.get_resource_url() if context.should_include_resource_param(PROTOCOL) else None,
        token_endpoint=str(metadata.token_endpoint) if metadata is not None else str(origin.join("/token")),
        revocation_endpoint=str(revocation) if revocation is not None else None,
        client_id=client.client_id,
        client_secret=client.client_secret,
        client_auth=client.token_endpoint_auth_method,
    )


@contextmanager
def _silent() -> Generator[None]:
    """The SDK logs each failure with its trace and the server's words; they are told once, by us, and masked."""
    log = logging.getLogger("mcp.client.auth.oauth2")

    def nothing(record: logging.LogRecord) -> bool:
        return False

    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)
