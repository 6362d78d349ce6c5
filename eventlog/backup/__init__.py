"""The log as a file of JSON lines: out, and in again."""
