from __future__ import annotations

from pathlib import Path

import pytest

from tests.aios.evidence.packs import Made, new_key


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A pack that holds, on disk."""
    return Made(tmp_path / "pack", new_key()).fill().write()
