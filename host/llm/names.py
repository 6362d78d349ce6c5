"""What a model calls the tools: `<server>_<tool>`, and the way back. Pure.

Providers accept letters, digits, `_` and `-`, at most 64 of them; servers of other makers keep to no such rule.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from stoa.tools import ToolRef

__all__ = ["MAX_NAME", "name_tools"]

MAX_NAME: Final = 64


def name_tools(refs: Iterable[ToolRef]) -> dict[str, ToolRef]:
    """Name → tool, in the order given. A name that is cut, mended or shared gets a short hash of what it stands for.

    The name of a tool depends on the other tools only where two would be called the same.
    """
    wanted = list(dict.fromkeys(refs))
    shared = Counter(_plain(ref) for ref in wanted)
    names: dict[str, ToolRef] = {}
    for ref in wanted:
        name = _plain(ref) if shared[_plain(ref)] == 1 and _is_faithful(ref) else _hashed(ref)
        while name in names:  # a server that names a tool after another tool's hash
            name = _hashed(ToolRef(name, ref.tool))
        names[name] = ref
    return names


def _plain(ref: ToolRef) -> str:
    return f"{ref.server}_{ref.tool}"


def _is_faithful(ref: ToolRef) -> bool:
    return re.fullmatch(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}", _plain(ref)) is not None


def _hashed(ref: ToolRef) -> str:
    digest = hashlib.sha256(f"{ref.server}\0{ref.tool}".encode()).hexdigest()[:8]
    mended = re.sub(r"[^A-Za-z0-9_-]+", "_", _plain(ref))
    return f"{mended[: MAX_NAME - 9]}_{digest}"
