"""One connection to one server: transports, the session above them, and how each of them can fail."""
