"""An ATT&CK Navigator layer: one score a technique, the number of its tags.

Format: https://github.com/mitre-attack/attack-navigator/tree/master/layers (layer format 4.5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypedDict

from decnet.attack.catalogue import Catalogue, load_catalogue
from decnet.hostile import visible

LAYER_FORMAT = "4.5"
NAVIGATOR = "5.1.0"
_COLOURS = ["#dbe9f6", "#f6a04d"]
_RULES_NAMED = 10


class LayerRow(TypedDict):
    """What of a tag a layer tells of."""

    technique_id: str
    sub_technique_id: str | None
    tactic: str
    rule_id: str
    identity_uuid: str | None
    attacker_uuid: str | None


def navigator_layer(
    rows: Iterable[LayerRow],
    *,
    name: str = "decnet-tui",
    description: str = "",
    catalogue: Catalogue | None = None,
) -> dict[str, Any]:
    """The layer of ``rows``; a technique of several tactics is scored in each one where it was seen."""
    known = catalogue or load_catalogue()
    cells: dict[tuple[str, str], list[LayerRow]] = defaultdict(list)
    for row in rows:
        cells[str(row["sub_technique_id"] or row["technique_id"]), str(row["tactic"])].append(row)
    parents = {(technique.partition(".")[0], tactic) for technique, tactic in cells if "." in technique}
    techniques = [
        _cell(
            technique,
            tactic,
            cells.get((technique, tactic), []),
            known,
            opened=(technique, tactic) in parents,
        )
        for technique, tactic in sorted(parents | cells.keys())
    ]
    return {
        "name": visible(name, 200),
        "versions": {"attack": known.release.split(".")[0], "navigator": NAVIGATOR, "layer": LAYER_FORMAT},
        "domain": "enterprise-attack",
        "description": visible(description, 2000),
        "sorting": 3,
        "hideDisabled": False,
        "techniques": techniques,
        "gradient": {
            "colors": _COLOURS,
            "minValue": 0,
            "maxValue": max((len(seen) for seen in cells.values()), default=1),
        },
    }


def _cell(
    technique: str, tactic: str, rows: list[LayerRow], known: Catalogue, *, opened: bool
) -> dict[str, Any]:
    """One technique in one tactic; ``opened`` is a parent of tagged sub-techniques, which Navigator folds otherwise."""
    cell: dict[str, Any] = {"techniqueID": technique, "enabled": True}
    if opened:
        cell["showSubtechniques"] = True
    if rows:
        rules = sorted({str(row["rule_id"]) for row in rows})
        named = ", ".join(rules[:_RULES_NAMED]) + (" …" if len(rules) > _RULES_NAMED else "")
        actors = {row.get("identity_uuid") or row.get("attacker_uuid") for row in rows}
        cell |= {
            "score": len(rows),
            "comment": f"{len(rows)} tags of {len(actors)} identities by {visible(named, 400)}",
        }
    if tactic in known.tactics:
        cell["tactic"] = known.tactics[tactic][0]
    return cell
