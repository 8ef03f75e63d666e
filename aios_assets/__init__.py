"""The Dagster code location: each automation, its life as assets, and the `aios` command."""
