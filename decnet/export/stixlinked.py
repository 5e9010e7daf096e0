"""Who belongs together and where from, as STIX 2.1 objects: intrusion sets, campaigns, infrastructure, places, networks.

An identity of several addresses is an intrusion set, attributed to the threat actor that stands for the identity. A
campaign is a kit, perhaps of many hands: it is attributed to everybody who had it, which says that they did, not that
they are one. Nothing here makes a statement about a known group: sharing techniques is no evidence of that.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from decnet.db.rows.linking import ListedCampaign, ListedIdentity
from decnet.export.known import ExportPlace, Known
from decnet.export.stixids import EPOCH, object_id
from decnet.hostile import visible

ONE_KIT = "One kit, perhaps of many hands: whoever had it need not be one person."
DOUBT = "One operator with two toolkits, or two who share a key, look alike."
FETCHED = "Files were fetched from here; it may be anybody's server."
_TEXT, _NAME = 2000, 200
Span = tuple[datetime, datetime]


class Actor(NamedTuple):
    """First and last time of who has tags, the hosts that were fetched from, and files that were brought."""

    span: Span
    hosts: Sequence[str] = ()
    hashes: Sequence[str] = ()


def linked_objects(stix2: Any, known: Known, actors: Mapping[str, Actor], author: str) -> list[Any]:
    """Everything that is known of actors beside their tags."""
    joined = {
        uuid: row for uuid, row in known.identities.items() if row["state"] == "joined" and uuid in actors
    }
    out: list[Any] = []
    for uuid, row in sorted(joined.items()):
        out += _intrusion_set(stix2, row, actors[uuid].span, author)
    for _, campaign in sorted(known.campaigns.items()):
        out += _campaign(stix2, campaign, actors, joined, author)
    for uuid, actor in sorted(actors.items()):
        source, targets = object_id("threat-actor", uuid), map(_infrastructure_id, actor.hosts)
        out += [related(stix2, source, "uses", target, actor.span, author) for target in targets]
    return out + _infrastructure(stix2, known.campaigns.values(), actors.values(), author)


def patterns_of(known: Known) -> set[str]:
    """Techniques that campaigns were seen with."""
    return {technique for one in known.campaigns.values() for technique in one["techniques"]}


def _intrusion_set(stix2: Any, row: ListedIdentity, span: Span, author: str) -> list[Any]:
    uuid, (first, last) = row["identity_uuid"], span
    reasons = [
        f"{one['weight']:+.1f} {one['family']} {one['value']} at {one['addresses']} addresses"
        for one in row["reasons"]
    ]
    against = ", ".join(f"{one['weight']:+.1f} {one['family']}" for one in row["against"]) or "none"
    why = f"Strength 10^{row['confidence']:.1f}: {'; '.join(reasons)}. Against: {against}. {DOUBT}"
    found = stix2.IntrusionSet(
        id=object_id("intrusion-set", uuid),
        created=first,
        modified=last,
        created_by_ref=author,
        name=f"honeypot identity {visible(uuid, 60)}",
        description=visible(why, _TEXT),
        aliases=[visible(one, 60) for one in row["addresses"]] or None,
        first_seen=first,
        last_seen=last if last > first else None,
    )
    return [found, related(stix2, found.id, "attributed-to", object_id("threat-actor", uuid), span, author)]


def _campaign(
    stix2: Any,
    row: ListedCampaign,
    actors: Collection[str],
    joined: Collection[str],
    author: str,
) -> list[Any]:
    first, last = span = span_of(row)
    assets = "; ".join(
        f"{one['family']} {one['value']} at {one['addresses']} addresses" for one in row["reasons"]
    )
    count = f"{len(row['addresses'])} addresses, {row['sessions']} sessions."
    found = stix2.Campaign(
        id=object_id("campaign", row["campaign_uuid"]),
        created=first,
        modified=last,
        created_by_ref=author,
        name=visible(row["name"], _NAME) or "without a name",
        description=visible(f"{ONE_KIT} {count} Known by {assets}", _TEXT),
        aliases=[f"c-{row['campaign_uuid'][:8]}"],
        first_seen=first,
        last_seen=last if last > first else None,
    )
    out = [found]
    for uuid in row["identities"]:
        if uuid in actors:
            kind = "intrusion-set" if uuid in joined else "threat-actor"
            out.append(related(stix2, found.id, "attributed-to", object_id(kind, uuid), span, author))
    targets = [object_id("attack-pattern", technique) for technique in row["techniques"]]
    targets += [_infrastructure_id(host) for host in row["payload_hosts"]]
    return out + [related(stix2, found.id, "uses", target, span, author) for target in targets]


def span_of(row: ListedCampaign) -> Span:
    """When a campaign was first and last seen; one without sessions stands at a time of its own."""
    first = row["first_seen"] or EPOCH
    return first, max(row["last_seen"] or first, first)


def _infrastructure_id(host: str) -> str:
    return object_id("infrastructure", host)


def _infrastructure(
    stix2: Any, campaigns: Iterable[ListedCampaign], actors: Iterable[Actor], author: str
) -> list[Any]:
    """Hosts that campaigns and actors fetched from, with the name or the address that each is."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for actor in actors:
        for host in actor.hosts:
            spans[host].append(actor.span)
    for one in campaigns:
        for host in one["payload_hosts"]:
            spans[host].append(span_of(one))
    out: list[Any] = []
    for host, times in sorted(spans.items()):
        span = min(first for first, _ in times), max(last for _, last in times)
        found = stix2.Infrastructure(
            id=_infrastructure_id(host),
            created=span[0],
            modified=span[1],
            created_by_ref=author,
            name=visible(host, _NAME) or "without a name",
            description=FETCHED,
            infrastructure_types=["unknown"],
            first_seen=span[0],
            last_seen=span[1] if span[1] > span[0] else None,
        )
        thing = _host(stix2, host)
        out += [found, thing, related(stix2, found.id, "consists-of", thing.id, span, author)]
    return out


def _host(stix2: Any, host: str) -> Any:
    try:
        return address_object(stix2, host.strip("[]"))
    except ValueError:
        return stix2.DomainName(value=visible(host, _NAME))


def address_object(stix2: Any, text: str) -> Any:
    """An address. Raises ValueError for text that is none."""
    version = ipaddress.ip_address(text).version
    return (stix2.IPv4Address if version == 4 else stix2.IPv6Address)(value=text)


def place_objects(stix2: Any, address: str, place: ExportPlace, span: Span, author: str) -> list[Any]:
    """Country and network of an address (the id of its object), with what ties them to it."""
    out: list[Any] = []
    if place["country"]:
        how = "the address was allocated there" if place["allocated"] else "by a file of addresses"
        where = stix2.Location(
            id=object_id("location", place["country"]),
            created=EPOCH,
            modified=EPOCH,
            name=place["country"],
            country=place["country"],
        )
        out += [where, related(stix2, address, "located-at", where.id, span, author, how)]
    if place["asn"] is not None:
        name = visible(place["as_name"] or "", _NAME) or None
        network = stix2.AutonomousSystem(number=place["asn"], name=name)
        out += [network, related(stix2, address, "belongs-to", network.id, span, author)]
    return out


def related(
    stix2: Any, source: str, kind: str, target: str, span: Span, author: str, description: str | None = None
) -> Any:
    """A relationship of a kind between two objects, by their ids."""
    first, last = span
    return stix2.Relationship(
        id=object_id("relationship", f"{source}|{kind}|{target}"),
        created=first,
        modified=last,
        created_by_ref=author,
        relationship_type=kind,
        source_ref=source,
        target_ref=target,
        description=description,
    )


def once(objects: Sequence[Any]) -> list[Any]:
    """Objects, of those with one id the first."""
    found: dict[str, Any] = {}
    for one in objects:
        found.setdefault(one.id, one)
    return list(found.values())
