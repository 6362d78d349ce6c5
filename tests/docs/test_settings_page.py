"""docs/settings.md names every shared setting, every key of a login and every variable of the pool, docs/pool.md every
key of a pool and every series that it counts: their tables are written by the code, and this keeps them equal.

`python -m tests.docs.test_settings_page` prints the tables for pasting; with `--write` it puts them into the pages.
"""

import json
import os
import re
import sys
from pathlib import Path

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pool.balance.policy import ALIASES, STRATEGIES
from pool.config.environment import VARIABLES
from pool.config.logins import LoginSection
from pool.config.mcp_json import Ours
from pool.config.policies import EjectionSection, HedgeSection, RetrySection
from pool.config.pools import SECTIONS, PoolSection
from stoa.settings import AuthSettings, Settings
from stoa.telemetry import POOL_HELP

SETTINGS = Path(__file__).parents[2] / "docs" / "settings.md"
POOL = Path(__file__).parents[2] / "docs" / "pool.md"
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


def keys(model: type[BaseModel]) -> str:
    """Key, what it is, default, bounds."""
    lines = ["| key | what it is | default | from, to |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        assert field.description is not None, f"{name} is not described"
        is_plain = isinstance(field.default, bool | int | float | str)
        default = json.dumps(field.default) if is_plain else ""
        if is_plain and isinstance(field.default, float):
            default = f"{field.default:g}"
        lines.append(
            f"| `{name}` | {field.description} | {f'`{default}`' if default else ''} | {bounds(field.metadata)} |"
        )
    return "\n".join(lines)


def bounds(metadata: list[object]) -> str:
    """`1, 64`; `> 0, 3600` where the lower one is left out."""
    least = most = ""
    for each in metadata:
        if isinstance(each, annotated_types.Ge):
            least = f"{each.ge:g}"
        elif isinstance(each, annotated_types.Gt):
            least = f"> {each.gt:g}"
        elif isinstance(each, annotated_types.Le):
            most = f"{each.le:,}".replace(",", " ")
    return f"{least}, {most}" if most else ""


def variables() -> str:
    lines = ["| variable | what it is |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {said} |" for name, said in VARIABLES.items())])


def series() -> str:
    lines = ["| series | what it is |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {said} |" for name, said in POOL_HELP.items())])


TABLES = {
    "settings": (SETTINGS, table),
    "login": (SETTINGS, lambda: keys(LoginSection)),
    "variables": (SETTINGS, variables),
    "pool": (POOL, lambda: keys(PoolSection)),
    "retry": (POOL, lambda: keys(RetrySection)),
    "hedge": (POOL, lambda: keys(HedgeSection)),
    "ejection": (POOL, lambda: keys(EjectionSection)),
    "series": (POOL, series),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_holds_the_table_that_the_code_gives(name: str) -> None:
    page, make = TABLES[name]
    assert make() in page.read_text("utf-8")


def test_the_pages_name_every_section_and_strategy() -> None:
    text = SETTINGS.read_text("utf-8") + POOL.read_text("utf-8")
    names = [*SECTIONS, *(f"stoa.{key}" for key in Ours.model_fields), *STRATEGIES, *ALIASES]
    assert [name for name in names if f"`{name}`" not in text] == []


def write() -> None:
    """Each table goes where one of its name begins: after the line `<!-- name -->`."""
    for name, (page, make) in TABLES.items():
        text = page.read_text("utf-8")
        mark = f"<!-- {name} -->\n"
        before, found, after = text.partition(mark)
        assert found, f"there is no {mark}"
        rest = re.sub(r"\A(\|.*\n)*", "", after)
        page.write_text(f"{before}{mark}{make()}\n{rest}", "utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        print("\n\n".join(make() for _, make in TABLES.values()))  # noqa: T201 - for pasting
