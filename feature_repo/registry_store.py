"""A file registry that is never seen half written. Loaded by Feast, by name."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from feast.infra.registry.file import FileRegistryStore
from feast.utils import _utc_now

if TYPE_CHECKING:
    from feast.protos.feast.core.Registry_pb2 import Registry


class AtomicFileRegistryStore(FileRegistryStore):  # type: ignore[misc]
    """Feast's file registry, written aside and renamed.

    Feast truncates the file and then writes it, so a kill in between loses every view, and a
    reader in another process can see an empty registry.
    """

    def _write_registry(self, registry_proto: Registry) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(_utc_now())
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        aside = self._filepath.with_name(f"{self._filepath.name}.{uuid.uuid4().hex}")
        try:
            with open(aside, "wb") as file:
                file.write(registry_proto.SerializeToString())
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self._filepath)
        finally:
            aside.unlink(missing_ok=True)
