"""Primitives of AIOS: declaration, settings, lake, clock, policy, statistics."""
