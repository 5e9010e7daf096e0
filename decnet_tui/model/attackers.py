"""Attackers as lists show them: what the database knows, and where they are from. Knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from decnet.db.rows.lists import ListedAttacker
from decnet.events.intel import Answer
from decnet_tui.model.identities import whose_rows
from decnet_tui.model.places import Placed, Where, place_row, placed
from decnet_tui.model.reputation import told_by

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import AttackerTold
    from decnet.intel.places import Places

PTR = "ptr"


class Opinion(TypedDict):
    """What somebody says of an address, and when that was."""

    source: str
    verdict: str
    at: datetime


class AttackerRow(ListedAttacker, Placed):
    """One row of ``attackers``: what it did, where it is, and what others say of it."""

    campaigns: list[str]
    ptr: str | None
    reputation: list[Opinion]
    new: bool
    severity: str | None
    did: str | None
    files: list[str]


async def attacker_rows(
    repo: BaseRepository,
    places: Places,
    filters: Mapping[str, Any],
    where: Where,
    campaign: str | None = None,
) -> list[AttackerRow]:
    """Rows of ``attackers``; ``filters`` are those of the query. Raises DecnetError for a campaign that is not known."""
    whose = await whose_rows(repo, places, where, campaign, bool(filters.get("ignored")))
    rows = await repo.list_attackers(**filters, whose=whose)
    uuids = [row["attacker_uuid"] for row in rows]
    told = await repo.attackers_told(uuids, bool(filters.get("ignored")))
    campaigns = await repo.campaigns_by_attacker(uuids)
    since = filters.get("since")
    return [
        _row(
            row,
            placed(place_row(places, row["attacker_ip"])),
            [one["campaign_uuid"] for one in campaigns.get(row["attacker_uuid"], ())],
            told.get(row["attacker_uuid"]),
            since,
        )
        for row in rows
    ]


def ptr_of(answers: Sequence[Answer]) -> str | None:
    """The name of the address, where somebody asked for it."""
    return next((str(one.said[PTR]) for one in answers if one.said.get(PTR)), None)


def _row(
    row: ListedAttacker,
    place: Placed,
    campaigns: list[str],
    told: AttackerTold | None,
    since: datetime | None,
) -> AttackerRow:
    answers: Sequence[Answer] = told["answers"] if told else ()
    first = row["first_seen"]
    return {
        **row,
        **place,
        "campaigns": campaigns,
        "ptr": ptr_of(answers),
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
