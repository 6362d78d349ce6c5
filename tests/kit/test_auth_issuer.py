"""Tokens signed by an issuer with published keys: a real JWKS endpoint, real key pairs, rotation, outages."""

import base64
import hmac
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import anyio
import anyio.abc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from kit.auth import Authenticator, AuthFailure
from kit.jwks import FRESH_SECONDS, MAX_DOCUMENT_BYTES, PAUSE_SECONDS, STALE_SECONDS, read_keys
from stoa.clock import ManualClock
from stoa.principal import Principal
from stoa.settings import AuthSettings

Jwk = dict[str, Any]  # pyjwt's own type for one


@dataclass(frozen=True)
class Pair:
    """A key pair of the issuer: what it signs with, and the JWK it publishes."""

    kid: str | None
    alg: str
    private: Any  # one of the three kinds of private key that jwt.encode takes
    public: Jwk

    def sign(self, clock: ManualClock, *, header: Mapping[str, object] | None = None, **claims: object) -> str:
        said = {"sub": "ann", "tenant": "acme", "exp": clock.now().timestamp() + 10 * STALE_SECONDS, **claims}
        headers = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(said, self.private, self.alg, headers={**headers, **(header or {})})

    def publish(self, **changed: object) -> Jwk:
        named: Jwk = {} if self.kid is None else {"kid": self.kid}
        return {**self.public, **named, **changed}


@cache
def rsa_private(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def rsa_pair(kid: str | None = "r1", *, alg: str = "RS256", number: int = 0, bits: int = 2048) -> Pair:
    private = rsa_private(number, bits)
    return Pair(kid, alg, private, RSAAlgorithm.to_jwk(private.public_key(), as_dict=True))


def ec_pair(kid: str, alg: str, curve: ec.EllipticCurve) -> Pair:
    private = ec.generate_private_key(curve)
    return Pair(kid, alg, private, ECAlgorithm.to_jwk(private.public_key(), as_dict=True))


def ed_pair(kid: str = "d1") -> Pair:
    private = ed25519.Ed25519PrivateKey.generate()
    return Pair(kid, "EdDSA", private, OKPAlgorithm.to_jwk(private.public_key(), as_dict=True))


@dataclass
class Issuer:
    """An HTTP endpoint that answers with `answer`, counts who asks, and can be told to wait."""

    url: str
    status: str = "200 OK"
    headers: str = ""
    body: bytes = b""
    asked: int = 0
    gate: anyio.Event = field(default_factory=anyio.Event)
    requests: list[bytes] = field(default_factory=list[bytes])

    def publish(self, *keys: Jwk) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # whoever asked gave up
            async with stream:
                await self._answer(stream)

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        self.requests.append(await stream.receive())
        self.asked += 1
        await self.gate.wait()
        head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n{self.headers}\r\n"
        await stream.send(head.encode() + self.body)


@asynccontextmanager
async def running_issuer(*keys: Jwk) -> AsyncGenerator[Issuer]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    issuer = Issuer(f"http://127.0.0.1:{port}/jwks")
    issuer.publish(*keys)
    issuer.gate.set()
    with anyio.fail_after(20):
        async with listener, anyio.create_task_group() as group:
            group.start_soon(partial(listener.serve, issuer.serve))
            yield issuer
            group.cancel_scope.cancel()


def checker(issuer: Issuer, clock: ManualClock) -> Callable[[str], Any]:
    """`await check(token)`: the principal's subject, or the refusal's status."""
    auth = Authenticator(AuthSettings.model_validate({"jwks_url": issuer.url}), clock=clock)

    async def check(token: str) -> str | int:
        answer = await auth.authenticate([(b"authorization", f"Bearer {token}".encode())])
        return answer.status if isinstance(answer, AuthFailure) else answer.subject

    return check


PAIRS = {
    "RS256": lambda: rsa_pair(alg="RS256"),
    "RS384": lambda: rsa_pair(alg="RS384"),
    "RS512": lambda: rsa_pair(alg="RS512"),
    "ES256": lambda: ec_pair("e1", "ES256", ec.SECP256R1()),
    "ES384": lambda: ec_pair("e2", "ES384", ec.SECP384R1()),
    "ES512": lambda: ec_pair("e3", "ES512", ec.SECP521R1()),
    "EdDSA": ed_pair,
}


@pytest.mark.parametrize("alg", PAIRS)
async def test_each_family_of_keys_is_believed(alg: str) -> None:
    clock, pair = ManualClock(), PAIRS[alg]()
    async with running_issuer(pair.publish(use="sig"), ed_pair("other").publish()) as issuer:
        assert await checker(issuer, clock)(pair.sign(clock)) == "ann"


async def test_keys_are_fetched_once_for_many_tokens_at_once() -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        issuer.gate = anyio.Event()
        check = checker(issuer, clock)
        answers: list[str | int] = []

        async def ask(number: int) -> None:
            answers.append(await check(pair.sign(clock, sub=f"u{number}")))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            issuer.gate.set()
        assert sorted(map(str, answers)) == sorted(f"u{number}" for number in range(20))
        assert issuer.asked == 1


async def test_a_public_key_is_no_shared_secret() -> None:
    """The classic confusion: HS256 with the published RSA key as the secret."""
    clock, pair = ManualClock(), rsa_pair()
    kinds = serialization.PublicFormat.SubjectPublicKeyInfo
    pem, der = (
        pair.private.public_key().public_bytes(encoding, kinds)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    )
    async with running_issuer(pair.publish()) as issuer:
        check = checker(issuer, clock)
        for secret in (pem, pem.strip(), der, str(pair.public["n"]).encode(), json.dumps(pair.public).encode(), b""):
            for alg in ("HS256", "RS256", "none"):
                assert await check(with_hmac({"alg": alg, "kid": "r1"}, secret, clock)) == 401
                assert await check(with_hmac({"alg": alg}, secret, clock)) == 401


def with_hmac(header: Mapping[str, object], secret: bytes, clock: ManualClock) -> str:
    """A token made by hand: no library would sign with such a secret."""
    claims = {"sub": "eve", "tenant": "acme", "exp": clock.now().timestamp() + 60}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.digest(secret, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


async def test_a_secret_in_the_key_set_is_left_out() -> None:
    clock = ManualClock()
    oct_key: Jwk = {"kty": "oct", "kid": "o1", "alg": "HS256", "k": "c2VjcmV0" * 8}
    bearer = Pair("o1", "HS256", b"secret" * 8, oct_key).sign(clock)
    async with running_issuer(oct_key, rsa_pair().publish()) as issuer:
        assert await checker(issuer, clock)(bearer) == 401
    with pytest.raises(ValueError, match="no key"):
        read_keys(json.dumps({"keys": [oct_key]}).encode())


@pytest.mark.parametrize(
    "published",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "RSA-OAEP"},
        {"kid": "r2"},
        {"kid": 7},
        {"kid": None},
        {"kty": "EC"},
        {"kty": "oct"},
        {"n": 7},
        {"n": ""},
        {"e": None},
    ],
    ids=repr,
)
async def test_a_key_for_another_use_does_not_verify(published: Jwk) -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish(**published), ed_pair().publish()) as issuer:
        assert await checker(issuer, clock)(pair.sign(clock)) == 401


async def test_a_weak_rsa_key_does_not_verify() -> None:
    clock, weak = ManualClock(), rsa_pair("weak", bits=1024)
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        bearer = weak.sign(clock)
    async with running_issuer(weak.publish()) as issuer:
        assert await checker(issuer, clock)(bearer) == 401


async def test_a_key_of_one_kid_does_not_verify_for_another() -> None:
    clock, first, second = ManualClock(), rsa_pair("r1"), rsa_pair("r2", number=1)
    async with running_issuer(first.publish(), second.publish()) as issuer:
        check = checker(issuer, clock)
        assert await check(first.sign(clock)) == "ann"
        assert await check(first.sign(clock, header={"kid": "r2"})) == 401


async def test_two_keys_of_one_kid_are_both_tried() -> None:
    clock, first, second = ManualClock(), rsa_pair("r1"), rsa_pair("r1", number=1)
    async with running_issuer(first.publish(), second.publish()) as issuer:
        check = checker(issuer, clock)
        assert [await check(first.sign(clock)), await check(second.sign(clock))] == ["ann", "ann"]


async def test_without_a_kid_only_an_unmistakable_key_verifies() -> None:
    clock, pair = ManualClock(), rsa_pair(None)
    async with running_issuer(pair.publish(kid="r1"), ed_pair().publish()) as issuer:
        assert await checker(issuer, clock)(pair.sign(clock)) == "ann"
        issuer.publish(pair.publish(kid="r1"), rsa_pair("r2", number=1).publish())
        assert await checker(issuer, clock)(pair.sign(clock)) == 401


@pytest.mark.parametrize(
    "kid", ["", "../../etc/passwd", "' OR 1=1 --", "http://evil/jwks", "R1", "r1 ", "r1\x00", "x" * 8000]
)
async def test_a_made_up_kid_is_a_name_and_nothing_else(kid: str) -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        assert await checker(issuer, clock)(pair.sign(clock, header={"kid": kid})) == 401
        assert all(request.startswith(b"GET /jwks HTTP/1.1\r\n") for request in issuer.requests)


async def test_addresses_of_keys_in_a_token_are_not_visited() -> None:
    clock, pair, evil = ManualClock(), rsa_pair(), rsa_pair("evil", number=1)
    async with running_issuer(pair.publish()) as issuer, running_issuer(evil.publish()) as trap:
        header = {"jku": trap.url, "x5u": trap.url, "jwk": evil.publish(), "kid": "evil"}
        assert await checker(issuer, clock)(evil.sign(clock, header=header)) == 401
        assert trap.asked == 0


async def test_a_rotated_key_is_found_by_fetching_once_more() -> None:
    clock, old, new = ManualClock(), rsa_pair("r1"), rsa_pair("r2", number=1)
    async with running_issuer(old.publish()) as issuer:
        check = checker(issuer, clock)
        assert await check(old.sign(clock)) == "ann"
        issuer.publish(old.publish(), new.publish())
        clock.advance(PAUSE_SECONDS)
        assert await check(new.sign(clock)) == "ann"
        assert issuer.asked == 2


async def test_made_up_kids_cannot_make_us_ask_the_issuer_more_often() -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        check = checker(issuer, clock)
        for number in range(50):
            assert await check(pair.sign(clock, header={"kid": f"k{number}"})) == 401
        assert issuer.asked == 1
        clock.advance(PAUSE_SECONDS)
        for number in range(50):
            assert await check(pair.sign(clock, header={"kid": f"k{number}"})) == 401
        assert issuer.asked == 2


async def test_a_withdrawn_key_stops_being_believed() -> None:
    clock, old, new = ManualClock(), rsa_pair("r1"), rsa_pair("r2", number=1)
    async with running_issuer(old.publish()) as issuer:
        check, bearer = checker(issuer, clock), old.sign(clock)
        assert await check(bearer) == "ann"
        issuer.publish(new.publish())
        clock.advance(FRESH_SECONDS + 1)
        assert await check(bearer) == 401


@pytest.mark.parametrize(
    "outage",
    [
        {"status": "500 Internal Server Error"},
        {"status": "302 Found", "headers": "Location: https://evil.example/jwks\r\n"},
        {"headers": "Content-Encoding: gzip\r\n"},
        {"body": b'{"keys": []}'},
        {"body": b"[" * 100_000},
        {"body": b"<html>"},
        {"body": b"\xff"},
        {"body": json.dumps({"keys": [ed_pair().publish()]}).encode() + b" " * MAX_DOCUMENT_BYTES},
    ],
    # The names must be the same in every worker process; the key in the last one is a fresh one each time.
    ids=["error", "redirect", "not gzip", "no keys", "too deep", "a page", "not text", "too long"],
)
async def test_known_keys_stay_in_use_while_the_issuer_is_away(outage: Mapping[str, object]) -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        check = checker(issuer, clock)
        assert await check(pair.sign(clock)) == "ann"
        for name, value in outage.items():
            setattr(issuer, name, value)
        clock.advance(FRESH_SECONDS + 1)
        assert await check(pair.sign(clock, sub="bob")) == "bob"
        assert issuer.asked == 2
        clock.advance(STALE_SECONDS)
        assert await check(pair.sign(clock, sub="eve")) == 503


async def test_nobody_gets_in_while_no_keys_could_ever_be_read() -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        issuer.status = "503 Service Unavailable"
        auth = Authenticator(AuthSettings.model_validate({"jwks_url": issuer.url}), clock=clock)
        headers = [(b"authorization", f"Bearer {pair.sign(clock)}".encode())]
        for _ in range(5):
            answer = await auth.authenticate(headers)
            assert isinstance(answer, AuthFailure)
            assert (answer.status, answer.headers()) == (503, [(b"retry-after", b"10")])
        assert issuer.asked == 1
        issuer.status = "200 OK"
        clock.advance(PAUSE_SECONDS)
        assert await auth.authenticate(headers) == Principal("ann", "acme")


async def test_nobody_queues_behind_a_slow_issuer_while_old_keys_are_known() -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        check = checker(issuer, clock)
        assert await check(pair.sign(clock)) == "ann"
        clock.advance(FRESH_SECONDS + 1)
        issuer.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(check, pair.sign(clock, sub="first"))
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(2):  # the fetch may take longer
                assert await check(pair.sign(clock, sub="second")) == "second"
            assert not issuer.gate.is_set()
            issuer.gate.set()


async def test_a_caller_who_gives_up_during_the_fetch_does_not_shut_out_the_next_one() -> None:
    clock, pair = ManualClock(), rsa_pair()
    async with running_issuer(pair.publish()) as issuer:
        check = checker(issuer, clock)
        issuer.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(check, pair.sign(clock))
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        issuer.gate.set()
        assert await check(pair.sign(clock)) == "ann"
