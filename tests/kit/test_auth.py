"""Tokens signed with a shared secret: what is believed, what is refused, and what a refusal says."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from kit.auth import MAX_REMEMBERED, MAX_TOKEN_BYTES, Authenticator, AuthFailure, protected_resource
from kit.claims import LEEWAY_SECONDS
from stoa.clock import ManualClock
from stoa.errors import BadInput
from stoa.principal import Principal
from stoa.settings import AuthSettings

SECRET = "s" * 64
CLOCK = ManualClock()
NOW = CLOCK.now().timestamp()
CLAIMS: Mapping[str, object] = {"sub": "ann", "tenant": "acme", "scope": "content:read content:write", "exp": NOW + 600}
ANN = Principal("ann", "acme", scopes=frozenset({"content:read", "content:write"}))


def settings(**changed: object) -> AuthSettings:
    return AuthSettings.model_validate({"secret": SecretStr(SECRET), **changed})


def token(
    claims: Mapping[str, object] | None = None, *, key: str = SECRET, alg: str = "HS256", **changed: object
) -> str:
    return jwt.encode({**(CLAIMS if claims is None else claims), **changed}, key, algorithm=alg)


async def check(
    bearer: str | bytes, auth: AuthSettings | None = None, clock: ManualClock = CLOCK
) -> Principal | AuthFailure:
    raw = bearer.encode() if isinstance(bearer, str) else bearer
    return await Authenticator(auth or settings(), clock=clock).authenticate([(b"authorization", b"Bearer " + raw)])


async def refusal(bearer: str | bytes, auth: AuthSettings | None = None) -> AuthFailure:
    answer = await check(bearer, auth)
    assert isinstance(answer, AuthFailure)
    return answer


def handmade(
    header: Mapping[str, object], claims: Mapping[str, object] = CLAIMS, *, key: bytes = SECRET.encode()
) -> str:
    """A token as an attacker writes it, signed with HMAC-SHA256 whatever its header says."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.digest(key, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


async def test_a_token_becomes_the_principal_it_names() -> None:
    assert await check(token()) == ANN


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_each_hmac_algorithm_is_believed(alg: str) -> None:
    assert await check(token(alg=alg)) == ANN


async def test_a_hash_longer_than_the_secret_is_not_used() -> None:
    auth = settings(secret=SecretStr("s" * 32))
    assert await check(handmade({"alg": "HS256"}, key=b"s" * 32), auth) == ANN
    mac512 = jwt.PyJWS().encode(json.dumps(dict(CLAIMS)).encode(), b"s" * 64, "HS512")
    assert (await refusal(mac512, auth)).status == 401


@pytest.mark.parametrize(
    "scope", ["content:read content:write", ["content:read", "content:write"], " content:read  content:write "]
)
async def test_scopes_come_as_words_or_as_a_list(scope: object) -> None:
    assert await check(token(scope=scope)) == ANN


async def test_scopes_and_roles_may_be_missing() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "scope"}
    assert await check(token(claims)) == Principal("ann", "acme")
    assert await check(token(roles=["admin"])) == Principal("ann", "acme", frozenset({"admin"}), ANN.scopes)


@pytest.mark.parametrize("claim", ["scope", "roles"])
@pytest.mark.parametrize("value", [7, {"content:read": True}, ["content:read", 7], [["*"]], True, ["x"] * 1001])
async def test_scopes_and_roles_of_another_shape_are_refused(claim: str, value: object) -> None:
    assert (await refusal(token({**CLAIMS, claim: value}))).error == "invalid_token"


async def test_claims_may_have_other_names() -> None:
    auth = settings(tenant_claim="https://example.com/org", scope_claim="scp")
    bearer = token({**CLAIMS, "https://example.com/org": "globex", "scp": ["content:read"]})
    assert await check(bearer, auth) == Principal("ann", "globex", scopes=frozenset({"content:read"}))


@pytest.mark.parametrize(
    "tenant", [None, "", " ", 42, True, ["acme"], {"id": "acme"}, "acme ", "ac\x00me", "ac\u200bme", "a" * 257]
)
async def test_a_token_without_a_plain_tenant_is_401(tenant: object) -> None:
    answer = await refusal(token(tenant=tenant))
    assert (answer.status, answer.error) == (401, "invalid_token")
    assert "tenant" in answer.reason


async def test_tenants_that_look_alike_stay_two() -> None:
    latin, cyrillic = await check(token(tenant="acme")), await check(token(tenant="\u0430\u0441me"))
    assert isinstance(latin, Principal)
    assert isinstance(cyrillic, Principal)
    assert latin.tenant != cyrillic.tenant


@pytest.mark.parametrize("subject", [None, "", 7, "a\n"])
async def test_a_token_without_a_subject_is_refused(subject: object) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "sub"}
    assert "subject" in (await refusal(handmade({"alg": "HS256"}, claims | {"sub": subject}))).reason


@pytest.mark.parametrize("seconds", [LEEWAY_SECONDS - 1, 0, -1])
async def test_clocks_may_differ_by_the_leeway(seconds: float) -> None:
    assert await check(token(exp=NOW - seconds)) == ANN
    assert await check(token(nbf=NOW + seconds, iat=NOW + seconds)) == ANN


@pytest.mark.parametrize(
    "times",
    [
        {"exp": NOW - LEEWAY_SECONDS},
        {"exp": None},
        {"exp": str(NOW + 600)},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": NOW + LEEWAY_SECONDS + 1},
        {"nbf": "now"},
        {"nbf": True},
        {"iat": NOW + LEEWAY_SECONDS + 1},
        {"iat": []},
    ],
    ids=repr,
)
async def test_times_that_do_not_hold_are_refused(times: Mapping[str, object]) -> None:
    assert (await refusal(handmade({"alg": "HS256"}, {**CLAIMS, **times}))).status == 401


@pytest.mark.parametrize("issuer", [None, "https://other", "https://issuer/", ["https://issuer"]])
async def test_the_issuer_has_to_be_the_one_configured(issuer: object) -> None:
    auth = settings(issuer="https://issuer")
    assert await check(token(iss="https://issuer"), auth) == ANN
    assert "issuer" in (await refusal(handmade({"alg": "HS256"}, {**CLAIMS, "iss": issuer}), auth)).reason


@pytest.mark.parametrize("audience", [None, "other", "stoa other", ["other"], {"stoa": 1}, 7])
async def test_the_audience_has_to_be_the_one_configured(audience: object) -> None:
    auth = settings(audience="stoa")
    assert await check(token(aud="stoa"), auth) == await check(token(aud=["other", "stoa"]), auth) == ANN
    assert (await refusal(handmade({"alg": "HS256"}, {**CLAIMS, "aud": audience}), auth)).status == 401


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", None, "RS256", "ES256", "EdDSA", "PS256", "HS1", "hs256", ["HS256"], 7]
)
async def test_a_token_cannot_choose_another_algorithm(alg: object) -> None:
    signed = handmade({"alg": alg, "typ": "JWT"})
    unsigned = signed.rpartition(".")[0] + "."
    assert (await refusal(signed)).status == (await refusal(unsigned)).status == 401


@pytest.mark.parametrize(
    "header", [{"jwk": {"kty": "oct", "k": "AAAA"}}, {"jku": "https://evil"}, {"x5u": "https://evil"}]
)
async def test_keys_in_the_header_are_not_looked_at(header: Mapping[str, object]) -> None:
    assert (await refusal(handmade({"alg": "HS256", **header}, key=b""))).status == 401


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"kid": 7}]
)
async def test_headers_that_must_be_understood_and_are_not_are_refused(header: Mapping[str, object]) -> None:
    assert (await refusal(handmade({"alg": "HS256", **header}))).status == 401


async def test_another_secret_or_a_changed_claim_is_refused() -> None:
    assert (await refusal(token(key="x" * 64))).reason == "The token cannot be verified."
    head, _, mac = token().split(".")
    body = base64.urlsafe_b64encode(json.dumps({**CLAIMS, "tenant": "globex"}).encode()).rstrip(b"=").decode()
    assert (await refusal(f"{head}.{body}.{mac}")).status == 401


@given(st.text(max_size=120) | st.binary(max_size=120).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
async def test_nothing_made_up_gets_in(made_up: str) -> None:
    answer = await check(made_up.encode("utf-8", "surrogatepass"))
    assert isinstance(answer, AuthFailure)
    assert answer.status == 401
    assert answer.headers()


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"7", b"{", b"\xff\xfe", b"[" * 5000], ids=lambda raw: repr(raw[:8])
)
async def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    assert (await refusal(jwt.PyJWS().encode(payload, SECRET, "HS256"))).status == 401


@pytest.mark.parametrize("size", [MAX_TOKEN_BYTES, 10_000_000])
async def test_a_huge_token_is_refused_before_any_work(size: int) -> None:
    assert "size" in (await refusal(b"a" * size + b".b.c")).reason


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", token().encode())],
        [(b"x-authorization", b"Bearer " + token().encode())],
        [(b"cookie", b"authorization=Bearer " + token().encode())],
    ],
    ids=lambda headers: repr(headers)[:40],
)
async def test_without_a_bearer_token_the_answer_only_asks_for_one(headers: list[tuple[bytes, bytes]]) -> None:
    answer = await Authenticator(settings(), clock=CLOCK).authenticate(headers)
    assert isinstance(answer, AuthFailure)
    assert answer == AuthFailure(401, "A bearer token is needed.")
    assert answer.headers() == [(b"www-authenticate", b'Bearer realm="stoa"')]


async def test_two_authorization_headers_are_one_too_many() -> None:
    good = (b"authorization", b"Bearer " + token().encode())
    for other in (good, (b"Authorization", b"Bearer x.y.z"), (b"AUTHORIZATION", b"Basic YTpi")):
        answer = await Authenticator(settings(), clock=CLOCK).authenticate([good, other])
        assert isinstance(answer, AuthFailure)
        assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("joined", ["{0}, Bearer {0}", "{0},{0}", "{0} {0}", "{0}\t{0}"])
async def test_two_tokens_in_one_header_are_one_too_many(joined: str) -> None:
    assert (await refusal(joined.format(token()))).status == 401


@pytest.mark.parametrize("written", [b"bearer %s", b"BEARER %s", b"Bearer   %s ", b" Bearer %s"])
async def test_the_scheme_is_read_whatever_its_case_and_blanks(written: bytes) -> None:
    headers = [(b"Authorization", written.replace(b"%s", token().encode()))]
    assert await Authenticator(settings(), clock=CLOCK).authenticate(headers) == ANN


async def test_a_refusal_names_the_metadata_and_nothing_of_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bearer = token(exp=NOW - 3600, sub="ann-the-subject")
    answer = await refusal(bearer)
    written = dict(answer.headers(resource_metadata="https://host/.well-known/oauth-protected-resource"))
    value = written[b"www-authenticate"].decode()
    assert value == (
        'Bearer realm="stoa", error="invalid_token", error_description="The token has expired.", '
        'resource_metadata="https://host/.well-known/oauth-protected-resource"'
    )
    said = value + repr(answer) + caplog.text
    assert all(part not in said for part in [*bearer.split("."), "ann-the-subject", SECRET])


@pytest.mark.parametrize("address", ['https://h"/', "https://h\r\nx: y/", "https://hé/", "https://h\\/"])
def test_an_address_that_would_break_the_header_is_left_out(address: str) -> None:
    assert AuthFailure(401, "No.").headers(resource_metadata=address) == [(b"www-authenticate", b'Bearer realm="stoa"')]


async def test_a_remembered_token_ends_with_its_expiry_and_is_checked_again_after_a_minute() -> None:
    clock = ManualClock()
    auth = Authenticator(settings(), clock=clock)
    short, long = token(exp=NOW + 20), token(exp=NOW + 6000)
    for bearer in (short, long):
        assert await auth.authenticate([(b"authorization", f"Bearer {bearer}".encode())]) == ANN
    assert "remembered=2" in repr(auth)
    clock.advance(20 + LEEWAY_SECONDS)
    answer = await auth.authenticate([(b"authorization", f"Bearer {short}".encode())])
    assert isinstance(answer, AuthFailure)
    assert "remembered=1" in repr(auth)
    clock.advance(60)
    assert await auth.authenticate([(b"authorization", f"Bearer {long}".encode())]) == ANN


async def test_a_connection_learns_when_its_token_ends() -> None:
    verified = await Authenticator(settings(), clock=CLOCK).admit([(b"authorization", f"Bearer {token()}".encode())])
    assert not isinstance(verified, AuthFailure)
    assert (verified.principal, verified.expires_at) == (ANN, NOW + 600)


async def test_no_more_tokens_are_remembered_than_the_limit() -> None:
    auth = Authenticator(settings(), clock=CLOCK)
    for number in range(MAX_REMEMBERED + 10):
        headers = [(b"authorization", f"Bearer {token(sub=f'u{number}')}".encode())]
        assert isinstance(await auth.authenticate(headers), Principal)
    assert f"remembered={MAX_REMEMBERED}>" in repr(auth)


async def test_refused_tokens_are_not_remembered() -> None:
    auth = Authenticator(settings(), clock=CLOCK)
    await auth.authenticate([(b"authorization", f"Bearer {token(tenant='')}".encode())])
    assert "remembered=0" in repr(auth)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"secret": SecretStr("hunter2" * 4)}, "28 bytes"),
        ({"jwks_url": "https://issuer/jwks"}, "both set"),
        ({"secret": None}, "cannot be checked"),
        ({"secret": None, "jwks_url": "http://issuer/jwks"}, "JWKS_URL"),
        ({"secret": None, "jwks_url": "https://user:hunter2@issuer/jwks"}, "JWKS_URL"),
        ({"secret": None, "jwks_url": "file:///etc/passwd"}, "JWKS_URL"),
        ({"secret": None, "jwks_url": "http://127.0.0.1.evil.example/jwks"}, "JWKS_URL"),
        ({"secret": None, "jwks_url": "http://[::1"}, "JWKS_URL"),
    ],
)
def test_settings_that_protect_nothing_are_refused(changed: Mapping[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        Authenticator(settings(**changed))
    assert "hunter2" not in str(refused.value)


def test_the_metadata_document_names_the_issuer() -> None:
    resource = "https://host/mcp"
    assert protected_resource(resource, settings(issuer="https://issuer"))["authorization_servers"] == [
        "https://issuer"
    ]
    assert "authorization_servers" not in protected_resource(resource, settings())


def test_secrets_do_not_show() -> None:
    assert SECRET[:8] not in repr(Authenticator(settings())) + repr(settings())
