"""The client side of MCP: servers as groups of replicas, connected, balanced and kept alive. Imports only `stoa`."""
