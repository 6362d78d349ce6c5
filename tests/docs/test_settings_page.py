"""docs/settings.md names every shared setting: its table is written by the code, and this keeps them equal.

`python -m tests.docs.test_settings_page` prints the table for pasting.
"""

import os
import re
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from stoa.settings import AuthSettings, Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
OWN_NAME = re.compile(r" \(`(STOA_\w+)`\)")


def rows(model: type[BaseModel], prefix: str) -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        if field.description is None:
            continue
        variable = f"{prefix}{name.upper()}"
        named = OWN_NAME.search(field.description)
        assert named is not None, f"{variable} is not named in its description"
        assert named[1] == variable
        default = "" if field.default in (None, (), PydanticUndefined) else f"`{field.default}`"
        said = OWN_NAME.sub("", field.description).replace(repr(os.pathsep), "`:` (`;` on Windows)")
        found.append(f"| `{variable}` | {said} | {default} |")
    return found


def table() -> str:
    head = ["| variable | what it is | default |", "|---|---|---|"]
    return "\n".join([*head, *rows(Settings, "STOA_"), *rows(AuthSettings, "STOA_AUTH_")])


def test_the_page_holds_the_table_that_the_code_gives() -> None:
    assert table() in PAGE.read_text("utf-8")


if __name__ == "__main__":
    print(table())  # noqa: T201 - for pasting
