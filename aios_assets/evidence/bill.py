"""The software bill of materials: what is installed of what the project requires.

CycloneDX 1.6 in JSON. Licences are those that the distributions state. A distribution's RECORD
lists the SHA-256 of each of its files as installed; its own digest is given as a property, since
CycloneDX's `hashes` are of the archive, which an installed distribution rarely knows.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from aios.settings import PROJECT
from aios_assets.evidence.scope import Folder

NAME = "sbom.cdx.json"
LOCK = PROJECT / "requirements.lock"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/aios")
_BY_INSTALLER = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def write_bill(folder: Folder, lock: Path = LOCK) -> dict[str, Any]:
    """Write and return the bill of materials; what is not installed as locked is noted."""
    locked = dict(_locked(lock)) if lock.exists() else {}
    if not locked:
        folder.lack("software bill of materials", f"There is no {lock.name} beside the code.", NAME)
    components, present = [], {}
    for name, wanted in sorted(locked.items()):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            folder.lack(
                f"distribution {name} {wanted}", "It is locked and not installed here.", NAME
            )
            continue
        if wanted not in (found.version, found.version.partition("+")[0]):
            folder.lack(
                f"distribution {name} {wanted}",
                f"Version {found.version} is installed instead.",
                NAME,
            )
        components.append(_component(name, found))
        present[name] = found
    bill: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _root()},
        "components": components,
        "dependencies": list(_dependencies(present)),
    }
    text = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, text)}"
    folder.write_json(NAME, bill)
    return bill


def normal(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(lock: Path) -> Iterator[tuple[str, str]]:
    for line in lock.read_text().splitlines():
        name, found, wanted = line.split("#")[0].split(";")[0].strip().partition("==")
        if found:
            yield normal(name.partition("[")[0]), wanted.split()[0]


def _root() -> dict[str, Any]:
    try:
        number = version("aios")
    except PackageNotFoundError:
        number = "unreleased"
    return {"type": "application", "bom-ref": "aios", "name": "aios", "version": number}


def _component(name: str, found: Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{found.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": found.version,
        "purl": purl,
    }
    if licenses := _licenses(found):
        component["licenses"] = licenses
    if digest := _archive_digest(found):
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if record := _record_digest(found):
        component["properties"] = [{"name": "aios:installed-files:sha256", "value": record}]
    return component


def _licenses(found: Distribution) -> list[dict[str, Any]]:
    text = found.metadata
    if "License-Expression" in text:
        return [{"expression": text["License-Expression"]}]
    stated = text["License"].strip() if "License" in text else ""
    if stated and "\n" not in stated and len(stated) < 100 and stated.upper() != "UNKNOWN":
        return [{"license": {"name": stated}}]
    classifiers = text.get_all("Classifier") or []
    names = [one.split(" :: ")[-1] for one in classifiers if one.startswith("License :: ")]
    return [{"license": {"name": name}} for name in sorted(set(names))]


def _archive_digest(found: Distribution) -> str | None:
    """Return the archive's SHA-256 where it was installed from an address that states one."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        digest = origin.get("archive_info", {}).get("hashes", {}).get("sha256")
    except (ValueError, AttributeError):
        return None
    return digest if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else None


def _record_digest(found: Distribution) -> str | None:
    """Return the SHA-256 over names and digests of the files that came with a distribution."""
    lines = [
        f"{one}\0{one.hash.mode}={one.hash.value}\n"
        for one in found.files or []
        if one.hash and one.name not in _BY_INSTALLER and ".." not in one.parts
    ]
    return sha256("".join(sorted(lines)).encode()).hexdigest() if lines else None


def _dependencies(present: dict[str, Distribution]) -> Iterator[dict[str, Any]]:
    def reference(name: str) -> str:
        return f"pkg:pypi/{name}@{present[name].version}"

    yield {"ref": "aios", "dependsOn": sorted(reference(name) for name in present)}
    for name in sorted(present):
        needs = {one for one in _required(name) if one in present and one != name}
        yield {"ref": reference(name), "dependsOn": sorted(reference(one) for one in needs)}


@cache
def _required(name: str) -> frozenset[str]:
    """Return the names that a distribution requires in this environment, without extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = set()
    for text in distribution(name).requires or []:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            found.add(normal(one.name))
    return frozenset(found)
