"""Changing the key that signs checkpoints, so that who trusts the old one can trust the new one."""

from __future__ import annotations

from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.signing import PublicKey

ROTATED = "key_rotated"


def rotate(log: Log, actor: str, reason: str) -> PublicKey:
    """Sign with a new key from now on; the old one signs the new one's line in the log.

    Returns:
        The new public key, to be given to all who verify.

    Raises:
        AiosError: The old key is missing, or the log is not what was signed before.
    """
    log.checkpoint()

    def announce(old: PublicKey, new: PublicKey, signature: str) -> None:
        body = {"reason": reason, "old": str(old), "new": str(new), "signature": signature}
        log.append(Act(ROTATED, None, actor, body))

    new = log.keyring.rotate(announce)
    log.checkpoint()
    return new
