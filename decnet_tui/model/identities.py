"""Identities and campaigns as people read them: why addresses are one, what speaks against, what cannot be told.

Knows no terminal: lines of text, made of rows; whatever attackers wrote is harmless in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.db.rows.linking import ListedCampaign, ListedIdentity
from decnet.hostile import visible
from decnet_tui.model.event_text import short
from decnet_tui.model.places import Where, place_row
from decnet_tui.model.words import addresses_text, day

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.conditions import Whose
    from decnet.db.rows.linking import Against, Asset, CampaignName, Reason, SaidOf
    from decnet.intel.places import Places

KEY, HOST, FILE, TUNNEL = "key", "host", "sha256", "tunnel"
SCRIPT, KIT, OPERATOR = "script", "campaign", "operator"
"""Families of reasons that have words of their own; linking calls them so (loading it takes a tenth of a second)."""
LONGEST = 200
MAX_JOINED = 100
"""Identities of several addresses of which a campaign's page knows more than their id."""
STEPS = 5
"""Steps of a script in its line; the longest name most of what it uses."""
TOOLKITS = (
    "one operator with two toolkits is two identities here, and two operators who share a key look like one"
)
SOFT = "clients, passwords and the same /24 never join by themselves: who changes address and tools is a new identity"
RENTED = (
    "a payload host may be rented to several, and a file passed on: no key of an owner is among the reasons"
)
RELAYED = "tunnels to the same targets may be several customers of one service"
THROUGH_ONE = "several people may come through one address"
ONE_KIT = "a campaign is one kit, perhaps of many hands: sharing it makes nobody the same person"


async def whose_rows(
    repo: BaseRepository, places: Places, where: Where, campaign: str | None, ignored: bool
) -> Whose:
    """Of whom a list is asked for: attackers of a place, and those of a campaign. Raises DecnetError for no such campaign."""
    from decnet.db.repository.conditions import Whose

    asked = {name: value for name, value in where.items() if value is not None}
    attackers: list[str] | None = None
    if asked:
        known = ((uuid, place_row(places, ip)) for uuid, ip in await repo.known_addresses(ignored))
        attackers = [
            uuid for uuid, place in known if all(place.get(name) == value for name, value in asked.items())
        ]
    return Whose(attackers, await campaign_id(repo, campaign))


async def campaign_id(repo: BaseRepository, text: str | None) -> str | None:
    """The campaign that is named. Raises DecnetError for one that is not known."""
    if text is None:
        return None
    return (await campaign_meant(repo, text))[0]


async def campaign_meant(repo: BaseRepository, text: str) -> tuple[str, str | None]:
    """The campaign that is named as it is now, and what it was called before. Raises DecnetError for one not known."""
    from decnet.errors import DecnetError

    found = await repo.campaign_named(text)
    if found is None:
        raise DecnetError(f"no campaign {visible(text, 60)}: `decnet-tui campaigns` lists them")
    return found


async def identity_meant(repo: BaseRepository, text: str) -> tuple[str, str | None]:
    """The identity that is named as it is now, and the one that it was. Raises DecnetError for one not known."""
    from decnet.errors import DecnetError

    found = await repo.identity_named(text)
    if found is None:
        raise DecnetError(f"no identity {visible(text, 60)}: `decnet-tui identities` lists them")
    return found


class CampaignMember(TypedDict):
    """One address of a campaign, with its identity as it is now."""

    attacker_uuid: str
    attacker_ip: str | None
    identity_uuid: str | None


class CampaignPage(ListedCampaign):
    """A campaign with its addresses and those of its identities that have several."""

    members: list[CampaignMember]
    joined: list[ListedIdentity]
    cannot_tell: list[str]


async def page_of_campaign(repo: BaseRepository, uuid: str) -> CampaignPage | None:
    """The row of ``campaigns`` with its addresses and joined identities; None for one that has one address now."""
    rows = await repo.list_campaigns(limit=1, ignored=True, campaign=uuid)
    if not rows:
        return None
    (row,) = rows
    known = await repo.addresses_of_attackers(row["attacker_uuids"])
    whose = await repo.identities_now(row["attacker_uuids"])
    members: list[CampaignMember] = [
        {"attacker_uuid": one, "attacker_ip": known.get(one), "identity_uuid": whose.get(one)}
        for one in row["attacker_uuids"]
    ]
    joined = await repo.list_identities(
        limit=MAX_JOINED, ignored=True, joined=True, whose=campaign_named(uuid)
    )
    return {**row, "members": members, "joined": joined, "cannot_tell": [ONE_KIT]}


def campaign_named(uuid: str) -> Whose:
    """Of whom: of a campaign."""
    from decnet.db.repository.conditions import Whose

    return Whose(campaign=uuid)


def identity_label(uuid: str | None) -> str:
    """An identity in short; what is shown here names it on the command line."""
    return f"i-{short(uuid)}" if uuid else "-"


def campaign_label(uuid: str) -> str:
    """A campaign in short; what is shown here names it on the command line."""
    return f"c-{short(uuid)}"


def reason_text(one: Reason) -> str:
    """One reason: its weight, what is shared, and how common that is."""
    if one["family"] == OPERATOR:
        said = f": {visible(one['value'], LONGEST)}" if one["value"] else ""
        return f"an operator said they are the same{said}"
    return f"{one['weight']:+.1f} {_shared(one)} at {addresses_text(one['addresses'])}"


def _shared(one: Reason) -> str:
    if one["family"] == KIT:
        return "scripts of one kit"
    if one["family"] == SCRIPT:
        return f"the same script {visible(one['value'], 40)}"
    return f"{visible(one['family'], 20)} {visible(one['value'], LONGEST)}"


def against_text(against: Sequence[Against]) -> str:
    """What speaks against, in one line."""
    if not against:
        return "none"
    return ", ".join(
        f"{one['weight']:+.1f} both have a {visible(one['family'], 20)}, and not the same" for one in against
    )


def why_lines(row: ListedIdentity, limit: int = 0) -> list[str]:
    """Why an identity of several addresses is one; none for one address."""
    if row["state"] != "joined":
        return []
    shown = row["reasons"][: limit or None]
    lines = [reason_text(one) for one in shown] or [
        "not told yet: `decnet-tui workers` says whether linking runs"
    ]
    if len(row["reasons"]) > len(shown):
        lines.append(
            f"{len(row['reasons']) - len(shown)} more: `decnet-tui identity {identity_label(row['identity_uuid'])}`"
        )
    return [*lines, f"against: {against_text(row['against'])}"]


def cannot_tell(row: ListedIdentity) -> list[str]:
    """What nothing in an identity can tell."""
    if row["state"] != "joined":
        return [THROUGH_ONE, SOFT]
    families = {one["family"] for one in row["reasons"]}
    owned = families & {KEY, OPERATOR}
    rented = [] if owned or not families & {HOST, FILE} else [RENTED]
    relayed = [RELAYED] if TUNNEL in families and not owned else []
    return [TOOLKITS, *rented, *relayed, THROUGH_ONE, SOFT]


def said_lines(said: Iterable[SaidOf], known: Mapping[str, str]) -> list[str]:
    """What operators said, by addresses as far as these are known."""
    return [_word(one, known) for one in said]


def _word(one: SaidOf, known: Mapping[str, str]) -> str:
    pair = f"{_who(one['one'], known)} and {_who(one['other'], known)}"
    when = f"{day(one['said_at'])} " if one["said_at"] else ""
    reason = f": {visible(one['reason'], LONGEST)}" if one["reason"] else ""
    same = "the same" if one["same"] else "not the same"
    return f"{pair} are {same}  {when}by {visible(one['said_by'] or '-', 60)}{reason}"


def _who(uuid: str, known: Mapping[str, str]) -> str:
    return visible(known.get(uuid) or short(uuid), 45)


def campaign_line(one: CampaignName) -> str:
    """A campaign in one line."""
    return f"{campaign_label(one['campaign_uuid'])}  {addresses_text(one['addresses'])}  {visible(one['name'], LONGEST)}"


def asset_line(one: Asset) -> str:
    """An asset with how common it is; of a script the steps that say most."""
    steps = sorted(one["steps"], key=lambda step: (-len(step), step))
    told = "; ".join(steps[:STEPS]) + (f"; and {len(steps) - STEPS} more" if len(steps) > STEPS else "")
    return f"{_asset(one)}{': ' + visible(told, LONGEST) if told else ''}"


def _asset(one: Asset) -> str:
    return f"{visible(one['family'], 20)} {visible(one['value'], LONGEST)}  (at {addresses_text(one['addresses'])})"


def page_lines(title: str, lines: Sequence[str], limit: int = 20) -> list[str]:
    """A part of a page: a title and at most so many lines; nothing when there is none."""
    if not lines:
        return []
    more = f", {limit} of {len(lines)} (--json has all)" if len(lines) > limit else ""
    return ["", f"{title}{more}", *(f"  {line}" for line in lines[:limit])]


def table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An identity for a table: what is a list of rows becomes words."""
    reasons = [reason_text(one) for one in row["reasons"]]
    return {
        **row,
        "addresses": addresses_cell(row["addresses"]),
        "reasons": "; ".join(reasons[:2]) + (f" +{len(reasons) - 2}" if len(reasons) > 2 else ""),
        "against": "" if not row["reasons"] else against_text(row["against"]),
    }


def addresses_cell(addresses: Sequence[str], limit: int = 3) -> str:
    """Addresses in a column: the first of them, and how many more there are."""
    shown = " ".join(visible(one, 45) for one in addresses[:limit])
    return f"{shown} +{len(addresses) - limit}" if len(addresses) > limit else shown
