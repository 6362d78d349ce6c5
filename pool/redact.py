"""Keeping secrets out of what people read: errors, the last words of a child process, reprs."""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

__all__ = ["MASK", "is_secret_name", "mask", "mask_arguments", "mask_url", "secrets_in", "secrets_in_arguments"]

MASK = "***"
_SHORTEST = 4  # shorter values hide more of the text around them than they protect
_SECRET_NAME = re.compile(r"key|token|secret|passw|auth|credential|cookie|dsn|database_url|bearer", re.IGNORECASE)
_LONGEST_NAME = 80
_SIGN = re.compile(r"=|:")
_HEADER = re.compile(r"[\w-]+")
_BEFORE_NAME = re.compile(r"[^\w.-]")
_USER_INFO = re.compile(r"(?<=://)[^\s/?#\"'<>]+@")
_ANY_BEARER = re.compile(r"(?i)(?<=\bbearer )[^\s\"',;]+")
# In running text, "bearer authentication" is no secret.
_BEARER = re.compile(r"(?i:(?<=\bbearer ))(?=[a-z]*[A-Z0-9._~+/-])[\w.~+/-]{6,}=*")
_KNOWN = re.compile(r"(?<![A-Za-z0-9])(?:sk-|gh[po]_|xox[bp]-|AKIA)[\w-]{6,}")
"""Tokens that tell by their beginning what they are: OpenAI, Anthropic, GitHub, Slack, AWS."""
# What programs print of their own settings: `token=…`, `API_KEY=…`. Short values and numbers are counts, not secrets.
_NAMED = re.compile(
    r"(?i)((?:api[_-]?key|token|secret|passw(?:or)?d)[\w-]{0,20}=[\"']?)(?!\d+(?![^\s\"'&,;]))[^\s\"'&,;*]{8,}"
)


def is_secret_name(name: str) -> bool:
    """Whether a variable, header or option of this name usually holds something that must not be shown."""
    return _SECRET_NAME.search(name) is not None


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets and without whatever has the looks of one; longer ones first, so that no tail of
    one is left over."""
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _USER_INFO.sub(f"{MASK}@", text)
    text = _BEARER.sub(MASK, text)
    text = _NAMED.sub(rf"\1{MASK}", text)
    return _KNOWN.sub(MASK, text)


def mask_arguments(args: Sequence[str]) -> list[str]:
    """Arguments as they may be shown: without the values of `--api-key X` and `API_KEY=X`, and whatever else in them
    is secret by its looks."""
    return [shown for shown, _ in _read_arguments(args)]


def secrets_in_arguments(args: Sequence[str]) -> set[str]:
    """What `mask_arguments` hides, to be hidden elsewhere too."""
    return {secret for _, secrets in _read_arguments(args) for secret in secrets}


def secrets_in(text: str) -> set[str]:
    """Passwords and tokens inside an address, a header or another value, known by their surroundings or looks."""
    return set(_read(text)[1])


def _read_arguments(args: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    hide_next = False
    for arg in args:
        is_option = arg.startswith("--") or (arg.startswith("-") and len(arg) == 2)
        yield (MASK, [arg, *_read(arg)[1]]) if hide_next and not is_option else _read(arg)
        hide_next = arg.startswith("-") and "=" not in arg and ":" not in arg and is_secret_name(arg)


def _read(text: str) -> tuple[str, list[str]]:
    """The text as it may be shown, and what was hidden."""
    shown, hidden = _read_looks(text)
    start = 0
    for sign in _SIGN.finditer(text):
        name = text[max(start, sign.start() - _LONGEST_NAME) : sign.start()]
        start = sign.end()
        # After a colon only where the whole text is a header: `/etc/keys:/keys` and `host:port` are none.
        is_name = sign[0] == "=" or _HEADER.fullmatch(text, 0, sign.start()) is not None
        value = text[start:].strip()
        if is_name and value and is_secret_name(_BEFORE_NAME.split(name)[-1]):
            # Of `Authorization: Bearer X` it is X that others would print.
            hidden += [value, value.rpartition(" ")[2], *_read_looks(value)[1]]
            return _read_looks(text[:start])[0] + MASK, hidden
    return shown, hidden


def _read_looks(text: str) -> tuple[str, list[str]]:
    hidden: list[str] = []
    for found in _USER_INFO.finditer(text):
        user, colon, password = found[0][:-1].partition(":")
        secret = password if colon else user
        hidden += [found[0][:-1], secret, unquote(secret)]
    for pattern in (_ANY_BEARER, _KNOWN):
        hidden += pattern.findall(text)
    return _KNOWN.sub(MASK, _ANY_BEARER.sub(MASK, _USER_INFO.sub(f"{MASK}@", text))), hidden


def mask_url(url: str) -> str:
    """An address without password and query, which may carry tokens."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    query = MASK if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))
