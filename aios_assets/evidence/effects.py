"""What a period's decisions caused elsewhere, and what of it was undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.actions.costs import spent
from aios.actions.states import INCIDENT
from aios.actions.tables import ACTIONS
from aios_assets.evidence.scope import Folder, Scope

if TYPE_CHECKING:
    from aios_assets.evidence.leaves import Leaf, Leaves

NAME = "actions.json"
_OF = ACTIONS.c


def write_actions(scope: Scope, folder: Folder, leaves: Leaves) -> tuple[dict[str, Any], set[int]]:
    """Write what became of the actions of the period's decisions, whenever they were done.

    Returns:
        What was written, and the places of the leaves that settled these actions or recalled them.
    """
    mine = [_OF.automation == scope.name, _OF.partition.in_(scope.keys)]
    compensates = _OF.undoes.is_not(None)
    groups = (_OF.receiver, _OF.type, compensates, _OF.state)
    counted = sa.select(*groups, sa.func.count()).where(*mine).group_by(*groups).order_by(*groups)
    causes = sa.select(_OF.cause, sa.func.count()).where(*mine, _OF.state == INCIDENT)
    settled = sa.select(_OF.leaf).distinct().where(*mine, _OF.leaf.is_not(None))
    with scope.platform.log.database.reading() as connection:
        rows = connection.execute(counted).all()
        open_ = connection.execute(causes.group_by(_OF.cause).order_by(_OF.cause)).all()
        theirs = set(connection.execute(settled).scalars())
    recalls = [one for one in leaves.all if one.kind == "recall" and _concerns(one, scope)]
    found = {
        "actions": sum(row[-1] for row in rows),
        "by_receiver": [
            {
                "receiver": to,
                "type": type_,
                "compensation": bool(undo),
                "state": state,
                "actions": n,
            }
            for to, type_, undo, state, n in rows
        ],
        "open_incidents": {str(cause): n for cause, n in open_},
        "mended": [one.shown() for one in leaves.of("incident_mended")],
        "recalls": [one.shown() for one in recalls],
        "cost": spent(scope.platform.log.database, scope.automation, scope.keys),
    }
    if not rows:
        folder.lack("effects of the decisions", _why_none(scope), NAME)
    folder.write_json(NAME, found)
    return found, theirs | {one.index for one in recalls}


def _concerns(leaf: Leaf, scope: Scope) -> bool:
    partition = leaf.body["partition"]
    return partition in scope.keys if partition else scope.holds(leaf.at)


def _why_none(scope: Scope) -> str:
    if scope.automation.spec.actions is None:
        return "The automation declares no actions: what others did on its word is not known here."
    return "Nothing was due, or nothing was decided."
