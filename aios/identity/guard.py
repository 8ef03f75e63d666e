"""What every entry point asks before it acts, and what it changes access with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aios.identity.access import Access, Action, Denied, authorise
from aios.identity.actors import Actor, Role
from aios.identity.resources import Change, Context, Platform, Resource
from aios.record.leaves import Act

if TYPE_CHECKING:
    from aios.identity.directory import Directory
    from aios.identity.tables import IssuedToken
    from aios.record.log import Log
    from aios.settings import Settings


@dataclass(frozen=True)
class Guard:
    """The rules, asked on behalf of one actor; what they deny goes on record."""

    actor: Actor
    access: Access
    log: Log

    def check(
        self, action: Action, resource: Resource, context: Context | None = None
    ) -> tuple[str, ...]:
        """Let an act pass, or record the denial and raise.

        Returns:
            The `@id` of each rule that permits it, for the record of the act.

        Raises:
            Denied: The rules do not allow it.
        """
        try:
            return authorise(self.access, self.actor, action, resource, context or Context())
        except Denied as denied:
            body = {
                "action": action,
                "resource": str(resource),
                "rules": list(denied.rules),
                "access_digest": self.access.digest,
            }
            self.log.append(Act("denied", resource.belongs_to, str(self.actor), body))
            raise


def guard_of(settings: Settings, actor: Actor | None = None) -> Guard:
    """Return the guard of an actor, by default of who is at work in this process.

    Raises:
        NotSignedIn: There is no telling who is at work.
        AccessError: The rules cannot be used.
    """
    from aios.identity.session import current_actor
    from aios.record.log import open_log

    access = Access.load(settings.access)
    return Guard(actor or current_actor(settings), access, open_log(settings))


@dataclass(frozen=True)
class Administration:
    """Changes to who may act. Each is allowed, made and recorded, or nothing of it happens."""

    guard: Guard

    def add(self, actor: Actor) -> None:
        """Register an actor; see `Directory.add`."""
        with self._change(actor, "add", {"roles": sorted(actor.roles)}) as directory:
            directory.add(actor)

    def change_roles(self, actor: Actor, roles: Iterable[Role]) -> Actor:
        """Give an actor these roles and no others; see `Directory.change_roles`."""
        given = sorted(roles)
        with self._change(actor, "roles", {"roles": given}) as directory:
            return directory.change_roles(actor, given)

    def disable(self, actor: Actor) -> None:
        """Shut an actor out; see `Directory.disable`."""
        with self._change(actor, "disable", {}) as directory:
            directory.disable(actor)

    def enable(self, actor: Actor) -> None:
        """Let a disabled actor in again; see `Directory.enable`."""
        with self._change(actor, "enable", {}) as directory:
            directory.enable(actor)

    def issue_token(self, actor: Actor, expires: datetime) -> IssuedToken:
        """Return a new token of an actor; see `Directory.issue_token`."""
        body = {"expires": expires.isoformat(timespec="seconds")}
        with self._change(actor, "issue_token", body) as directory:
            issued = directory.issue_token(actor, expires)
            body["token"] = issued.id
        return issued

    def revoke_token(self, token_id: str) -> None:
        """Make a token useless; see `Directory.revoke`."""
        owner = self._directory().token(token_id).actor
        with self._change(owner, "revoke_token", {"token": token_id}) as directory:
            directory.revoke(token_id)

    def _directory(self) -> Directory:
        from aios.identity.directory import Directory

        return Directory(self.guard.log.database)

    @contextmanager
    def _change(
        self, subject: Actor, change: Change, body: Mapping[str, object]
    ) -> Iterator[Directory]:
        from aios.identity.directory import Directory

        guard = self.guard
        context = Context(subject=subject, change=change)
        rules = guard.check("manage_access", Platform(), context)
        with guard.log.transaction() as transaction:
            yield Directory(guard.log.database, within=transaction.connection)
            known = {"change": change, "subject": str(subject), "rules": list(rules)}
            whole = {**known, "access_digest": guard.access.digest, **body}
            transaction.append([Act("access_changed", None, str(guard.actor), whole)])
