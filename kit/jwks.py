"""The issuer's public keys (JWKS, RFC 7517): which of them may verify a token, and when they are fetched again.

The algorithm belongs to the key, never to the token: a key is bound to the algorithms of its family and shared secrets
in the document are left out. Keys stay in use for a day while the issuer is away.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import anyio
import jwt

from kit.loopback import is_loopback
from stoa.clock import Clock
from stoa.errors import BadInput, Unavailable

__all__ = ["FRESH_SECONDS", "PAUSE_SECONDS", "STALE_SECONDS", "IssuerKeys", "VerifyKey", "choose_keys", "read_keys"]

FRESH_SECONDS: Final = 300.0
"""Keys are fetched again after this long."""

PAUSE_SECONDS: Final = 10.0
"""The least time between two fetches, whatever key ids callers make up."""

STALE_SECONDS: Final = 24 * 3600.0
"""How long keys stay in use while the issuer does not answer."""

FETCH_SECONDS: Final = 5.0
MAX_DOCUMENT_BYTES: Final = 256 * 2**10
MAX_KEYS: Final = 64

CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
RSA: Final = ("RS256", "RS384", "RS512")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key for one algorithm."""

    kid: str | None
    algorithm: str
    key: jwt.PyJWK


def read_keys(document: bytes) -> tuple[VerifyKey, ...]:
    """The keys of a JWKS document that may verify signatures. Raises `ValueError` when there is none."""
    parsed: object = json.loads(document)
    listed: object = cast(dict[str, object], parsed).get("keys") if isinstance(parsed, dict) else None
    members: list[object] = cast(list[object], listed) if isinstance(listed, list) else []
    keys = tuple(key for member in members[:MAX_KEYS] for key in _read_key(member))
    if not keys:
        raise ValueError("the document holds no key that can verify a signature")
    return keys


def choose_keys(keys: Iterable[VerifyKey], kid: str | None, algorithm: str) -> tuple[VerifyKey, ...]:
    """The keys that a token's header means. Without a key id the answer has to be unmistakable."""
    fitting = [key for key in keys if key.algorithm == algorithm and (kid is None or key.kid == kid)]
    return tuple(fitting) if kid is not None or len(fitting) == 1 else ()


class IssuerKeys:
    """The keys behind one address, fetched when they are first needed."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = _checked(url)
        self._clock = clock
        # Mutable state: what was read and when, and when somebody last tried to (monotonic seconds).
        self._keys: tuple[VerifyKey, ...] = ()
        self._read_at = 0.0
        self._tried_at: float | None = None
        self._fetching = anyio.Lock()

    def __repr__(self) -> str:
        return f"<IssuerKeys {urlsplit(self._url).hostname} keys={len(self._keys)}>"

    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyKey, ...]:
        """Keys that may verify such a token, none if there are none. Raises `Unavailable` while no keys can be had."""
        if not self._keys or self._age() > FRESH_SECONDS:
            # Whoever has old keys does not queue behind the one who fetches new ones.
            await self._refresh(wait=not self._keys)
        if not self._keys or self._age() > STALE_SECONDS:
            raise Unavailable("The issuer's keys cannot be read at the moment.", retry_after=PAUSE_SECONDS)
        if kid is not None and all(key.kid != kid for key in self._keys):
            await self._refresh(wait=True)
        return choose_keys(self._keys, kid, algorithm)

    def _age(self) -> float:
        return self._clock.monotonic() - self._read_at

    async def _refresh(self, *, wait: bool) -> None:
        """Fetch unless somebody just did; failing is not an error here, old keys stay."""
        if not wait and self._fetching.locked():
            return
        async with self._fetching:
            if self._tried_at is not None and self._clock.monotonic() - self._tried_at < PAUSE_SECONDS:
                return
            try:
                self._keys = read_keys(await _fetch(self._url))
                self._read_at = self._clock.monotonic()
            except (OSError, ValueError, RecursionError) as error:  # OSError holds TimeoutError
                log.warning("The keys at %s cannot be read: %s", urlsplit(self._url).hostname, error)
            self._tried_at = self._clock.monotonic()


def _read_key(member: object) -> Iterable[VerifyKey]:
    """One member of the set: for RSA without `alg` a key per algorithm, nothing for what we do not use."""
    if not isinstance(member, dict):
        return
    jwk = cast(dict[str, object], member)
    kid, operations = jwk.get("kid"), jwk.get("key_ops")
    if not isinstance(kid, str | None) or jwk.get("use", "sig") != "sig":
        return
    if operations is not None and not (isinstance(operations, list) and "verify" in cast(list[object], operations)):
        return
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            algorithms: tuple[str, ...] = RSA
        case "EC", str(curve) if curve in CURVES:
            algorithms = (CURVES[curve],)
        case "OKP", "Ed25519":
            algorithms = ("EdDSA",)
        case _:  # above all "oct": a secret that everybody can read is none
            return
    stated = "EdDSA" if jwk.get("alg") == "Ed25519" else jwk.get("alg")  # RFC 9864 renamed it
    public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
    for algorithm in algorithms:
        if stated in (None, algorithm):
            try:
                yield VerifyKey(kid, algorithm, jwt.PyJWK(public, algorithm))
            except jwt.PyJWTError:
                log.warning("A key of the issuer is unusable for %s and left out", algorithm)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        trusted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
        usable = bool(host) and trusted and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(
            "STOA_AUTH_JWKS_URL is not an address that can be trusted.",
            hint="Give an https:// address without a user name; http:// is for 127.0.0.1 only.",
        )
    return url


async def _fetch(url: str) -> bytes:
    """The document. No redirects, no compression, nothing large: raises `OSError` or `ValueError`.

    A client for each fetch: one in five minutes is not worth a connection that somebody has to close.
    """
    import httpx

    loopback = urlsplit(url).scheme == "http"
    try:
        with anyio.fail_after(FETCH_SECONDS):
            async with (
                httpx.AsyncClient(trust_env=not loopback, timeout=FETCH_SECONDS) as client,
                client.stream(
                    "GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}
                ) as answer,
            ):
                if answer.status_code != 200:
                    raise ValueError(f"status {answer.status_code}")
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise ValueError("the answer is compressed")
                document = b""
                async for part in answer.aiter_raw():
                    document += part
                    if len(document) > MAX_DOCUMENT_BYTES:
                        raise ValueError(f"more than {MAX_DOCUMENT_BYTES} bytes")
                return document
    except httpx.HTTPError as error:
        raise OSError(type(error).__name__) from error
