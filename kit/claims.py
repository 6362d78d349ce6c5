"""What a verified token says: from its claims to a principal. Pure; the signature has been checked elsewhere.

Reasons are fixed sentences: they go back to the caller, so nothing of a token is ever in them.
"""

import json
import math
from dataclasses import dataclass
from typing import Final, cast

from stoa.principal import Principal
from stoa.settings import AuthSettings

__all__ = ["LEEWAY_SECONDS", "MAX_NAME_CHARACTERS", "TokenRefused", "Verified", "read_claims"]

LEEWAY_SECONDS: Final = 30
"""By how much the clocks of issuer and server may differ."""

MAX_NAME_CHARACTERS: Final = 256
MAX_SCOPES: Final = 1000


class TokenRefused(Exception):
    """The token is not believed; the message is safe to send back."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A believed token: who it speaks for, and until when in seconds since the epoch."""

    principal: Principal
    expires_at: float


def read_claims(payload: bytes, auth: AuthSettings, *, now: float) -> Verified:
    """The principal of a token's payload (RFC 7519 section 4.1). Raises `TokenRefused`."""
    claims = _parse(payload)
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise TokenRefused("The token has no expiry.")
    if now >= expires_at + LEEWAY_SECONDS:
        raise TokenRefused("The token has expired.")
    for name in ("nbf", "iat"):
        if (_time(claims, name) or 0.0) > now + LEEWAY_SECONDS:
            raise TokenRefused("The token is not valid yet.")
    if auth.issuer is not None and claims.get("iss") != auth.issuer:
        raise TokenRefused("The token comes from another issuer.")
    if auth.audience is not None and auth.audience not in _texts(claims, "aud", split=False):
        raise TokenRefused("The token is meant for another audience.")
    principal = Principal(
        subject=_name(claims, "sub", "a subject"),
        tenant=_name(claims, auth.tenant_claim, "a tenant"),
        roles=frozenset(_texts(claims, "roles", split=True)),
        scopes=frozenset(_texts(claims, auth.scope_claim, split=True)),
    )
    return Verified(principal, expires_at)


def _parse(payload: bytes) -> dict[str, object]:
    try:
        claims: object = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TokenRefused("The token's payload is not a JSON object.")
    return cast(dict[str, object], claims)


def _time(claims: dict[str, object], name: str) -> float | None:
    """A NumericDate, or none where the claim is missing. `true`, NaN and text are not times."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("A time in the token is not a number.")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise TokenRefused("A time in the token is not a number.")
    return seconds


def _name(claims: dict[str, object], name: str, what: str) -> str:
    """A subject or tenant, as it stands: cleaning it up could make two of them one."""
    value = claims.get(name)
    if value is None or value == "":
        raise TokenRefused(f"The token does not name {what}.")
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARACTERS:
        raise TokenRefused(f"The token does not name {what} in a text of at most {MAX_NAME_CHARACTERS} characters.")
    if not value.isprintable() or value != value.strip():
        raise TokenRefused(f"The token names {what} with blanks around it or with characters that cannot be printed.")
    return value


def _texts(claims: dict[str, object], name: str, *, split: bool) -> list[str]:
    """A claim that is one text (of words between spaces where `split`) or a list of texts; none where it is missing."""
    value = claims.get(name)
    match value:
        case None:
            return []
        case str():
            texts = value.split(" ") if split else [value]
        case list():
            texts = cast(list[object], value)
        case _:
            raise TokenRefused("A list in the token is neither a text nor a list of texts.")
    words = [text for text in texts if isinstance(text, str) and text]
    if len(texts) > MAX_SCOPES or len([text for text in texts if text != ""]) != len(words):
        raise TokenRefused("A list in the token is neither a text nor a list of texts.")
    return words
