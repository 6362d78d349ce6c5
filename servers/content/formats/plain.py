"""Plain text: kept as it is. The first line is the title when it stands alone, as titles do."""

from servers.content.formats.draft import Draft

__all__ = ["read"]


def read(text: str) -> Draft:
    lines = text[:8192].strip().splitlines()
    alone = len(lines) > 2 and not lines[1].strip(" =-~*#") and not lines[0].startswith((" ", "\t"))
    title = lines[0].strip() if alone and 2 < len(lines[0].strip()) <= 100 else None
    return Draft(title, text)
