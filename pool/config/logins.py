"""One server of `stoa.logins`: how to log in where a server asks for OAuth and registering as anybody is not enough."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pool.address import url_trouble
from pool.config.entry import Filler
from pool.config.trouble import bad, explain_validation, show
from pool.spec import LoginSpec

__all__ = ["LoginSection", "read_login"]


class LoginSection(BaseModel):
    """One server under `stoa.logins`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    client_id: str | None = Field(
        None, min_length=1, description="Id of a client that is registered there. Default: register a new one."
    )
    client_secret: str | None = Field(
        None, min_length=1, description="Its secret, as `${VARIABLE}`; needs `client_id` and `issuer`."
    )
    issuer: str | None = Field(None, description="The authorization server that the client belongs to.")
    grant: Literal["authorization_code", "client_credentials"] = Field(
        "authorization_code",
        description="`client_credentials` logs in by the secret alone; otherwise a person agrees in a browser.",
    )
    scope: str | None = Field(
        None, min_length=1, description="Scopes to ask for, separated by blanks. Default: what the server asks for."
    )
    client_metadata_url: str | None = Field(
        None, description="An https address that describes this client and is its id (CIMD)."
    )
    redirect_port: int = Field(
        0, ge=0, le=65535, description="Loopback port that the browser comes back to; 0: any that is free."
    )


def read_login(value: JsonValue, *, source: str, path: str, environ: Mapping[str, str]) -> LoginSpec:
    """The login as it was written, variables filled in. Raises `BadInput` naming the key."""
    if not isinstance(value, dict):
        raise bad(source, path, f"must be an object, not {show(value)}", 'Write {"client_id": …}.')
    try:
        section = LoginSection.model_validate(value)
    except ValidationError as error:
        raise explain_validation(error, source=source, path=path, known={"": LoginSection.model_fields}) from None
    filler = Filler(environ, source)
    client_id, secret, issuer, scope, metadata_url = (
        filler.fill(getattr(section, key) or "", f"{path}.{key}")
        for key in ("client_id", "client_secret", "issuer", "scope", "client_metadata_url")
    )
    is_machine = section.grant == "client_credentials"
    needed = ("client_id", "client_secret", "issuer") if is_machine else ("client_id", "issuer") if secret else ()
    for key in needed:
        if not {"client_id": client_id, "client_secret": secret, "issuer": issuer}[key]:
            why = "grant client_credentials" if is_machine else "client_secret"
            raise bad(source, f"{path}.{key}", f"this key is missing; {why} needs it", "Add it.")
    if issuer and (issuer_is := url_trouble(issuer, "http")) is not None:
        raise bad(source, f"{path}.issuer", *issuer_is)
    if metadata_url and (url_trouble(metadata_url, "http") or not _is_document(metadata_url)):
        raise bad(source, f"{path}.client_metadata_url", "this is no https:// address with a path", "Correct it.")
    return LoginSpec(
        client_id=client_id,
        client_secret=secret,
        issuer=issuer,
        scope=scope,
        metadata_url=metadata_url,
        is_machine=is_machine,
        port=section.redirect_port,
    )


def _is_document(url: str) -> bool:
    return url.startswith("https://") and "/" in url.removeprefix("https://").rstrip("/")
