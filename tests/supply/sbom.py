"""``make sbom``: the parts of the program as CycloneDX 1.6 JSON, from the lock; the same lock gives the same bytes.

    python -m tests.supply.sbom dist/sbom.cdx.json

Format: https://cyclonedx.org/docs/1.6/json/. Licences are what the installed distributions say of themselves.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from decnet import __version__
from tests.supply.lock import LOCK, Part, parts

_NAME = "decnet-tui"
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")


def purl(name: str, version: str) -> str:
    """The package URL: https://github.com/package-url/purl-spec."""
    return f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version}"


def licences(name: str, version: str) -> list[dict[str, Any]]:
    """What a distribution says of its licence; nothing where another version, or none, is installed."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return []
    if about["Version"] != version:
        return []
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    told = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    named = about.get("License") or ""
    if not told and len(named) < 100 and named.strip():
        told = [named.strip()]
    return [{"license": {"name": one}} for one in told if one != "OSI Approved"]


def component(part: Part) -> dict[str, Any]:
    """A library of the lock; any of its files has one of the hashes."""
    ref = purl(part.name, part.version)
    properties = [{"name": "lock:sha256", "value": digest} for digest in sorted(part.hashes)]
    if part.marker:
        properties.append({"name": "lock:marker", "value": part.marker})
    made = {"type": "library", "bom-ref": ref, "name": part.name, "version": part.version, "purl": ref}
    found = licences(part.name, part.version)
    return {**made, "scope": "required", **({"licenses": found} if found else {}), "properties": properties}


def bill(text: str) -> dict[str, Any]:
    """The whole document for a lock."""
    found = parts(text)
    refs = {part.name: purl(part.name, part.version) for part in found}
    own = purl(_NAME, __version__)
    wants: dict[str, set[str]] = {own: {refs[part.name] for part in found if part.own}}
    for part in found:
        wants.setdefault(refs[part.name], set())
        for who in part.by:
            wants.setdefault(refs[who], set()).add(refs[part.name])
    program = {"type": "application", "bom-ref": own, "name": _NAME, "version": __version__, "purl": own}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, own + text)}",
        "version": 1,
        "metadata": {"component": {**program, "licenses": [{"expression": "AGPL-3.0-or-later"}]}},
        "components": [component(part) for part in found],
        "dependencies": [{"ref": ref, "dependsOn": sorted(some)} for ref, some in sorted(wants.items())],
    }


def main(target: Path) -> int:
    """Writes the file."""
    made = bill(LOCK.read_text("utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    print(f"{len(made['components'])} parts to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
