"""An ATT&CK Navigator layer: one score a technique, the number of its tags.

Format: https://github.com/mitre-attack/attack-navigator/tree/master/layers (layer format 4.5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from decnet.attack.catalogue import Catalogue, load_catalogue
from decnet.db.rows.lists import Counted
from decnet.export.known import NOTHING, Known
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


@dataclass
class Seen:
    """What was seen of a technique under a tactic: how often, by which rules, of whom and from where."""

    tags: int = 0
    rules: set[str] = field(default_factory=set)
    who: set[str | None] = field(default_factory=set)
    addresses: set[str | None] = field(default_factory=set)
    attackers: set[str | None] = field(default_factory=set)


Cells = dict[tuple[str, str], Seen]
"""By technique (or sub-technique) and tactic."""


def seen_in(rows: Iterable[LayerRow]) -> Cells:
    """What some rows tell of."""
    cells: Cells = {}
    for row in rows:
        cell = cells.setdefault((row["sub_technique_id"] or row["technique_id"], row["tactic"]), Seen())
        cell.tags += row.get("tags", 1)
        cell.rules.add(row["rule_id"])
        cell.who.add(row.get("identity_uuid") or row.get("attacker_uuid"))
        cell.addresses.add(row.get("attacker_ip"))
        cell.attackers.add(row.get("attacker_uuid"))
    return cells


def seen_counted(counted: Counted, addresses: Mapping[str, str]) -> Cells:
    """What counts of tags tell of; ``addresses`` are those of attackers."""
    cells: Cells = {}
    by_kind: dict[str, Seen] = {}
    for number, tags in counted.tags.items():
        kind = counted.kinds[number]
        cell = by_kind[str(number)] = cells.setdefault(
            (kind.sub_technique_id or kind.technique_id, kind.tactic), Seen()
        )
        cell.tags += tags
        cell.rules.add(kind.rule_id)
    for one in counted.ones:
        address = addresses.get(one.attacker_uuid or "")
        for text in one.kinds.split(","):
            if (found := by_kind.get(text)) is not None:
                found.who.add(one.who)
                found.addresses.add(address)
                found.attackers.add(one.attacker_uuid)
    return cells


def navigator_layer(
    cells: Cells,
    *,
    name: str = "decnet-tui",
    description: str = "",
    catalogue: Catalogue | None = None,
    beside: Known = NOTHING,
) -> dict[str, Any]:
    """The layer of what was seen; a technique of several tactics is scored in each one where it was.

    What is known ``beside`` stands in its metadata: who, where from, of which campaigns; cells name these by number.
    """
    known = catalogue or load_catalogue()
    parents = {(technique.partition(".")[0], tactic) for technique, tactic in cells if "." in technique}
    techniques = [
        _cell(place, cells.get(place), known, opened=place in parents, beside=beside)
        for place in sorted(parents | cells.keys())
    ]
    return {
        "name": visible(name, 200),
        "versions": {"attack": known.release.split(".")[0], "navigator": NAVIGATOR, "layer": LAYER_FORMAT},
        "domain": "enterprise-attack",
        "description": visible(description, 2000),
        "metadata": _metadata(cells, beside),
        "sorting": 3,
        "hideDisabled": False,
        "techniques": techniques,
        "gradient": {
            "colors": _COLOURS,
            "minValue": 0,
            "maxValue": max((cell.tags for cell in cells.values()), default=1),
        },
    }


def _cell(
    place: tuple[str, str], seen: Seen | None, known: Catalogue, *, opened: bool, beside: Known
) -> dict[str, Any]:
    """One technique in one tactic; ``opened`` is a parent of tagged sub-techniques, which Navigator folds otherwise."""
    technique, tactic = place
    cell: dict[str, Any] = {"techniqueID": technique, "enabled": True}
    if opened:
        cell["showSubtechniques"] = True
    if seen is not None:
        rules = sorted(seen.rules)
        named = ", ".join(rules[:_RULES_NAMED]) + (" …" if len(rules) > _RULES_NAMED else "")
        counts = f"{seen.tags} tags of {len(seen.who)} identities"
        cell |= {"score": seen.tags, "comment": f"{counts} by {visible(named, 400)}{_where(seen, beside)}"}
        cell["metadata"] = [{"name": "see", "value": f"decnet-tui tags --technique {technique}"}]
    if tactic in known.tactics:
        cell["tactic"] = known.tactics[tactic][0]
    return cell


def _where(seen: Seen, beside: Known) -> str:
    """Countries and campaigns of a cell, where any are known."""
    parts = [visible(", ".join(_countries(seen.addresses, beside)[:_NAMED]), 200)]
    count = len(_campaigns(seen.attackers, beside))
    parts.append(f"{count} campaign{'' if count == 1 else 's'}" if count else "")
    return "".join(f"; {part}" for part in parts if part)


def _countries(addresses: Iterable[str | None], beside: Known) -> list[str]:
    """Countries with how many addresses are there, the commonest first."""
    places = [place for ip in addresses if ip and (place := beside.places.get(ip))]
    counts = Counter(
        f"{place['country']}{' (alloc)' if place['allocated'] else ''}"
        for place in places
        if place["country"]
    )
    return [f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]


def _campaigns(attackers: Iterable[str | None], beside: Known) -> list[str]:
    """The campaigns of some attackers, in order of their ids."""
    return sorted({one for uuid in attackers if uuid for one in beside.by_attacker.get(uuid, ())})


def _metadata(cells: Cells, beside: Known) -> list[dict[str, str]]:
    """What Navigator shows of a layer: identities of several addresses, campaigns, countries, networks."""
    who, addresses, attackers = (
        set().union(*(getattr(cell, name) for cell in cells.values()))
        for name in ("who", "addresses", "attackers")
    )
    joined = [
        one for uuid, one in sorted(beside.identities.items()) if uuid in who and one["state"] == "joined"
    ]
    campaigns = [beside.campaigns[one] for one in _campaigns(attackers, beside) if one in beside.campaigns]
    places = [beside.places[ip] for ip in sorted(ip for ip in addresses if ip and ip in beside.places)]
    networks = {place["asn"]: place["as_name"] for place in places if place["asn"]}
    told = [("identity", f"{one['identity_uuid']}: {' '.join(one['addresses'])}") for one in joined]
    told += [
        ("campaign", f"{one['campaign_uuid']} {one['name']}: {len(one['addresses'])} addresses")
        for one in campaigns
    ]
    told += [("country", one) for one in _countries(addresses, beside)]
    told += [("network", f"AS{asn} {name or ''}".rstrip()) for asn, name in sorted(networks.items())]
    left = len(told) - _MOST
    shown = [
        *told[:_MOST],
        *([("more", f"{left} not shown: export csv or jsonl has them")] if left > 0 else []),
    ]
    return [{"name": name, "value": visible(value, 500)} for name, value in shown]
