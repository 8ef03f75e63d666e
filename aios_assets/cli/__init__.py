"""The `aios` command."""

from aios_assets.cli import (
    access,
    arm,
    automations,
    drill,
    invoices,
    models,
    operations,
    record,
    reviews,
    rollout,
)
from aios_assets.cli.shell import app

__all__ = [
    "access",
    "app",
    "arm",
    "automations",
    "drill",
    "invoices",
    "models",
    "operations",
    "record",
    "reviews",
    "rollout",
]
