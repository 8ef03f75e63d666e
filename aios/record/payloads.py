"""Personal data beside the log: a leaf names a salted digest, the content can be erased.

Each person has a key of their own, which encrypts what is about them. Deleting it makes all of that
unreadable and leaves every leaf as it was. A copy of the database from before still holds the key,
sealed with `payloads.key`: none may outlive an erasure.
"""

from __future__ import annotations

import hmac
import json
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal, get_args

import sqlalchemy as sa

from aios.database import metadata
from aios.errors import AiosError
from aios.record.canonical import encode
from aios.record.leaves import Act, stamp
from aios.record.log import Log
from aios.record.signing import create_secret, read_secret

Retention = Literal["brief", "case", "legal"]
RETENTION: dict[Retention, timedelta] = {
    "brief": timedelta(days=90),
    "case": timedelta(days=3 * 365),
    "legal": timedelta(days=10 * 365),
}
"""How long a payload of each class is kept; the log itself is kept for ever."""

_SALT, _NONCE, _KEY = 16, 12, 32

payloads = sa.Table(
    "record_payloads",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(64), nullable=False, index=True),
    sa.Column("retention", sa.String(60), nullable=False),
    sa.Column("recorded_at", sa.String(26), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
subjects = sa.Table(
    "record_subjects",
    metadata,
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
)


class Payloads:
    """The payloads of a log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def record(self, act: Act, subject: str, content: Any, retention: Retention) -> str:
        """Record an act whose content is about a person; the leaf holds a salted digest of it.

        Args:
            act: What was done; its body gains `payload` (the digest) and `subject` (a pseudonym).
            subject: Whom it is about, by an id that is theirs everywhere.
            content: Plain data.
            retention: For how long it is kept.

        Returns:
            The payload's digest, hex.

        Raises:
            AiosError: It has no canonical form, or cannot be written; then nothing was.
        """
        if retention not in get_args(Retention):
            raise AiosError(
                f"there is no retention '{retention}'",
                where=act.kind,
                fix=f"Use one of: {', '.join(RETENTION)}.",
            )
        plain = secrets.token_bytes(_SALT) + encode(content)
        digest, pseudonym = sha256(plain).hexdigest(), self._pseudonym(subject)
        body = {**act.body, "payload": digest, "subject": pseudonym}
        named = Act(act.kind, act.automation, act.actor, body, act.at, act.key)
        with self._log.transaction() as transaction:
            connection = transaction.connection
            [entry] = transaction.append([named])
            if entry.body["payload"] == digest:
                sealed = _seal(self._key_of(connection, pseudonym), plain, digest)
                row = {"digest": digest, "subject": pseudonym, "retention": retention,
                       "recorded_at": stamp(entry.recorded_at), "content": sealed}  # fmt: skip
                connection.execute(payloads.insert().values(row))
        return str(entry.body["payload"])

    def read(self, digest: str) -> Any:
        """Return a payload.

        Raises:
            AiosError: There is none, or it was erased.
        """
        with self._log.database.reading() as connection:
            row = connection.execute(
                sa.select(payloads.c.content, subjects.c.key)
                .outerjoin(subjects, subjects.c.subject == payloads.c.subject)
                .where(payloads.c.digest == digest)
            ).first()
        if row is None or row.key is None:
            raise AiosError(
                "it was erased" if row else "there is no such payload, or its time is over",
                where=digest,
                fix="What is left is the leaf that names it: 'aios record show'.",
            )
        key = _open(self._secret(), bytes(row.key), "subject")
        plain = _open(key, bytes(row.content), digest)
        if sha256(plain).hexdigest() != digest:
            raise AiosError("it is not what was recorded", where=digest, fix="Restore a backup.")
        return json.loads(plain[_SALT:])

    def erase(self, subject: str, actor: str, reason: str) -> int:
        """Delete a person's key and payloads, and record that it was done.

        Returns:
            How many payloads became unreadable.
        """
        pseudonym = self._pseudonym(subject)
        with self._log.transaction() as transaction:
            connection = transaction.connection
            connection.execute(subjects.delete().where(subjects.c.subject == pseudonym))
            gone = connection.execute(payloads.delete().where(payloads.c.subject == pseudonym))
            body = {"subject": pseudonym, "payloads": gone.rowcount, "reason": reason}
            transaction.append([Act("erasure", None, actor, body)])
        self._log.database.forget_deleted()
        return gone.rowcount

    def expire(self, actor: str) -> int:
        """Delete payloads whose class is over, and record how many."""
        now, deleted = self._log.now(), 0
        with self._log.transaction() as transaction:
            for name, lasting in RETENTION.items():
                over = (payloads.c.retention == name) & (
                    payloads.c.recorded_at < stamp(now - lasting)
                )
                deleted += transaction.connection.execute(payloads.delete().where(over)).rowcount
            if deleted:
                transaction.append([Act("expiry", None, actor, {"payloads": deleted})])
        if deleted:
            self._log.database.forget_deleted()
        return deleted

    def _pseudonym(self, subject: str) -> str:
        return hmac.new(self._secret(), subject.encode(), "sha256").hexdigest()

    def _key_of(self, connection: sa.Connection, pseudonym: str) -> bytes:
        query = sa.select(subjects.c.key).where(subjects.c.subject == pseudonym)
        sealed = connection.execute(query).scalar()
        if sealed is not None:
            return _open(self._secret(), bytes(sealed), "subject")
        key = secrets.token_bytes(_KEY)
        row = {"subject": pseudonym, "key": _seal(self._secret(), key, "subject")}
        connection.execute(subjects.insert().values(row))
        return key

    def _secret(self) -> bytes:
        """Return what seals the persons' keys; the database alone reads nothing.

        Raises:
            AiosError: It is missing, others may read it, or it is not what sealed them: under
                another one nobody would be found, and nobody erased.
        """
        path = self._log.keyring.folder / "payloads.key"
        with self._log.database.reading() as connection:
            sealed = connection.execute(sa.select(subjects.c.key).limit(1)).scalar()
        if sealed is None:
            create_secret(path, _KEY)
        secret = read_secret(path)
        if len(secret) != _KEY:
            raise AiosError("it holds no key", where=str(path), fix="Restore it from a backup.")
        if sealed is not None:
            _open(secret, bytes(sealed), "subject")
        return secret


def _seal(key: bytes, plain: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, purpose.encode())


def _open(key: bytes, sealed: bytes, purpose: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        if len(sealed) < _NONCE:
            raise InvalidTag
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
    except InvalidTag as error:
        raise AiosError(
            "it cannot be decrypted: it was changed, or the key is another",
            where=purpose,
            fix="Restore the database and the folder of keys from one backup.",
        ) from error
