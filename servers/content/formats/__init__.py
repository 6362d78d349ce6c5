"""From bytes to Markdown, one room per format. `extract.extract` is the only door."""
