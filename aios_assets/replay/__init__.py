"""Replay: decisions made again from what is stored, explained, and decided by another policy."""
