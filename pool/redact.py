"""Keeping secrets out of what people read: errors, the last words of a child process, reprs."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

__all__ = ["MASK", "is_secret_name", "mask", "mask_arguments", "mask_url"]

MASK = "***"
_SHORTEST = 4  # shorter values hide more of the text around them than they protect
_SECRET_NAME = re.compile(r"key|token|secret|passw|auth|credential|cookie|dsn|database_url|bearer", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a variable, header or option of this name usually holds something that must not be shown."""
    return _SECRET_NAME.search(name) is not None


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret replaced; longer ones first, so that no tail of one is left over."""
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def mask_arguments(args: Sequence[str]) -> list[str]:
    """Arguments as they may be shown: the value of `--api-key X` and `--api-key=X` is hidden."""
    shown: list[str] = []
    hide_next = False
    for arg in args:
        name, equals, _ = arg.partition("=")
        if hide_next and not arg.startswith("-"):
            shown.append(MASK)
        elif equals and is_secret_name(name):
            shown.append(f"{name}={MASK}")
        else:
            shown.append(arg)
        hide_next = arg.startswith("-") and not equals and is_secret_name(arg)
    return shown


def mask_url(url: str) -> str:
    """An address without password and query, which may carry tokens."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    query = MASK if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))
