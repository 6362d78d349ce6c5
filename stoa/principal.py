"""Who calls, and the short-lived signed note by which the caller crosses a hop between two of our processes.

The assertion is `base64url(json) "." base64url(HMAC-SHA256)`, at most 60 seconds old, made for one server (the
audience). It is not a JWT on purpose: it never leaves our own processes, has one algorithm and needs no library.
"""

import base64
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoa.errors import Denied

__all__ = ["ASSERTION_SECONDS", "LOCAL", "Principal", "sign_assertion", "verify_assertion"]

ASSERTION_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `scopes` are `resource:verb` (`content:read`); `resource:*` and `*` grant all verbs and everything."""

    subject: str
    tenant: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    def allows(self, scope: str) -> bool:
        resource = scope.partition(":")[0]
        return not self.scopes.isdisjoint({scope, f"{resource}:*", "*"})

    def require(self, scope: str) -> None:
        """Raise `Denied` unless the scope is granted."""
        if not self.allows(scope):
            raise Denied(
                f"{self.subject!r} lacks the scope {scope!r}.",
                hint="Ask for a token that carries it.",
            )


LOCAL: Final = Principal(subject="local", tenant="default", roles=frozenset({"owner"}), scopes=frozenset({"*"}))
"""The person at this machine: callers over stdio and the command line who bring no assertion."""


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sub: str = Field(min_length=1)
    tenant: str = Field(min_length=1)
    roles: list[str]
    scopes: list[str]
    aud: str
    exp: int


def sign_assertion(principal: Principal, *, audience: str, key: bytes, now: float) -> str:
    """The assertion for one hop; `now` in seconds since the epoch, `audience` the name of the server called."""
    claims = {
        "sub": principal.subject,
        "tenant": principal.tenant,
        "roles": sorted(principal.roles),
        "scopes": sorted(principal.scopes),
        "aud": audience,
        "exp": int(now) + ASSERTION_SECONDS,
    }
    body = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{body}.{_encode(_mac(key, body))}"


def verify_assertion(assertion: str, *, audiences: Iterable[str], key: bytes, now: float) -> Principal:
    """The principal in an assertion. Raises `Denied` when it is forged, stale or made for another server."""
    body, _, mac = assertion.partition(".")
    try:
        genuine = hmac.compare_digest(_decode(mac), _mac(key, body))
        claims = _Claims.model_validate_json(_decode(body)) if genuine else None
    except (ValueError, ValidationError):
        claims = None
    if claims is None:
        raise Denied(
            "The caller's assertion is not signed with our key.", hint="Set the same STOA_INTERNAL_KEY on both ends."
        )
    if not now <= claims.exp <= now + 2 * ASSERTION_SECONDS:
        raise Denied("The caller's assertion has expired.", hint="Set the clocks of both machines.")
    if claims.aud not in set(audiences):
        raise Denied(f"The caller's assertion was made for the server {claims.aud!r}.")
    return Principal(claims.sub, claims.tenant, frozenset(claims.roles), frozenset(claims.scopes))


def _mac(key: bytes, body: str) -> bytes:
    return hmac.digest(key, body.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
