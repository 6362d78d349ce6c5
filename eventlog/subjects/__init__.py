"""The people whom events are about: a key for each, a copy of what is known, and the right to be forgotten."""
