"""The log: an append-only Merkle tree of acts in a database, with checkpoints kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from aios import clock
from aios.database import Database, open_database
from aios.errors import AiosError
from aios.record import merkle
from aios.record.checkpoint import Checkpoint, open_note, sign_note
from aios.record.keyring import Keyring
from aios.record.leaves import (
    Act,
    Entry,
    entry_of,
    last_time,
    leaves,
    size_of,
    stamp,
)
from aios.record.places import CheckpointPlace, OutOfReach
from aios.record.transaction import Transaction
from aios.record.tree import Tree
from aios.record.verification import Verification, verify_log

if TYPE_CHECKING:
    from aios.record.signing import PublicKey, SigningKey
    from aios.settings import Settings


class Log:
    """One log.

    Args:
        database: Where its leaves are.
        keyring: What its checkpoints are signed with.
        place: Where its checkpoints go: out of reach of who can write the database.
    """

    def __init__(self, database: Database, keyring: Keyring, place: CheckpointPlace) -> None:
        self.database, self.keyring, self.place = database, keyring, place
        self._compared = False

    @property
    def origin(self) -> str:
        """The name of the log in its checkpoints."""
        return self.public_keys()[0].name

    def append(self, act: Act) -> Entry:
        """Record one act; it is on disk when this returns.

        Raises:
            AiosError: It could not be recorded; then nothing was.
        """
        return self.append_all([act])[0]

    def append_all(self, acts: Sequence[Act]) -> list[Entry]:
        """Record acts in their order, all or none."""
        with self.transaction() as transaction:
            return transaction.append(acts)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield what appends and changes other tables as one; nothing else writes meanwhile.

        Raises:
            AiosError: The log is older than its last checkpoint: what is appended would be lost
                with the restoring of the newest copy.
        """
        if not self._compared:
            self._compare()
        with self.database.writing() as connection:
            yield Transaction(connection)

    def get(self, index: int) -> Entry:
        """Return one leaf.

        Raises:
            AiosError: The log has no such leaf.
        """
        found = next(self._select(leaves.c.position == index), None)
        if found is None:
            raise AiosError(
                f"there is no leaf {index}",
                where="record",
                fix=f"The log has {self.size()} leaves, from 0.",
            )
        return found

    def find(self, key: str) -> Entry | None:
        """Return the leaf of a key."""
        return next(self._select(leaves.c.key == key), None)

    def last(self, kind: str, automation: str) -> Entry | None:
        """Return an automation's newest leaf of a kind."""
        return next(
            self._select(
                leaves.c.kind == kind, leaves.c.automation == automation, newest_first=True
            ),
            None,
        )

    def entries(
        self,
        *,
        kind: str | Sequence[str] | None = None,
        automation: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        first: int = 0,
        end: int | None = None,
    ) -> Iterator[Entry]:
        """Yield leaves in order; `since <= recorded_at < until` and `first <= index < end`."""
        wanted: list[sa.ColumnElement[bool]] = []
        if end is not None:
            wanted.append(leaves.c.position < end)
        if kind is not None:
            kinds = [kind] if isinstance(kind, str) else list(kind)
            wanted.append(leaves.c.kind.in_(kinds))
        if automation is not None:
            wanted.append(leaves.c.automation == automation)
        if since is not None:
            wanted.append(leaves.c.recorded_at >= stamp(since))
        if until is not None:
            wanted.append(leaves.c.recorded_at < stamp(until))
        return self._select(leaves.c.position >= first, *wanted)

    def size(self) -> int:
        """Return the number of leaves."""
        with self.database.reading() as connection:
            return size_of(connection)

    def root(self, size: int | None = None) -> bytes:
        """Return the root over all leaves, or over the first `size`."""
        with self._tree(size) as (tree, count):
            return merkle.range_root(0, count, tree.node)

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path of a leaf in the log, or in its first `size` leaves."""
        with self._tree(size) as (tree, count):
            return merkle.inclusion(index, count, tree.node)

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the proof that the log of `first` leaves begins the log of `second`."""
        with self._tree(second) as (tree, count):
            return merkle.consistency(first, count, tree.node)

    def public_keys(self) -> list[PublicKey]:
        """Return every key that signs or signed for this log."""
        return self.keyring.public_keys()

    def checkpoint(self) -> str:
        """Sign the present size and root, and keep the note at the second place.

        Raises:
            AiosError: The log is not a continuation of its last checkpoint there, or the note
                cannot be signed or written.
        """
        key = self._signing_key()
        with self._tree(None) as (tree, size):
            last = self.last_checkpoint()
            self._continues(tree, size, last)
            root = merkle.range_root(0, size, tree.node)
            # From the leaves themselves, not only from the stored tree: what is signed stays.
            first = last.size if last else 0
            hashes = (merkle.leaf_hash(entry.leaf) for entry in self.entries(first=first, end=size))
            if merkle.grown(first, tree.node, hashes) != root:
                raise _broken("the stored tree does not fit the leaves", self.place)
        note = sign_note(Checkpoint(key.name, size, root), key)
        # A note must not outlive its leaves: after a power cut the log would look like one cut.
        self.database.sync()
        self.place.write(size, note)
        return note

    def settle(self) -> str | None:
        """Make a checkpoint of what was done; where the place is out of reach, the next one does.

        Returns:
            Why there is none now; None where there is.

        Raises:
            AiosError: As `checkpoint`, but for a place that is out of reach.
        """
        try:
            self.checkpoint()
        except OutOfReach as error:
            return str(error)
        return None

    def checkpoints(self) -> list[str]:
        """Return the notes at the second place, in order of size."""
        return self.place.notes()

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint at the second place.

        Raises:
            AiosError: Nobody whom we know signed it.
        """
        note = self.place.last()
        return None if note is None else open_note(note, self.public_keys())

    def now(self) -> datetime:
        """Return the time, never before the last leaf's: a clock set back does not undo expiry."""
        with self.database.reading() as connection:
            last = last_time(connection)
        return max(clock.wall(), datetime.fromisoformat(last)) if last else clock.wall()

    def verify(self) -> Verification:
        """Check every leaf, the tree, and each checkpoint at the second place."""
        return verify_log(self)

    def _signing_key(self) -> SigningKey:
        # A key is made for a new log only: one that is lost must be missed, not replaced.
        signed = self.place.last() is not None
        return self.keyring.signing_key() if signed else self.keyring.create()

    def _compare(self) -> None:
        """Compare with the last checkpoint, once before a process appends."""
        try:
            last = self.last_checkpoint()
        except AiosError:
            last = None  # Out of reach or damaged, which `checkpoint()` will say; work goes on.
        if last is not None:
            with self._tree(None) as (tree, size):
                self._continues(tree, size, last)
        self._compared = True

    def _continues(self, tree: Tree, size: int, last: Checkpoint | None) -> None:
        if last is None:
            return
        if last.origin != self.origin:
            raise _broken(f"the last checkpoint is of another log, {last.origin!r}", self.place)
        if last.size > size:
            raise _broken(
                f"the log has {size} leaves, its last checkpoint {last.size}: it was cut, or "
                "restored from an older copy",
                self.place,
            )
        if merkle.range_root(0, last.size, tree.node) != last.root:
            raise _broken(
                f"the first {last.size} leaves are not those of the last checkpoint", self.place
            )

    @contextmanager
    def _tree(self, size: int | None) -> Iterator[tuple[Tree, int]]:
        with self.database.reading() as connection:
            present = size_of(connection)
            if size is not None and not 0 <= size <= present:
                raise AiosError(
                    f"the log has {present} leaves, not {size}", where="record", fix="Ask for less."
                )
            try:
                yield Tree(connection), present if size is None else size
            except IndexError as error:
                raise AiosError(
                    f"the log has no {error}",
                    where="record",
                    fix=f"It has {present} leaves, from 0.",
                ) from error

    def _select(
        self, *wanted: sa.ColumnElement[bool], newest_first: bool = False
    ) -> Iterator[Entry]:
        order = leaves.c.position.desc() if newest_first else leaves.c.position
        query = sa.select(leaves).where(*wanted).order_by(order)
        with (
            self.database.reading() as connection,
            connection.execution_options(yield_per=1000).execute(query) as rows,
        ):
            for row in rows:
                yield entry_of(row)


def open_log(settings: Settings) -> Log:
    """Open the log of a home; its key is made with its first leaf."""
    database = open_database(settings.record)
    keyring = Keyring(settings.keys, "record")
    return Log(database, keyring, CheckpointPlace(settings.checkpoints))


def _broken(what: str, place: CheckpointPlace) -> AiosError:
    return AiosError(
        what,
        where=f"record, against {place}",
        fix="Run 'aios record verify', and restore the newest copy of the database; until then "
        "nothing is signed.",
    )
