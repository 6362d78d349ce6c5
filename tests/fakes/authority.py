"""An MCP server that asks for OAuth, and the authorization server it names, as one ASGI app; both at the wire.

PKCE, rotation of refresh tokens (a spent one ends the whole grant), dynamic registration, client credentials, and the
habits that tests switch on.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Authority"]


@dataclass
class Authority:
    """`behind` is the server that needs a token. What it does not take is answered with 401 and where to go."""

    behind: ASGIApp
    expires_in: int | None = 3600
    denies: bool = False
    wrong_state: bool = False
    wrong_issuer: bool = False
    machine: tuple[str, str] | None = None
    rotates: bool = True
    token_endpoint: str | None = None
    open_to_all: bool = False
    together: int = 0
    """A refresh is answered only when so many requests have been refused: their senders all want one at that time."""
    refused: int = 0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    good: set[str] = field(default_factory=set[str])
    refreshable: dict[str, str] = field(default_factory=dict[str, str])
    scopes: list[str] = field(default_factory=list[str])
    _codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _spent: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/.well-known/oauth-protected-resource/mcp", self._resource),
                Route("/.well-known/oauth-authorization-server", self._metadata),
                Route("/register", self._register, methods=["POST"]),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/revoke", self._revoke, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/mcp":
            await (self.behind if scope["type"] != "http" else self.app)(scope, receive, send)
            return
        request = Request(scope, receive)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.good or self.open_to_all:
            await self.behind(scope, receive, send)
            return
        self.refused += 1
        base = str(request.base_url).rstrip("/")
        challenge = f'Bearer resource_metadata="{base}/.well-known/oauth-protected-resource/mcp", scope="tools"'
        await Response(status_code=401, headers={"www-authenticate": challenge})(scope, receive, send)

    def count(self, grant_type: str) -> int:
        return sum(form.get("grant_type") == grant_type for _, form in self.asked)

    def expire(self) -> None:
        """No access token is taken any more; refresh tokens are."""
        self.good.clear()
        self.refused = 0

    def forget(self) -> None:
        """Nor is any refresh token."""
        self.expire()
        self.refreshable.clear()

    async def _resource(self, request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        return JSONResponse({"resource": f"{base}/mcp", "authorization_servers": [base]})

    async def _metadata(self, request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        return JSONResponse(
            {
                "issuer": "http://127.0.0.1:1" if self.wrong_issuer else base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": self.token_endpoint or f"{base}/token",
                "registration_endpoint": f"{base}/register",
                "revocation_endpoint": f"{base}/revoke",
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _register(self, request: Request) -> Response:
        asked = await request.json()
        return JSONResponse(
            {**asked, "client_id": f"client-{secrets.token_hex(4)}", "token_endpoint_auth_method": "none"}, 201
        )

    async def _authorize(self, request: Request) -> Response:
        said = dict(request.query_params)
        self.asked.append(("/authorize", said))
        self.scopes.append(said.get("scope", ""))
        code = secrets.token_urlsafe()
        self._codes[code] = said
        base = str(request.base_url).rstrip("/")
        state = "another" if self.wrong_state else said["state"]
        answer = {"error": "access_denied", "error_description": "not today"} if self.denies else {"code": code}
        return RedirectResponse(f"{said['redirect_uri']}?{urlencode({**answer, 'state': state, 'iss': base})}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.asked.append(("/token", form))
        kind = form.get("grant_type")
        if kind == "authorization_code":
            said = self._codes.pop(form["code"], None)
            digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
            if said is None or said["code_challenge"] != digest.rstrip("=") or said["resource"] != form["resource"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            return self._issue(said.get("scope", ""))
        if kind == "client_credentials":
            basic = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
            if self.machine is None or basic != ":".join(self.machine):
                return JSONResponse({"error": "invalid_client"}, 401)
            return self._issue(form.get("scope", ""), refreshes=False)
        while self.refused < self.together:  # noqa: ASYNC110 - nothing here tells when a request has come
            await anyio.sleep(0.005)
        token = form.get("refresh_token", "")
        if token in self._spent:  # somebody has stolen it, for all we know
            self.forget()
        if token not in self.refreshable:
            return JSONResponse({"error": "invalid_grant", "error_description": "the token is unknown"}, 400)
        if self.rotates:
            self._spent.add(token)
            return self._issue(self.refreshable.pop(token))
        return self._issue(self.refreshable[token], refreshes=False)

    async def _revoke(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.asked.append(("/revoke", form))
        self.refreshable.pop(form["token"], None)
        return Response(status_code=200)

    def _issue(self, scope: str, *, refreshes: bool = True) -> Response:
        token = f"hunter2-access-{secrets.token_urlsafe()}"
        self.good.add(token)
        answer: dict[str, object] = {"access_token": token, "token_type": "bearer", "scope": scope}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if refreshes:
            refresh = f"hunter2-refresh-{secrets.token_urlsafe()}"
            self.refreshable[refresh] = scope
            answer["refresh_token"] = refresh
        return JSONResponse(answer, headers={"cache-control": "no-store"})
