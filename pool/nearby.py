"""Near matches for a name that does not exist."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(wrong: str, known: Iterable[str], *, most: int = 3, list_all: bool = True) -> str:
    """A sentence that names what may have been meant, else lists what there is if that is little; else empty."""
    names = sorted(set(known))
    lowered = {name.lower(): name for name in names}
    close = [lowered[match] for match in difflib.get_close_matches(wrong.lower(), lowered, n=most, cutoff=0.6)]
    close += [name for name in names if name not in close and wrong and wrong.lower() in name.lower()]
    if close:
        return f"Did you mean {_either([repr(name) for name in close[:most]])}?"
    if list_all and names and len(names) <= 8:
        return f"There is {', '.join(repr(name) for name in names)}."
    return ""


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
