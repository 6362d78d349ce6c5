"""What no address and no header may look like, told before a library stumbles over it. Pure."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

__all__ = ["header_trouble", "url_trouble"]

SCHEMES: Final[Mapping[str, tuple[str, str]]] = {"http": ("http", "https"), "ws": ("ws", "wss")}
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_NO_HOST = re.compile(r"""[%<>"{}|\\^`]""")
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")


def url_trouble(url: str, kind: str) -> tuple[str, str] | None:
    """What is wrong with the address, and the remedy; None when nothing is. `kind` is `http` or `ws`."""
    first, second = SCHEMES[kind]
    wrong = f"this is no {first}:// or {second}:// address", f"Write {first}://host:port/path."
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in SCHEMES[kind] or not host or (parts.port is not None and parts.port <= 0):
            return wrong
        if _BLANK.search(url):
            return (
                "this address has blanks or control characters in it",
                "Write them as %20 and so on, or take them out.",
            )
        if ":" in host:
            ipaddress.ip_address(host)
        elif _NO_HOST.search(host):
            return wrong
        else:
            host.encode("idna")  # as looking it up will do
    except UnicodeError:
        return "no host can have this name", "Each part of a host name between dots has 1 to 63 characters."
    except ValueError:
        return wrong
    return None


def header_trouble(headers: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The header that cannot be sent, what is wrong with it (not its value, which is secret), and the remedy."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            return name, "no header can have this name", "Use letters, digits and '-'."
        if not _HEADER_VALUE.fullmatch(value):
            return (
                name,
                "its value cannot be sent: headers are printable ASCII on one line, without blanks around it",
                "Look for a line break at the end, or characters outside ASCII.",
            )
    return None
