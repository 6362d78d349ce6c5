"""What the environment tells every part of Stoa: where files lie, which keys to use, whom to believe.

Read once by whoever composes a process (`Settings.load`) and handed down; nobody else looks at the environment.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from stoa.errors import BadInput

__all__ = ["AuthSettings", "ServerSettings", "Settings", "read_environment"]

PREFIX = "STOA_"


class AuthSettings(BaseModel):
    """Which bearer tokens (JWT, RFC 7519) a server believes. Off unless a secret or a JWKS address is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str | None = Field(None, description="`iss` that a token must carry (`STOA_AUTH_ISSUER`).")
    audience: str | None = Field(None, description="`aud` that a token must carry (`STOA_AUTH_AUDIENCE`).")
    jwks_url: str | None = Field(None, description="Where the issuer publishes its keys (`STOA_AUTH_JWKS_URL`).")
    secret: SecretStr | None = Field(None, description="Shared HS256 key, 32 bytes or more (`STOA_AUTH_SECRET`).")
    tenant_claim: str = Field("tenant", description="Claim that names the tenant (`STOA_AUTH_TENANT_CLAIM`).")
    scope_claim: str = Field("scope", description="Claim that lists scopes (`STOA_AUTH_SCOPE_CLAIM`).")

    @property
    def is_on(self) -> bool:
        return self.jwks_url is not None or self.secret is not None


class Settings(BaseModel):
    """Everything that is shared. Each server adds settings of its own beside its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(description="Folder that holds every file we write (`STOA_HOME`).")
    roots: tuple[Path, ...] = Field(
        (), description=f"Folders that servers may read, separated by {os.pathsep!r} (`STOA_ROOTS`)."
    )
    force_roots: bool = Field(
        False, description="Whether `/` and the home folder may be roots, too (`STOA_FORCE_ROOTS`)."
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL that holds the event log, instead of a file (`STOA_DATABASE_URL`)."
    )
    bus_url: SecretStr | None = Field(
        None, description="NATS or Redis that carries events between processes (`STOA_BUS_URL`)."
    )
    secret_key: SecretStr | None = Field(None, description="Key for cursors and sealed state (`STOA_SECRET_KEY`).")
    internal_key: SecretStr | None = Field(
        None, description="Key for callers' assertions between our processes (`STOA_INTERNAL_KEY`)."
    )
    upstream: str | None = Field(None, description="Gateway through which a server calls others (`STOA_UPSTREAM`).")
    upstream_token: SecretStr | None = Field(None, description="Bearer token for that gateway (`STOA_UPSTREAM_TOKEN`).")
    log_level: str = Field("WARNING", description="DEBUG, INFO, WARNING or ERROR (`STOA_LOG_LEVEL`).")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host names served besides loopback, comma separated (`STOA_ALLOWED_HOSTS`)."
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Web origins accepted besides loopback, comma separated (`STOA_ALLOWED_ORIGINS`)."
    )
    auth: AuthSettings = AuthSettings.model_validate({})

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("one of DEBUG, INFO, WARNING, ERROR")
        return level.upper()

    @classmethod
    def load(cls, environ: Mapping[str, str], *, default_home: Path) -> Self:
        """Settings from an environment. Raises `BadInput` naming the variable that is wrong."""
        values = read_environment(environ, PREFIX)
        values.setdefault("home", str(default_home))
        auth = {name.removeprefix("auth_"): value for name, value in values.items() if name.startswith("auth_")}
        own: dict[str, object] = {name: value for name, value in values.items() if name in cls.model_fields}
        for name, separator in (("roots", os.pathsep), ("allowed_hosts", ","), ("allowed_origins", ",")):
            if name in values:
                own[name] = tuple(part.strip() for part in values[name].split(separator) if part.strip())
        try:
            return cls.model_validate({**own, "auth": AuthSettings.model_validate(auth)})
        except ValidationError as error:
            raise BadInput(_explain(error, set(auth))) from None


class ServerSettings(BaseModel):
    """What one server can be told besides: each gives its own `prefix` (`STOA_CONTENT_`) and fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: ClassVar[str]

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Raises `BadInput` naming the variable that is wrong or unknown."""
        try:
            return cls.model_validate(read_environment(environ, cls.prefix))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0])
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            hint = f"Did you mean {cls.prefix}{near[0].upper()}?" if near and name not in cls.model_fields else ""
            raise BadInput(
                f"The environment variable {cls.prefix}{name.upper()} cannot be used: {first['msg']}.", hint=hint
            ) from None


def read_environment(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The variables under a prefix, lower-cased and without it; empty ones count as unset."""
    return {
        name.removeprefix(prefix).lower(): value for name, value in environ.items() if name.startswith(prefix) and value
    }


def _explain(error: ValidationError, auth: set[str]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][-1] if first["loc"] else "")
    variable = f"{PREFIX}AUTH_{name.upper()}" if name in auth else f"{PREFIX}{name.upper()}"
    return f"The environment variable {variable} cannot be used: {first['msg'].removeprefix('Value error, ')}."
