"""Bearer tokens (JWT) on HTTP requests and WebSocket upgrades: from headers to a principal, or to a refusal.

One way of signing for each server: a shared secret (HS256 and its longer siblings) or the issuer's published keys
(RS, ES, EdDSA), never both and never `none`, so that no token can choose how it is checked. No message or log line ever
holds any part of a token.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import jwt

from kit.claims import TokenRefused, Verified, read_claims
from kit.jwks import IssuerKeys
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Unavailable
from stoa.principal import Principal
from stoa.settings import AuthSettings

__all__ = ["AuthFailure", "Authenticator", "protected_resource"]

MAX_TOKEN_BYTES: Final = 16 * 2**10
REMEMBERED_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 1024
MIN_SECRET_BYTES: Final = 32

HMAC: Final = ("HS256", "HS384", "HS512")


@dataclass(frozen=True, slots=True)
class AuthFailure:
    """Why a request is not let in, in words of RFC 6750; `error` is none where no token came at all."""

    status: int
    reason: str
    error: str | None = None
    retry_after: float | None = None

    def headers(self, *, resource_metadata: str | None = None) -> list[tuple[bytes, bytes]]:
        """Headers of the answer; `resource_metadata` is the address of the RFC 9728 document, if one is served."""
        if self.retry_after is not None:
            return [(b"retry-after", str(round(self.retry_after)).encode())]
        words = ['realm="stoa"']
        if self.error is not None:
            words += [f'error="{self.error}"', f'error_description="{self.reason}"']
        # The address is built from the request's Host, which nobody has checked yet.
        if (
            resource_metadata is not None
            and resource_metadata.isascii()
            and not set(resource_metadata) & set('"\\\r\n')
        ):
            words.append(f'resource_metadata="{resource_metadata}"')
        return [(b"www-authenticate", f"Bearer {', '.join(words)}".encode("ascii"))]


NO_TOKEN: Final = AuthFailure(401, "A bearer token is needed.")


class Authenticator:
    """Checks tokens by the settings. Raises `BadInput` when made from settings that protect nothing."""

    def __init__(self, auth: AuthSettings, *, clock: Clock | None = None) -> None:
        self._auth = auth
        self._clock = clock if clock is not None else SystemClock()
        self._secret, self._issuer = _trusted(auth, self._clock)
        # RFC 7518 sections 3.2 and 3.3: a secret as long as the hash or longer, RSA keys of 2048 bits or more.
        self._jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})
        # Mutable state: tokens seen a moment ago, by digest, oldest first; never believed past their expiry.
        self._remembered: dict[bytes, tuple[Verified, float]] = {}

    def __repr__(self) -> str:
        return f"<Authenticator by {self._issuer or 'secret'} remembered={len(self._remembered)}>"

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | AuthFailure:
        """Who sends a request with these headers (as ASGI gives them: raw names and values)."""
        verified = await self.admit(headers)
        return verified if isinstance(verified, AuthFailure) else verified.principal

    async def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Verified | AuthFailure:
        """The same with the expiry, for connections that would outlive their token."""
        token = _bearer(headers)
        if not isinstance(token, bytes):
            return token
        now = self._clock.now().timestamp()
        digest = hashlib.sha256(token).digest()
        match self._remembered.get(digest):
            case (verified, until) if now < until:
                return verified
            case _:
                self._remembered.pop(digest, None)
        try:
            verified = read_claims(await self._payload(token), self._auth, now=now)
        except (TokenRefused, jwt.PyJWTError) as refusal:
            # What the library says may quote the token; our own reasons never do.
            reason = str(refusal) if isinstance(refusal, TokenRefused) else "The token cannot be verified."
            return AuthFailure(401, reason, "invalid_token")
        except Unavailable as error:
            return AuthFailure(503, error.message, retry_after=error.retry_after)
        self._remember(digest, verified, now)
        return verified

    async def _payload(self, token: bytes) -> bytes:
        """The payload of a token whose signature holds. Raises `PyJWTError`, `TokenRefused`, `Unavailable`."""
        if self._issuer is None:
            return self._jws.decode_complete(token, self._secret, HMAC)["payload"]
        header = self._jws.get_unverified_header(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            raise TokenRefused("The token's header does not name its key.")
        refusal: jwt.PyJWTError | None = None
        for key in await self._issuer.find(kid, algorithm):
            try:
                return self._jws.decode_complete(token, key.key, (key.algorithm,))["payload"]
            except jwt.PyJWTError as error:
                refusal = error
        raise refusal or TokenRefused("The token is signed with a key that the issuer does not publish.")

    def _remember(self, digest: bytes, verified: Verified, now: float) -> None:
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (verified, min(verified.expires_at, now + REMEMBERED_SECONDS))


def protected_resource(resource: str, auth: AuthSettings) -> dict[str, str | list[str]]:
    """The RFC 9728 document by which a client finds the issuer; `resource` is the address of the MCP endpoint."""
    document: dict[str, str | list[str]] = {"resource": resource, "bearer_methods_supported": ["header"]}
    return document if auth.issuer is None else {**document, "authorization_servers": [auth.issuer]}


def _trusted(auth: AuthSettings, clock: Clock) -> tuple[bytes, IssuerKeys | None]:
    """The secret or the issuer's keys, exactly one of them."""
    if auth.secret is not None and auth.jwks_url is not None:
        raise BadInput("STOA_AUTH_SECRET and STOA_AUTH_JWKS_URL are both set.", hint="Unset one of them.")
    if auth.jwks_url is not None:
        return b"", IssuerKeys(auth.jwks_url, clock=clock)
    if auth.secret is None:
        raise BadInput("Tokens cannot be checked.", hint="Set STOA_AUTH_JWKS_URL or STOA_AUTH_SECRET.")
    secret = auth.secret.get_secret_value().encode()
    if len(secret) < MIN_SECRET_BYTES:
        raise BadInput(f"STOA_AUTH_SECRET has {len(secret)} bytes; it needs {MIN_SECRET_BYTES} or more.")
    return secret, None


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> bytes | AuthFailure:
    """The token of the one Authorization header (RFC 6750 section 2.1)."""
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if len(values) > 1:
        return AuthFailure(400, "The request has more than one Authorization header.", "invalid_request")
    scheme, _, token = (values[0] if values else b"").strip(b" \t").partition(b" ")
    if scheme.lower() != b"bearer":
        return NO_TOKEN
    token = token.strip(b" \t")
    if not token or len(token) > MAX_TOKEN_BYTES or token.count(b".") != 2 or not token.isascii():
        return AuthFailure(401, "The token is not a signed JWT of reasonable size.", "invalid_token")
    return token
