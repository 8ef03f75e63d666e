"""Asking receivers whether they know what they confirmed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aios.actions import rows as outbox
from aios.actions.connectors import connect
from aios.actions.connectors.base import NOT_THERE
from aios.actions.courier import request_of
from aios.actions.states import can_be_asked
from aios.errors import AiosError

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database


def unknown_to_receivers(database: Database, automation: Automation, last: int) -> list[str]:
    """Ask each receiver about its last confirmed actions; return those it knows nothing of.

    Receivers that cannot be asked, or do not answer now, say nothing against themselves.

    Args:
        database: The outbox.
        automation: Whose.
        last: How many actions of each receiver.

    Returns:
        `<type> of <decision>` of each.
    """
    unknown: list[str] = []
    declared = automation.spec.actions
    for name, receiver in (declared.receivers if declared else {}).items():
        if not can_be_asked(receiver):
            continue
        with database.reading() as connection:
            rows = outbox.select(
                connection,
                "automation = ? AND receiver = ? AND state = 'done' ORDER BY ended_at DESC LIMIT ?",
                *(automation.name, name, last),
            )
        try:
            connector = connect(receiver, os.environ)
        except AiosError:
            continue
        try:
            unknown += [
                f"{row.type} of {row.decision}"
                for row in rows
                if connector.find(request_of(row)) == NOT_THERE
            ]
        finally:
            connector.close()
    return unknown
