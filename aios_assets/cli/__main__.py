"""`python -m aios_assets.cli`."""

from aios_assets.cli import app

app()
