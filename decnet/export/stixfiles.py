"""Files that attackers brought, as malware, and what was sighted when, as STIX 2.1 objects.

A file is called malware because an attacker brought it; whether it is harmful nobody here has looked at. A sighting names
tags and sessions by their ids, so that what it says can be followed back to the command.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from decnet.db.rows.lists import ListedTag
from decnet.export.known import Known
from decnet.export.stixids import object_id
from decnet.export.stixlinked import Actor, Span, related, span_of
from decnet.hostile import visible

BROUGHT: Final = "A file that attackers brought; nobody looked at what it does."
REFERENCES: Final = 5
"""Tags that a sighting names, the surest ones."""
_MOST_COUNT: Final = 999_999_999
"""Greatest count that STIX 2.1 allows."""
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_TEXT = 500


def file_objects(stix2: Any, known: Known, actors: Mapping[str, Actor], author: str) -> list[Any]:
    """Files of actors and campaigns, with who used them and a sighting for each actor."""
    spans: dict[str, list[Span]] = {}
    uses: list[Any] = []
    for uuid, actor in sorted(actors.items()):
        for digest in _files(actor.hashes):
            spans.setdefault(digest, []).append(actor.span)
            malware = malware_id(digest)
            uses.append(related(stix2, object_id("threat-actor", uuid), "uses", malware, actor.span, author))
            uses.append(_sighting(stix2, f"{uuid}|{digest}", malware, 1, actor.span, author))
    for one in known.campaigns.values():
        for digest in _files(one["hashes"]):
            span = span_of(one)
            spans.setdefault(digest, []).append(span)
            source = object_id("campaign", one["campaign_uuid"])
            uses.append(related(stix2, source, "uses", malware_id(digest), span, author))
    files = [made for digest, times in sorted(spans.items()) for made in _file(stix2, digest, times, author)]
    return files + uses


def malware_id(digest: str) -> str:
    """The id of the object that stands for a file."""
    return object_id("malware", digest)


def _files(digests: Iterable[str]) -> list[str]:
    """Hashes that are some; a honeypot may have written anything there."""
    return sorted({digest for digest in digests if _SHA256.match(digest)})


def _file(stix2: Any, digest: str, times: Sequence[Span], author: str) -> list[Any]:
    first, last = min(first for first, _ in times), max(last for _, last in times)
    sample = stix2.File(hashes={"SHA-256": digest})
    malware = stix2.Malware(
        id=malware_id(digest),
        created=first,
        modified=last,
        created_by_ref=author,
        name=f"file {digest[:16]}",
        description=BROUGHT,
        malware_types=["unknown"],
        is_family=False,
        first_seen=first,
        last_seen=last if last > first else None,
        sample_refs=[sample.id],
    )
    return [sample, malware]


def technique_sighting(
    stix2: Any,
    actor: str,
    technique: str,
    rows: Sequence[ListedTag],
    span: Span,
    observed: Collection[str],
    author: str,
) -> Any:
    """A technique as it was seen of an actor: how often, in which observations, by which tags."""
    surest = sorted(rows, key=lambda row: (-float(row["confidence"]), str(row["uuid"])))[:REFERENCES]
    references = [
        {
            "source_name": "decnet-tui tag",
            "external_id": str(row["uuid"]),
            "description": visible(
                f"rule {row['rule_id']}, session {row.get('session_id') or '-'}: {_matched(row)}", _TEXT
            ),
        }
        for row in surest
    ]
    pattern = object_id("attack-pattern", technique)
    return _sighting(
        stix2, f"{actor}|{technique}", pattern, len(rows), span, author,
        observed_data_refs=sorted(observed) or None, external_references=references,
    )  # fmt: skip


def _matched(row: ListedTag) -> str:
    return str((row.get("evidence") or {}).get("matched") or "")


def _sighting(stix2: Any, key: str, of: str, count: int, span: Span, author: str, **more: Any) -> Any:
    first, last = span
    return stix2.Sighting(
        id=object_id("sighting", key),
        created=first,
        modified=last,
        created_by_ref=author,
        sighting_of_ref=of,
        where_sighted_refs=[author],
        count=min(count, _MOST_COUNT),
        first_seen=first,
        last_seen=last,
        **more,
    )
