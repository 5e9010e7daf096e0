"""An ATT&CK Navigator layer: one score a technique, the number of its tags.

Format: https://github.com/mitre-attack/attack-navigator/tree/master/layers (layer format 4.5).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

from decnet.attack.catalogue import Catalogue, load_catalogue
from decnet.export.known import NOTHING, Known, campaigns_of, place_of
from decnet.hostile import visible

LAYER_FORMAT = "4.5"
NAVIGATOR = "5.1.0"
_COLOURS = ["#dbe9f6", "#f6a04d"]
_RULES_NAMED = 10
_NAMED = 5
"""Countries in the comment of a cell."""
_MOST = 200
"""Lines of metadata: Navigator shows all of them in one box."""


class LayerRow(TypedDict):
    """What of some tags of one kind a layer tells of; ``tags`` is how many they are: one where it is left out."""

    technique_id: str
    sub_technique_id: str | None
    tactic: str
    rule_id: str
    identity_uuid: str | None
    attacker_uuid: str | None
    attacker_ip: str | None
    tags: NotRequired[int]


def navigator_layer(
    rows: Iterable[LayerRow],
    *,
    name: str = "decnet-tui",
    description: str = "",
    catalogue: Catalogue | None = None,
    beside: Known = NOTHING,
) -> dict[str, Any]:
    """The layer of ``rows``; a technique of several tactics is scored in each one where it was seen.

    What is known ``beside`` stands in its metadata: who, where from, of which campaigns; cells name these by number.
    """
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
            beside=beside,
        )
        for technique, tactic in sorted(parents | cells.keys())
    ]
    return {
        "name": visible(name, 200),
        "versions": {"attack": known.release.split(".")[0], "navigator": NAVIGATOR, "layer": LAYER_FORMAT},
        "domain": "enterprise-attack",
        "description": visible(description, 2000),
        "metadata": _metadata([row for seen in cells.values() for row in seen], beside),
        "sorting": 3,
        "hideDisabled": False,
        "techniques": techniques,
        "gradient": {
            "colors": _COLOURS,
            "minValue": 0,
            "maxValue": max(map(_tags, cells.values()), default=1),
        },
    }


def _cell(
    technique: str, tactic: str, rows: list[LayerRow], known: Catalogue, *, opened: bool, beside: Known
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
            "score": _tags(rows),
            "comment": f"{_tags(rows)} tags of {len(actors)} identities by {visible(named, 400)}{_where(rows, beside)}",
        }
    if tactic in known.tactics:
        cell["tactic"] = known.tactics[tactic][0]
    return cell


def _tags(rows: Iterable[LayerRow]) -> int:
    return sum(row.get("tags", 1) for row in rows)


def _where(rows: list[LayerRow], beside: Known) -> str:
    """Countries and campaigns of a cell, where any are known."""
    parts = [visible(", ".join(_countries(rows, beside)[:_NAMED]), 200)]
    count = len(campaigns_of(rows, beside))
    parts.append(f"{count} campaign{'' if count == 1 else 's'}" if count else "")
    return "".join(f"; {part}" for part in parts if part)


def _countries(rows: list[LayerRow], beside: Known) -> list[str]:
    """Countries with how many addresses are there, the commonest first."""
    places = {row.get("attacker_ip"): place_of(row, beside) for row in rows}
    counts = Counter(
        f"{place['country']}{' (alloc)' if place['allocated'] else ''}"
        for place in places.values()
        if place["country"]
    )
    return [f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]


def _metadata(rows: list[LayerRow], beside: Known) -> list[dict[str, str]]:
    """What Navigator shows of a layer: identities of several addresses, campaigns, countries, networks."""
    actors = {row.get("identity_uuid") for row in rows}
    joined = [
        one for uuid, one in sorted(beside.identities.items()) if uuid in actors and one["state"] == "joined"
    ]
    campaigns = [beside.campaigns[one] for one in campaigns_of(rows, beside) if one in beside.campaigns]
    networks = {place["asn"]: place["as_name"] for row in rows if (place := place_of(row, beside))["asn"]}
    told = [("identity", f"{one['identity_uuid']}: {' '.join(one['addresses'])}") for one in joined]
    told += [
        ("campaign", f"{one['campaign_uuid']} {one['name']}: {len(one['addresses'])} addresses")
        for one in campaigns
    ]
    told += [("country", one) for one in _countries(rows, beside)]
    told += [("network", f"AS{asn} {name or ''}".rstrip()) for asn, name in sorted(networks.items())]
    left = len(told) - _MOST
    shown = [
        *told[:_MOST],
        *([("more", f"{left} not shown: export csv or jsonl has them")] if left > 0 else []),
    ]
    return [{"name": name, "value": visible(value, 500)} for name, value in shown]
