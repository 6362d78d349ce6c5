"""`mcp.json` and the environment into specs: strict, with errors that name file, key and remedy."""
