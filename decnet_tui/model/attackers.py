"""Attackers as lists show them: what the database knows, and where they are from. Knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.events.intel import Answer
from decnet_tui.model.identities import whose_rows
from decnet_tui.model.reputation import told_by

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import AttackerTold
    from decnet.intel.places import Places

PTR = "ptr"
Row = dict[str, Any]
NOWHERE: Row = {
    "country": None,
    "allocated": False,
    "asn": None,
    "as_name": None,
    "lists": [],
    "unasked": None,
}
"""The place of an address of which nothing is known."""


class Where(TypedDict, total=False):
    """What of the place of an attacker is asked for: a country's two letters, the number of a network."""

    country: str | None
    asn: int | None


async def attacker_rows(
    repo: BaseRepository,
    places: Places,
    filters: Mapping[str, Any],
    where: Where,
    campaign: str | None = None,
) -> list[Row]:
    """Rows of ``attackers``; ``filters`` are those of the query. Raises DecnetError for a campaign that is not known."""
    whose = await whose_rows(repo, places, where, campaign, bool(filters.get("ignored")))
    rows = await repo.list_attackers(**filters, whose=whose)
    uuids = [row["attacker_uuid"] for row in rows]
    told = await repo.attackers_told(uuids, bool(filters.get("ignored")))
    campaigns = await repo.campaigns_by_attacker(uuids)
    return [
        _row(
            {**row, "campaigns": [one["campaign_uuid"] for one in campaigns.get(row["attacker_uuid"], ())]},
            place_row(places, row["attacker_ip"]),
            told.get(row["attacker_uuid"]),
            filters.get("since"),
        )
        for row in rows
    ]


def place_row(places: Places, address: str | None) -> Row:
    """Country, network and lists of an address, as columns; ``unasked`` is why it was not looked up."""
    if address is None:
        return dict(NOWHERE)
    try:
        row = places.lookup(address).row(0.0)
    except ValueError:
        return {**NOWHERE, "unasked": "no"}
    return {name: row[name] for name in NOWHERE}


def _row(row: Row, place: Row, told: AttackerTold | None, since: datetime | None) -> Row:
    answers: Sequence[Answer] = told["answers"] if told else ()
    first = row["first_seen"]
    return {
        **row,
        **{name: value for name, value in place.items() if name != "unasked"},
        "ptr": next((str(one.said[PTR]) for one in answers if one.said.get(PTR)), None),
        "reputation": [
            {"source": one.provider, "verdict": told_by(one), "at": datetime.fromtimestamp(one.ts, UTC)}
            for one in answers
            if PTR not in one.said
        ],
        "new": bool(since and first and first >= since),
        "severity": told["severity"] if told else None,
        "files": told["files"] if told else [],
        "did": told["did"] if told else None,
    }


def country_text(row: Mapping[str, Any]) -> str:
    """A country in a column; where it is only where the address was given out, it says so."""
    return "" if row["country"] is None else f"{row['country']}{'(alloc)' if row['allocated'] else ''}"


def network_text(row: Mapping[str, Any]) -> str:
    """A network in a column."""
    return "" if row["asn"] is None else f"AS{row['asn']} {row['as_name'] or ''}".rstrip()
