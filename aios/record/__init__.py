"""The record: an append-only, verifiable log of who did what, and on what evidence."""
