"""Text of others, made harmless for a terminal and readable for a person: what would steer or turn it is written out.

Control characters steer a terminal; bidirectional controls and invisible characters make a line look like another one
(https://trojansource.codes). They become `\\uXXXX`, as JSON writes them, so that JSON stays the same JSON.
"""

import re
from typing import Final

__all__ = ["visible"]

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or turning
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of pairs; tags
)


def visible(text: str) -> str:
    """The text with what cannot be seen written out."""
    return _UNSEEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
