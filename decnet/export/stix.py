"""A STIX 2.1 bundle: who used which technique, between when and when, how sure, and from which address.

Ids are derived, so that the same rows give the same bundle. Needs the extra ``stix``.
Object types: https://docs.oasis-open.org/cti/stix/v2.1/os/stix-v2.1-os.html
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedTag
from decnet.errors import ExportError
from decnet.hostile import visible

_NAMESPACE = uuid5(NAMESPACE_URL, "decnet:stix:v1")
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""Creation time of objects that stand for something timeless: techniques and ourselves."""

Row = ListedTag
_Actor = str
_Technique = str


def stix_bundle(rows: Iterable[Row]) -> str:
    """The bundle as JSON text. Raises ExportError when the library is not installed."""
    try:
        import stix2
    except ImportError as error:
        raise ExportError(
            "the STIX library is not installed: pip install 'decnet-tui[stix]', or export navigator, csv or jsonl"
        ) from error
    listed = sorted(rows, key=lambda row: (_seen(row), str(row["uuid"])))
    author = stix2.Identity(
        id=_id("identity", "decnet-tui"),
        created=_EPOCH,
        modified=_EPOCH,
        name="decnet-tui",
        identity_class="system",
    )
    objects = [author, *_patterns(stix2, listed), *_actors(stix2, listed, author.id)]
    key = "|".join(obj.id for obj in objects)
    bundle = stix2.Bundle(id=_id("bundle", key), objects=objects, allow_custom=False)
    return str(bundle.serialize(pretty=False))


def _id(kind: str, key: str) -> str:
    return f"{kind}--{uuid5(_NAMESPACE, f'{kind}|{key}')}"


def _seen(row: Row) -> datetime:
    """When it happened (``seen_at``), else when it was tagged: an old log may be tagged today."""
    return row.get("seen_at") or row["created_at"]


def _technique(row: Row) -> _Technique:
    return str(row["sub_technique_id"] or row["technique_id"])


def _actor(row: Row) -> _Actor:
    return str(row.get("identity_uuid") or row.get("attacker_uuid"))


def _patterns(stix2: Any, rows: Iterable[Row]) -> list[Any]:
    known = load_catalogue()
    out = []
    for technique in sorted({_technique(row) for row in rows}):
        found = known.get(technique)
        reference = {"source_name": "mitre-attack", "external_id": technique}
        if found is not None:
            reference["url"] = found.url
        out.append(
            stix2.AttackPattern(
                id=_id("attack-pattern", technique),
                created=_EPOCH,
                modified=_EPOCH,
                name=known.name(technique) or technique,
                external_references=[reference],
            )
        )
    return out


def _actors(stix2: Any, rows: Iterable[Row], author: str) -> list[Any]:
    by_actor: dict[_Actor, dict[_Technique, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_actor[_actor(row)][_technique(row)].append(row)
    out: list[Any] = []
    for actor, techniques in sorted(by_actor.items()):
        seen = [row for group in techniques.values() for row in group]
        out.append(_threat_actor(stix2, actor, seen, author))
        out += [
            _uses(stix2, actor, technique, group, author) for technique, group in sorted(techniques.items())
        ]
        out += _addresses(stix2, actor, seen, author)
    return out


def _span(rows: Iterable[Row]) -> tuple[datetime, datetime]:
    times = [_seen(row) for row in rows]
    return min(times), max(times)


def _threat_actor(stix2: Any, actor: _Actor, rows: list[Row], author: str) -> Any:
    first, last = _span(rows)
    addresses = sorted({visible(str(row["attacker_ip"]), 60) for row in rows if row.get("attacker_ip")})
    return stix2.ThreatActor(
        id=_id("threat-actor", actor),
        created=first,
        modified=last,
        created_by_ref=author,
        name=f"honeypot identity {visible(actor, 60)}",
        aliases=addresses or None,
        first_seen=first,
        last_seen=last if last > first else None,
    )


def _uses(stix2: Any, actor: _Actor, technique: _Technique, rows: list[Row], author: str) -> Any:
    first, last = _span(rows)
    return stix2.Relationship(
        id=_id("relationship", f"{actor}|uses|{technique}"),
        created=first,
        modified=last,
        created_by_ref=author,
        relationship_type="uses",
        source_ref=_id("threat-actor", actor),
        target_ref=_id("attack-pattern", technique),
        confidence=round(100 * max(float(row["confidence"]) for row in rows)),
        description=f"{len(rows)} tags by {', '.join(sorted({visible(str(row['rule_id']), 64) for row in rows}))}",
    )


def _addresses(stix2: Any, actor: _Actor, rows: list[Row], author: str) -> list[Any]:
    """The addresses, and an observation that ties them to the actor; text that is no address is left out."""
    by_address: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_address[str(row.get("attacker_ip"))].append(row)
    out: list[Any] = []
    for text, group in sorted(by_address.items()):
        try:
            version = ipaddress.ip_address(text).version
        except ValueError:
            continue
        address = (stix2.IPv4Address if version == 4 else stix2.IPv6Address)(value=text)
        first, last = _span(group)
        observed = stix2.ObservedData(
            id=_id("observed-data", f"{actor}|{text}"),
            created=first,
            modified=last,
            created_by_ref=author,
            first_observed=first,
            last_observed=last,
            number_observed=len({row.get("session_id") or row["uuid"] for row in group}),
            object_refs=[address.id],
        )
        related = stix2.Relationship(
            id=_id("relationship", f"{actor}|related-to|{text}"),
            created=first,
            modified=last,
            created_by_ref=author,
            relationship_type="related-to",
            source_ref=_id("threat-actor", actor),
            target_ref=observed.id,
        )
        out += [address, observed, related]
    return out
