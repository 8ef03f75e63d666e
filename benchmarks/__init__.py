"""Measurements of the platform, each beside a yardstick in the same run."""
