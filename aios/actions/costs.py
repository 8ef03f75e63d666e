"""What the actions of an automation cost so far."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import sqlalchemy as sa

from aios.actions.tables import ACTIONS

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database


def spent(
    database: Database, automation: Automation, partitions: Collection[str] | None = None
) -> float:
    """Return the declared costs of the actions that were done, in the currency of `costs`.

    Args:
        database: Where they are.
        automation: Whose.
        partitions: Those of whose decisions; all by default.
    """
    if not automation.spec.actions:
        return 0.0
    costs = {call.type: call.cost for call in automation.spec.actions.calls}
    done = sa.select(ACTIONS.c.type, sa.func.count()).where(
        ACTIONS.c.automation == automation.name, ACTIONS.c.state == "done"
    )
    if partitions is not None:
        done = done.where(ACTIONS.c.partition.in_(partitions))
    with database.reading() as connection:
        counts = connection.execute(done.group_by(ACTIONS.c.type)).all()
    return sum(costs.get(type_, 0.0) * number for type_, number in counts)
