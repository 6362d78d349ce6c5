"""Logging in to servers that ask for OAuth: the flow, the tokens on the disk, and how requests get them."""
