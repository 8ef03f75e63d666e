"""Whether a version loads, whatever kind of model it is."""

from __future__ import annotations

from model_registry import formats, parts
from model_registry.registry import ModelVersion, Registry


def verify(registry: Registry, version: ModelVersion) -> None:
    """Load a version once.

    Raises:
        AiosError: It does not load; says why, and what to do.
    """
    if parts.has_parts(registry, version):
        parts.load(registry, version)
    else:
        formats.load(registry, version)
