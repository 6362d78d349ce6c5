"""The ground: words that every part of Stoa shares. Standard library, pydantic and anyio only; nothing heavy."""

__version__ = "0.1.0"
