"""What stands at the top of an attacker's page: where it is, with whom it is one, which kits it has. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from decnet.db.rows.linking import CampaignName, ListedIdentity
from decnet.db.rows.lists import ListedAttacker, Often
from decnet.hostile import visible
from decnet_tui.model.identities import campaign_line, identity_label, why_lines
from decnet_tui.model.places import Placed, country_text, network_text
from decnet_tui.model.words import addresses_text, counted, day, span


class ActorPage(ListedAttacker, Placed):
    """One attacker, with what its page begins with."""

    ptr: str | None
    severity: str | None
    did: str | None
    files: list[str]
    clients: list[Often]
    identity: ListedIdentity | None
    campaigns_named: list[CampaignName]


class Linked(TypedDict):
    """What of a page says with whom an attacker is one."""

    identity: ListedIdentity | None
    campaigns_named: list[CampaignName]


REASONS = 5
"""Reasons of its identity on the page; the identity's page has all."""
_LONGEST = 200


def where_line(told: ActorPage, place: Mapping[str, Any]) -> str:
    """Address, country and network with the age of the file that says so, name and lists; ``place`` as of a look-up."""
    age = place.get("country_age_s") if place.get("country_age_s") is not None else place.get("as_age_s")
    parts = [
        visible(str(told["attacker_ip"] or "-"), 60),
        country_text(told),
        visible(network_text(told), 80),
    ]
    parts += [f"[file {span(age)}]"] if age is not None else []
    parts += [f"ptr {visible(told['ptr'] or '-', _LONGEST)}"]
    parts += [f"list: {visible(', '.join(told['lists']), _LONGEST)}"] if told["lists"] else []
    return "  ".join(part for part in parts if part)


def linked_lines(told: Linked, reasons: int = REASONS) -> Iterator[str]:
    """Of which identity and campaigns it is part, and why."""
    row = told["identity"]
    if row is not None and row["state"] == "joined":
        size = addresses_text(len(row["addresses"]))
        yield f"IDENTITY {identity_label(row['identity_uuid'])}  {size}  {row['confidence']:.1f}"
        yield from (f"  {line}" for line in why_lines(row, reasons))
    for one in told["campaigns_named"]:
        yield f"CAMPAIGN {campaign_line(one)}"


def seen_line(told: ActorPage) -> str:
    """When it was seen, how often, how bad that was, and what it did."""
    first, last = (day(at) for at in (told["first_seen"], told["last_seen"]))
    sessions, decoys = counted(told["session_count"], "session"), counted(told["decky_count"], "decoy")
    bad = (told["severity"] or "not judged").upper()
    did = f"  {visible(told['did'], _LONGEST)}" if told["did"] else ""
    return f"seen {first} .. {last}  {sessions} on {decoys}  {bad}{did}"


def client_text(told: ActorPage) -> str:
    """What its clients say they are, the rarest first, each with how common it is."""
    clients = sorted(told["clients"], key=lambda one: (one["attackers"], one["value"]))
    shown = [f"{visible(one['value'], 60)} (at {addresses_text(one['attackers'])})" for one in clients[:2]]
    more = f"  +{len(clients) - 2}" if len(clients) > 2 else ""
    return f"client {', '.join(shown)}{more}"
