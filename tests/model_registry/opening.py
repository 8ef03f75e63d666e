from __future__ import annotations

from aios.database import Database
from aios.record.keyring import Keyring
from aios.record.log import Log
from aios.record.places import CheckpointPlace
from model_registry.registry import Registry


def log_in(folder, keys=None):
    """A record below a folder; its keys may be another folder's."""
    keyring = Keyring(keys or folder / "keys", "record")
    database = Database(f"sqlite:///{folder}/record.db", patience=5)
    return Log(database, keyring, CheckpointPlace(f"{folder}/checkpoints"))


def registry_in(folder, keys=None, **given):
    """A registry whose whole state lies below a folder."""
    log = log_in(folder, keys)
    return Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts", log, **given)
