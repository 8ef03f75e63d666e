"""Who is at work in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aios.identity.actors import LOCAL, Actor, NotSignedIn

if TYPE_CHECKING:
    from aios.settings import Settings


def current_actor(settings: Settings) -> Actor:
    """Return the actor of the token in `AIOS_TOKEN`, or the local user of an embedded set-up.

    The local user is whoever can start this process where no person is registered yet.

    Raises:
        NotSignedIn: The token is not valid, or there is none and people are registered.
        AiosError: The directory cannot be read.
    """
    from aios.database import open_database
    from aios.identity.directory import Directory

    directory = Directory(open_database(settings.record))
    if token := os.environ.get("AIOS_TOKEN"):
        return directory.actor_of(token)
    if directory.has_people():
        raise NotSignedIn(
            "nobody is signed in",
            fix="Set AIOS_TOKEN to your token; an operator issues one.",
        )
    return LOCAL
