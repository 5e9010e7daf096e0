"""A STIX 2.1 bundle: who used which technique, between when and when, how sure, and from which address.

Ids are derived, so that the same rows give the same bundle. Needs the extra ``stix``.
Object types: https://docs.oasis-open.org/cti/stix/v2.1/os/stix-v2.1-os.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedTag
from decnet.errors import ExportError
from decnet.export.known import NOTHING, Known, place_of
from decnet.export.stixfiles import file_objects, technique_sighting
from decnet.export.stixids import EPOCH, object_id
from decnet.export.stixlinked import (
    Actor,
    Span,
    address_object,
    linked_objects,
    once,
    patterns_of,
    place_objects,
)
from decnet.hostile import visible

Row = ListedTag
_Actor = str
_Technique = str


def stix_bundle(rows: Iterable[Row], known: Known = NOTHING) -> str:
    """The bundle as JSON text, with what is known beside the rows. Raises ExportError when the library is not installed."""
    try:
        import stix2
    except ImportError as error:
        raise ExportError(
            "the STIX library is not installed: pip install 'decnet-tui[stix]', or export navigator, csv or jsonl"
        ) from error
    listed = sorted(rows, key=lambda row: (_seen(row), str(row["uuid"])))
    author = stix2.Identity(
        id=object_id("identity", "decnet-tui"),
        created=EPOCH,
        modified=EPOCH,
        name="decnet-tui",
        identity_class="system",
    )
    seen: dict[_Actor, list[Row]] = defaultdict(list)
    for row in listed:
        seen[_actor(row)].append(row)
    actors = {one: _told(of, known) for one, of in seen.items()}
    techniques = {_technique(row) for row in listed} | patterns_of(known)
    objects = once(
        [
            author,
            *_patterns(stix2, techniques),
            *_actors(stix2, listed, author.id, known),
            *linked_objects(stix2, known, actors, author.id),
            *file_objects(stix2, known, actors, author.id),
        ]
    )
    key = "|".join(obj.id for obj in objects)
    bundle = stix2.Bundle(id=object_id("bundle", key), objects=objects, allow_custom=False)
    return str(bundle.serialize(pretty=False))


def _seen(row: Row) -> datetime:
    """When it happened (``seen_at``), else when it was tagged: an old log may be tagged today."""
    return row.get("seen_at") or row["created_at"]


def _told(rows: Iterable[Row], known: Known) -> Actor:
    """When an actor was seen, the hosts that its addresses fetched from, and the files that they brought."""
    some = list(rows)
    attackers = {str(row.get("attacker_uuid")) for row in some}
    hosts, hashes = (
        sorted({one for uuid in attackers for one in things.get(uuid, ())})
        for things in (known.hosts, known.hashes)
    )
    return Actor(_span(some), hosts, hashes)


def _technique(row: Row) -> _Technique:
    return str(row["sub_technique_id"] or row["technique_id"])


def _actor(row: Row) -> _Actor:
    return str(row.get("identity_uuid") or row.get("attacker_uuid"))


def _patterns(stix2: Any, techniques: Iterable[_Technique]) -> list[Any]:
    known = load_catalogue()
    out = []
    for technique in sorted(techniques):
        found = known.get(technique)
        reference = {"source_name": "mitre-attack", "external_id": technique}
        if found is not None:
            reference["url"] = found.url
        out.append(
            stix2.AttackPattern(
                id=object_id("attack-pattern", technique),
                created=EPOCH,
                modified=EPOCH,
                name=known.name(technique) or technique,
                external_references=[reference],
            )
        )
    return out


def _actors(stix2: Any, rows: Iterable[Row], author: str, known: Known) -> list[Any]:
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
        found = _addresses(stix2, actor, seen, author, known)
        observed = [one.id for one in found if one.type == "observed-data"]
        out += found
        out += [
            technique_sighting(stix2, actor, technique, group, _span(group), observed, author)
            for technique, group in sorted(techniques.items())
        ]
    return out


def _span(rows: Iterable[Row]) -> Span:
    times = [_seen(row) for row in rows]
    return min(times), max(times)


def _threat_actor(stix2: Any, actor: _Actor, rows: list[Row], author: str) -> Any:
    first, last = _span(rows)
    addresses = sorted({visible(str(row["attacker_ip"]), 60) for row in rows if row.get("attacker_ip")})
    return stix2.ThreatActor(
        id=object_id("threat-actor", actor),
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
        id=object_id("relationship", f"{actor}|uses|{technique}"),
        created=first,
        modified=last,
        created_by_ref=author,
        relationship_type="uses",
        source_ref=object_id("threat-actor", actor),
        target_ref=object_id("attack-pattern", technique),
        confidence=round(100 * max(float(row["confidence"]) for row in rows)),
        description=f"{len(rows)} tags by {', '.join(sorted({visible(str(row['rule_id']), 64) for row in rows}))}",
    )


def _addresses(stix2: Any, actor: _Actor, rows: list[Row], author: str, known: Known) -> list[Any]:
    """The addresses, and an observation that ties them to the actor; text that is no address is left out."""
    by_address: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_address[str(row.get("attacker_ip"))].append(row)
    out: list[Any] = []
    for text, group in sorted(by_address.items()):
        try:
            address = address_object(stix2, text)
        except ValueError:
            continue
        first, last = _span(group)
        observed = stix2.ObservedData(
            id=object_id("observed-data", f"{actor}|{text}"),
            created=first,
            modified=last,
            created_by_ref=author,
            first_observed=first,
            last_observed=last,
            number_observed=len({row.get("session_id") or row["uuid"] for row in group}),
            object_refs=[address.id],
        )
        related = stix2.Relationship(
            id=object_id("relationship", f"{actor}|related-to|{text}"),
            created=first,
            modified=last,
            created_by_ref=author,
            relationship_type="related-to",
            source_ref=object_id("threat-actor", actor),
            target_ref=observed.id,
        )
        out += [address, observed, related]
        out += place_objects(stix2, address.id, place_of(group[0], known), (first, last), author)
    return out
