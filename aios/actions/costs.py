"""What the actions of an automation cost so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from aios.actions.tables import ACTIONS

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database


def spent(database: Database, automation: Automation) -> float:
    """Return the declared costs of all actions that were done, in the currency of `costs`."""
    if not automation.spec.actions:
        return 0.0
    costs = {call.type: call.cost for call in automation.spec.actions.calls}
    done = sa.select(ACTIONS.c.type, sa.func.count()).where(
        ACTIONS.c.automation == automation.name, ACTIONS.c.state == "done"
    )
    with database.reading() as connection:
        counts = connection.execute(done.group_by(ACTIONS.c.type)).all()
    return sum(costs.get(type_, 0.0) * number for type_, number in counts)
