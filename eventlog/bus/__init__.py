"""The bus: events of the log on their way to others. The log stays the truth; a relay follows it and publishes."""
