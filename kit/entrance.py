"""Who may knock over HTTP and WebSocket: the address we bind to, Host and Origin of a request, its bearer token."""

from collections.abc import Iterable

from starlette.responses import JSONResponse, Response

from kit.auth import Authenticator, AuthFailure
from kit.claims import LEEWAY_SECONDS
from kit.identity import Door, internal_key
from kit.loopback import is_loopback
from kit.names import LOOPBACK_NAMES, Names
from stoa.errors import BadInput
from stoa.settings import Settings

__all__ = ["Entrance", "refusal"]

_ANY_ADDRESS = ("0.0.0.0", "::", "[::]", "")  # noqa: S104  # compared with, not bound to


class Entrance:
    """The rules of one address. Raises `BadInput` where others could reach it and nobody would ask who they are."""

    def __init__(self, settings: Settings, *, host: str) -> None:
        self.is_loopback = is_loopback(host)
        if not self.is_loopback and not settings.auth.is_on:
            raise BadInput(
                f"{host!r} can be reached from other machines, and no auth is configured.",
                hint="Set STOA_AUTH_JWKS_URL (or STOA_AUTH_SECRET) with STOA_AUTH_ISSUER and STOA_AUTH_AUDIENCE, "
                "and STOA_ALLOWED_HOSTS to the names this server is reached by; or bind to 127.0.0.1.",
            )
        self._authenticator = Authenticator(settings.auth) if settings.auth.is_on else None
        self.takes_assertions = internal_key(settings) is not None
        self._names = Names(
            hosts=_hosts(settings.allowed_hosts, host),
            origins=[*(f"http://{name}" for name in LOOPBACK_NAMES), *settings.allowed_origins],
        )

    def __repr__(self) -> str:
        return f"<Entrance: {'loopback' if self.is_loopback else 'open'}, auth={self._authenticator is not None}>"

    @property
    def asks_for_tokens(self) -> bool:
        """Always so where others can reach us; on loopback when auth is configured (a proxy may stand before us)."""
        return self._authenticator is not None

    def refuse_foreign(self, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
        """421 for a Host and 403 for an Origin that are not ours."""
        return self._names.refuse(headers)

    async def door(self, headers: Iterable[tuple[bytes, bytes]]) -> Door | AuthFailure:
        """How a request with these headers comes in, or why not."""
        if self._authenticator is None:
            return Door(is_local=True)
        found = await self._authenticator.admit(headers)
        if isinstance(found, AuthFailure):
            return found
        return Door(bearer=found.principal, ends_at=found.expires_at + LEEWAY_SECONDS)


def refusal(failure: AuthFailure, *, resource_metadata: str | None) -> Response:
    response = JSONResponse(
        {"error": failure.error or "unauthorized", "error_description": failure.reason}, status_code=failure.status
    )
    response.raw_headers.extend(failure.headers(resource_metadata=resource_metadata))
    return response


def _hosts(allowed: Iterable[str], host: str) -> list[str]:
    names = [*LOOPBACK_NAMES, *allowed]
    if host not in _ANY_ADDRESS:
        names.append(f"[{host}]" if ":" in host and not host.startswith("[") else host)
    return names
