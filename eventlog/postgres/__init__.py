"""The log in PostgreSQL: one writer with COPY, a few sessions for reading, one that listens."""
