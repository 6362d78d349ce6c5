"""The address of a PostgreSQL: what of it may be shown, and what asyncpg is told. Nothing here connects."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from stoa.errors import BadInput

__all__ = ["Address"]

VARIABLE: Final = "STOA_DATABASE_URL"

_SCHEMES: Final = {"postgresql", "postgres", "postgresql+asyncpg"}
_FORM: Final = "Give postgresql://user:password@host:5432/database, special characters in the password as %-codes."


@dataclass(frozen=True, slots=True)
class Address:
    """`dsn` carries the password and is never shown; `shown` says host and database."""

    dsn: str = field(repr=False)
    shown: str
    wants_primary: bool
    """Unless the address itself says (`target_session_attrs`) which of several servers will do."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises `BadInput` for what is no such address, without repeating any of it: a password may be anywhere."""
        scheme, separator, rest = url.strip().partition("://")
        if not separator or scheme not in _SCHEMES:
            raise BadInput(f"{VARIABLE} is no address of a PostgreSQL.", hint=_FORM)
        try:
            parts = urlsplit(f"postgresql://{rest}")
            query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        except ValueError:
            raise BadInput(f"{VARIABLE} cannot be read as an address.", hint=_FORM) from None
        _, _, where = parts.netloc.rpartition("@")
        if rest.count("@") > 1 or "@" in f"{parts.path}{parts.query}" or parts.fragment:
            # The password goes on behind what was taken for the host.
            raise BadInput(f"{VARIABLE} has an @, / or # that is not written as %40, %2F or %23.", hint=_FORM)
        host = where or query.get("host", ["the default host"])[-1]
        database = unquote(parts.path.lstrip("/")) or query.get("dbname", ["the default database"])[-1]
        return cls(f"postgresql://{rest}", f"{database!r} at {host}", "target_session_attrs" not in query)

    def __str__(self) -> str:
        return self.shown
