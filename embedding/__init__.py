"""Sentence vectors, where a backend for them is installed."""
