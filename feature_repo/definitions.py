"""What `feast apply` finds in this repo: everything already applied.

The features assets apply the views of each automation; the registry is the truth. `feast apply`
deletes what a repo does not define, so the repo defines what the registry holds.
"""

from __future__ import annotations

import os

from feature_repo.store import open_store


def applied() -> dict[str, object]:
    """Every entity, feature view and feature service of `AIOS_HOME`, by a unique name."""
    feast = open_store(os.environ["AIOS_HOME"]).feast
    objects = [*feast.list_entities(), *feast.list_feature_views(), *feast.list_feature_services()]
    return {f"{type(each).__name__}_{each.name}": each for each in objects}


globals().update(applied())
