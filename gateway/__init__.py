"""Faces over the pool: one MCP server in front of all groups."""
