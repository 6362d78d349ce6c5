"""A fresh access token for a refresh token (RFC 6749 §6): the form to send, and what is made of the answer. Pure."""

import base64
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pool.login.tokens import Grant

__all__ = ["Answer", "client_form", "read_answer", "read_error", "refresh_form", "renewed"]

MAX_SECONDS = 10 * 365 * 86_400.0


class Answer(BaseModel):
    """What a token endpoint says (RFC 6749 §5.1). Some write the seconds as text."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    access_token: str = Field(repr=False, min_length=1, max_length=2**16, pattern=r"^[\x21-\x7e]+$")
    refresh_token: str | None = Field(None, repr=False, min_length=1, max_length=2**16)
    expires_in: float | None = Field(None, ge=0, allow_inf_nan=False)
    scope: str | None = None


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    error: str = Field(max_length=200)
    error_description: str = Field("", max_length=500)


def refresh_form(grant: Grant) -> tuple[dict[str, str], dict[str, str]]:
    """Form and headers of the request."""
    form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token or ""}
    if grant.resource is not None:
        form["resource"] = grant.resource
    return client_form(grant, form)


def client_form(grant: Grant, form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and its headers, saying who the client is, in the way that was agreed when it registered."""
    if grant.client_secret and grant.client_auth == "client_secret_basic":
        pair = f"{quote(grant.client_id, safe='')}:{quote(grant.client_secret, safe='')}"
        return dict(form), {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    named = {**form, "client_id": grant.client_id}
    if grant.client_secret and grant.client_auth == "client_secret_post":
        named["client_secret"] = grant.client_secret
    return named, {}


def read_answer(body: bytes) -> Answer | None:
    """None for an answer that is none."""
    try:
        return Answer.model_validate_json(body)
    except ValidationError:
        return None


def read_error(body: bytes) -> str:
    """What the endpoint says went wrong, as `invalid_grant: …`; empty when it does not say."""
    try:
        said = _Error.model_validate_json(body)
    except ValidationError:
        return ""
    return f"{said.error}: {said.error_description}" if said.error_description else said.error


def renewed(grant: Grant, answer: Answer, *, now: float) -> Grant:
    """The grant with what came; scope and refresh token stay where the answer has none (RFC 6749 §6)."""
    seconds = None if answer.expires_in is None else min(answer.expires_in, MAX_SECONDS)
    return grant.model_copy(
        update={
            "access_token": answer.access_token,
            "refresh_token": answer.refresh_token or grant.refresh_token,
            "expires_at": None if seconds is None else now + seconds,
            "scope": answer.scope or grant.scope,
        }
    )
