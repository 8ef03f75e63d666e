"""The `aios` command."""

from aios_assets.cli import access, automations, invoices, models, record
from aios_assets.cli.shell import app

__all__ = ["access", "app", "automations", "invoices", "models", "record"]
