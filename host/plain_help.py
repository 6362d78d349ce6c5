"""How `--help` shows options: a flag takes nothing, so no type stands beside it."""

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command whose flags are shown without `<bool>`."""

    def get_params(self, ctx: Any):  # its type, and that of what is returned, are private to typer
        found = super().get_params(ctx)
        _take_types_off(found)
        return found


class Group(TyperGroup):
    """The same for the options before the commands, and for all commands."""

    def get_params(self, ctx: Any):
        found = super().get_params(ctx)
        _take_types_off(found)
        return found


def _take_types_off(params: Iterable[object]) -> None:
    for each in params:
        if isinstance(each, TyperOption) and each.is_flag and each.metavar is None:
            each.metavar = ""
