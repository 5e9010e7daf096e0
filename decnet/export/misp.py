"""A MISP event: addresses, hosts and files of attackers, with the techniques that they used as tags of the galaxy.

Format: https://www.misp-standard.org/rfc/misp-standard-core.html. Ids are derived, so that the same rows give the same
event and importing it again changes what is there instead of doubling it. It is not published and not shared further:
that is a person's decision.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import ListedTag
from decnet.export.known import NOTHING, Known, place_of
from decnet.hostile import visible

_NAMESPACE = uuid5(NAMESPACE_URL, "decnet:misp:v1")
_ORGANISATION: Final = "decnet-tui"
_YOUR_ORGANISATION_ONLY, _INHERIT = "0", "5"
_MEDIUM, _COMPLETED = "2", "2"
_TEXT: Final = 1000
EXAMPLES: Final = 5
"""Tags of a technique that are told of, the surest ones."""
_HOST = re.compile(r"(?=.{1,253}\Z)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{2,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
Attribute = dict[str, Any]


def misp_event(
    rows: Iterable[ListedTag], known: Known = NOTHING, *, info: str = "Attackers of decoys"
) -> dict[str, Any]:
    """The event as MISP takes it: an object with ``Event``."""
    listed = sorted(rows, key=lambda row: (row["seen_at"], str(row["uuid"])))
    first = listed[0]["seen_at"] if listed else datetime.fromtimestamp(0, UTC)
    last = max((row["seen_at"] for row in listed), default=first)
    attributes = [
        *_addresses(listed, known),
        *_hosts(listed, known),
        *_files(listed, known),
        *_campaigns(known),
        *_techniques(listed),
    ]
    names = sorted({_technique(row) for row in listed})
    key = "|".join(one["uuid"] for one in attributes)
    return {
        "Event": {
            "uuid": _uuid("event", key),
            "info": visible(info, 200),
            "date": f"{last:%Y-%m-%d}",
            "timestamp": _epoch(last),
            "threat_level_id": _MEDIUM,
            "analysis": _COMPLETED,
            "distribution": _YOUR_ORGANISATION_ONLY,
            "published": False,
            "Orgc": {"name": _ORGANISATION, "uuid": _uuid("organisation", _ORGANISATION)},
            "Tag": [{"name": galaxy_tag(name)} for name in names],
            "Attribute": attributes,
        }
    }


def galaxy_tag(technique: str) -> str:
    """The tag that MISP's galaxy of ATT&CK has for a technique."""
    name = load_catalogue().name(technique) or technique
    return f'misp-galaxy:mitre-attack-pattern="{name} - {technique}"'


def _addresses(rows: Sequence[ListedTag], known: Known) -> Iterator[Attribute]:
    """Where attacks came from; text that is no address is left out."""
    by_address: dict[str, list[ListedTag]] = defaultdict(list)
    for row in rows:
        by_address[str(row.get("attacker_ip"))].append(row)
    for text, group in sorted(by_address.items()):
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            continue
        place, sessions = place_of(group[0], known), {row["session_id"] for row in group if row["session_id"]}
        where = f", {place['country']}" if place["country"] else ""
        network = f", AS{place['asn']}" if place["asn"] else ""
        yield _attribute(
            "ip-src",
            "Network activity",
            address,
            group,
            f"{len(sessions)} sessions{where}{network}",
            ids=True,
        )


def _hosts(rows: Sequence[ListedTag], known: Known) -> Iterator[Attribute]:
    """What files were fetched from; it may be anybody's server, so nobody is to be alarmed by it alone."""
    for host, group in _of_attackers(rows, known.hosts).items():
        bare = host.strip("[]")
        try:
            kind, value = "ip-dst", str(ipaddress.ip_address(bare))
        except ValueError:
            kind, value = "hostname", bare
            if not _HOST.match(bare):
                continue
        yield _attribute(kind, "Network activity", value, group, "attackers fetched files from it", ids=False)


def _files(rows: Sequence[ListedTag], known: Known) -> Iterator[Attribute]:
    for digest, group in _of_attackers(rows, known.hashes).items():
        if _SHA256.match(digest):
            yield _attribute("sha256", "Payload delivery", digest, group, "attackers brought it", ids=True)


def _of_attackers(
    rows: Sequence[ListedTag], things: Mapping[str, Sequence[str]]
) -> dict[str, list[ListedTag]]:
    """By thing the rows of the attackers that had it."""
    found: dict[str, list[ListedTag]] = defaultdict(list)
    for row in rows:
        for thing in things.get(str(row["attacker_uuid"]), ()):
            found[thing].append(row)
    return dict(sorted(found.items()))


def _campaigns(known: Known) -> Iterator[Attribute]:
    for uuid, one in sorted(known.campaigns.items()):
        span = (one["first_seen"], one["last_seen"])
        comment = f"one kit, perhaps of many hands; {len(one['addresses'])} addresses; c-{uuid[:8]}"
        yield _made("campaign-name", "Attribution", one["name"] or uuid, comment, span, ids=False, key=uuid)


def _techniques(rows: Sequence[ListedTag]) -> Iterator[Attribute]:
    """For each technique some commands with their sessions, under the technique's tag."""
    by_technique: dict[str, list[ListedTag]] = defaultdict(list)
    for row in rows:
        by_technique[_technique(row)].append(row)
    for technique, group in sorted(by_technique.items()):
        for row in sorted(group, key=lambda row: (-row["confidence"], str(row["uuid"])))[:EXAMPLES]:
            matched = (row.get("evidence") or {}).get("matched") or row["rule_id"]
            value = f"{technique} in session {row['session_id'] or '-'}: {matched}"
            comment = f"rule {row['rule_id']}, tag {row['uuid']}"
            span = (row["seen_at"], row["seen_at"])
            made = _made("text", "Internal reference", value, comment, span, ids=False, key=str(row["uuid"]))
            yield made | {"Tag": [{"name": galaxy_tag(technique)}]}


def _technique(row: ListedTag) -> str:
    return str(row["sub_technique_id"] or row["technique_id"])


def _attribute(
    kind: str, category: str, value: str, rows: Sequence[ListedTag], comment: str, *, ids: bool
) -> Attribute:
    times = [row["seen_at"] for row in rows]
    return _made(kind, category, value, comment, (min(times), max(times)), ids=ids, key=value)


def _made(
    kind: str,
    category: str,
    value: str,
    comment: str,
    span: tuple[datetime | None, datetime | None],
    *,
    ids: bool,
    key: str,
) -> Attribute:
    first, last = span
    made: Attribute = {
        "uuid": _uuid(kind, key),
        "type": kind,
        "category": category,
        "value": visible(value, _TEXT),
        "comment": visible(comment, _TEXT),
        "to_ids": ids,
        "distribution": _INHERIT,
    }
    if first is not None and last is not None:
        made |= {"timestamp": _epoch(last), "first_seen": _iso(first), "last_seen": _iso(last)}
    return made


def _uuid(kind: str, key: str) -> str:
    return str(uuid5(_NAMESPACE, f"{kind}|{key}"))


def _epoch(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
