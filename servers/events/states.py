"""The tools that look at earlier moments."""

from kit.author import Server
from servers.events.journal import Journal

__all__ = ["add_tools"]


def add_tools(server: Server, journal: Journal) -> None: ...
