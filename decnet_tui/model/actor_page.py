"""What stands at the top of an attacker's page: where it is, with whom it is one, which kits it has. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from decnet.db.rows.actorpage import Amounts, OwnFile, OwnPlaybook, Shared
from decnet.db.rows.linking import CampaignName, ListedIdentity
from decnet.db.rows.lists import ListedAttacker
from decnet.db.rows.notes import NoteRow
from decnet.db.rows.struck import StruckSessions
from decnet.hostile import visible
from decnet_tui.model.identities import campaign_line, identity_label, why_lines
from decnet_tui.model.places import Placed, country_text, network_text
from decnet_tui.model.struck import struck_by_text
from decnet_tui.model.words import addresses_text, counted, day, span


class ActorHead(ListedAttacker, Placed):
    """One attacker, with what its page begins with."""

    ptr: str | None
    severity: str | None
    did: str | None
    files: list[str]
    identity: ListedIdentity | None
    campaigns_named: list[CampaignName]


class ActorPage(ActorHead):
    """The same with what its sessions come to, and what operators wrote about it."""

    amounts: Amounts
    struck: list[StruckSessions]
    notes: list[NoteRow]


class Linked(TypedDict):
    """What of a page says with whom an attacker is one."""

    identity: ListedIdentity | None
    campaigns_named: list[CampaignName]


REASONS = 5
"""Reasons of its identity on the page; the identity's page has all."""
_LONGEST = 200


def where_line(told: ActorHead, place: Mapping[str, Any]) -> str:
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


NEW_S = 86_400.0
"""Seconds since an attacker was first seen during which it is new."""


def is_new(first_seen: datetime | None, now: float) -> bool:
    """Whether it came within a day before ``now`` (epoch seconds)."""
    return first_seen is not None and first_seen.timestamp() >= now - NEW_S


def seen_line(told: ActorHead, now: float) -> str:
    """When it was seen, whether it is new, how often, and how bad that was."""
    first, last = (day(at) for at in (told["first_seen"], told["last_seen"]))
    sessions, decoys = counted(told["session_count"], "session"), counted(told["decky_count"], "decoy")
    bad = (told["severity"] or "not judged").upper()
    new = "  NEW" if is_new(told["first_seen"], now) else ""
    return f"seen {first} .. {last}  {sessions} on {decoys}  {bad}{new}"


ROOM = 68
"""Characters beside a word in front of a line: with it and the gutter a line of 80 is full."""


def amount_lines(
    did: str | None, amounts: Amounts, struck: Sequence[StruckSessions] = ()
) -> list[tuple[str, str]]:
    """What its worst session did, who struck the keys, and what all come to, each line with its word; nothing for what
    there is none of.
    """
    common = amounts["client_addresses"]
    lines = [
        ("does", visible(did or "", _LONGEST)),
        ("keys", struck_by_text(struck)),
        (
            "clients",
            _words([_client(name, count, common.get(name, 0)) for name, count in amounts["clients"].items()]),
        ),
        ("logins", logins_text(amounts)),
        ("days", _words([f"{day[5:]} {count}" for day, count in amounts["days"].items()], last=True)),
        ("stages", _words([f"{phase} {count}" for phase, count in amounts["stages"].items()])),
        ("files", _words([_file(one) for one in amounts["files"]])),
        ("hosts", _words([f"{visible(host, 60)} x{count}" for host, count in amounts["hosts"].items()])),
        ("technq", _techniques(amounts["techniques"])),
    ]
    return [(word, text) for word, text in lines if text]


def _client(name: str, sessions: int, addresses: int) -> str:
    at = f" (at {addresses_text(addresses)})" if addresses else ""
    return f"{visible(name, 60)} x{sessions}{at}"


def _file(one: OwnFile) -> str:
    name = f" {visible(one['name'], 24)}" if one["name"] else ""
    return f"{one['sha256'][:8]}{name} x{one['sessions']}"


def _techniques(tags: Mapping[str, int]) -> str:
    if not tags:
        return ""
    return f"{len(tags)}: " + _words([f"{technique} {count}" for technique, count in tags.items()], ROOM - 5)


def logins_text(amounts: Amounts) -> str:
    """How many were tried and let in, and which got in."""
    logins = amounts["logins"]
    if not logins["tried"]:
        return ""
    head = f"{logins['let_in']} of {counted(logins['tried'], 'try', 'tries')} let in"
    named = [f"{visible(label, 40)} x{inside}" for label, _, inside in logins["top"] if inside]
    return _words([head + (":" if named else ""), *named], gap=" ") if named else head


def _words(parts: Sequence[str], room: int = ROOM, *, last: bool = False, gap: str = "  ") -> str:
    """As many parts as fit, then how many more there are; with ``last`` the end of them counts, not the beginning."""
    ordered = list(parts)[::-1] if last else list(parts)
    for kept in range(len(ordered), 0, -1):
        left = len(ordered) - kept
        shown = ordered[:kept][::-1] if last else ordered[:kept]
        more = f"+{left}"
        text = gap.join([*([more] if left and last else []), *shown, *([more] if left and not last else [])])
        if len(text) <= room or kept == 1:
            return text
    return ""


def playbook_line(one: OwnPlaybook) -> str:
    """What these sessions do, how many they are, when last, and how bad."""
    name = f"pb-{one['playbook'].removeprefix('pb-')[:6]}" if one["playbook"] else "no script"
    return f"{one['severity']:<8} {one['sessions']:>5}  {one['last']:%m-%d %H:%M}  {name:<9}  {visible(one['line'], _LONGEST)}"


PLAYBOOK_HEAD = f"  {'severity':<8} {'sess':>5}  {'last':<11}  {'same':<9}  what they do"


def like_line(
    shared: Sequence[Shared], identity: ListedIdentity | None, campaigns: Sequence[CampaignName]
) -> str:
    """What it has in common with other addresses; that nothing is, only where nothing links it either."""
    named = [
        f"{visible(one['family'], 20)} {visible(one['value'], 24)} at {one['addresses']}" for one in shared
    ]
    if named:
        return _words(named)
    linked = campaigns or (identity is not None and identity["state"] == "joined")
    return "" if linked else "no other address shares a key, host, file, script or client with it"
