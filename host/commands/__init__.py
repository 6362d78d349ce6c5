"""What each command does, once the words are understood: fetch, decide, print, say how it went."""
